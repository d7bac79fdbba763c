"""Activations and quantisers are recognised by what they compute, however they are written."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import snnconvert
from snnconvert.conversion.prepare.analog import analog_operations
from snnconvert.report.show.terminal import format_report
from tests.support.errors import relative_error
from tests.support.layers_around import Activated, held

pytestmark = pytest.mark.filterwarnings("ignore")
LEVELS = 4


class Floor(torch.autograd.Function):
    """Floor with a straight-through gradient, as QCFS has it."""

    @staticmethod
    def forward(ctx, x):
        return x.floor()

    @staticmethod
    def backward(ctx, grad):
        return grad


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return grad


class Parametrised(nn.Module):
    """`function(x, ceiling)` with a learned ceiling."""

    def __init__(self, function, *shape) -> None:
        super().__init__()
        values = torch.linspace(0.8, 1.7, math.prod(shape)).view(shape) if shape else 1.7
        self.ceiling = nn.Parameter(torch.as_tensor(values))
        self.function = function

    def forward(self, x):
        return self.function(x, self.ceiling)


def qcfs(x, up):
    x = torch.clamp(x / up, 0, 1)
    return Floor.apply(x * LEVELS + 0.5) / LEVELS * up


def lsq(x, ceiling):
    step = ceiling / LEVELS
    scale = 1 / math.sqrt(x.numel() * LEVELS)  # of the gradient; hangs on the size of the batch
    step = (step - step * scale).detach() + step * scale
    scaled = (x / step).clamp(0, LEVELS)
    return ((scaled.round() - scaled).detach() + scaled) * step


def signed_lsq(x, ceiling):
    step = ceiling / LEVELS
    return Round.apply(torch.clamp(x / step, -LEVELS, LEVELS)) * step


def straight_through(x, ceiling):
    y = torch.min(torch.relu(x), ceiling) / ceiling
    return (y + (torch.round(y * LEVELS) / LEVELS - y).detach()) * ceiling


def pact(x, ceiling):
    y = 0.5 * (x.abs() - (x - ceiling).abs() + ceiling)
    return Round.apply(y * LEVELS / ceiling) * ceiling / LEVELS


def pact_by_where(x, ceiling):
    y = torch.where(x < 0, torch.zeros_like(x), torch.where(x < ceiling, x, ceiling))
    return torch.round(y * (LEVELS / ceiling)) / (LEVELS / ceiling)


def rounds_down(x, ceiling):
    return torch.floor(torch.clamp(x / ceiling * LEVELS, 0, LEVELS)) * ceiling / LEVELS


def tensor_bounds(x, ceiling):
    y = torch.clamp(x, torch.zeros_like(ceiling), ceiling)
    return torch.round(y / ceiling * LEVELS) / LEVELS * ceiling


def floor_divided(x, ceiling):
    return (torch.clamp(x, 0, 1.7) + ceiling / LEVELS / 2) // (ceiling / LEVELS) * ceiling / LEVELS


def twos_complement(x, ceiling):
    """-4 ... 3, as LSQ writes signed activations of three bits."""
    step = ceiling / LEVELS
    scaled = torch.clamp(x / step, -LEVELS, LEVELS - 1)
    return ((scaled.round() - scaled).detach() + scaled) * step


def with_a_zero_point(x, ceiling):
    step = ceiling / LEVELS
    return (torch.clamp(torch.round(x / step) + 1, 0, LEVELS + 1) - 1) * step


def further_down_than_up(x, ceiling):
    step = ceiling / LEVELS
    return Floor.apply(torch.clamp(x / step, -LEVELS, 1)) * step


def learned_by_pytorch(x, ceiling):
    step = (ceiling / LEVELS).view(1)
    return torch._fake_quantize_learnable_per_tensor_affine(x, step, torch.zeros(1), 0, LEVELS, 1.0)


def learned_by_pytorch_a_channel(x, ceiling):
    step = ceiling / LEVELS
    return torch._fake_quantize_learnable_per_channel_affine(
        x, step, torch.zeros_like(step), 1, 0, LEVELS, 1.0
    )


def switches(x, ceiling):
    steps = [(x >= (i - 0.5) * ceiling / LEVELS).float() for i in range(1, LEVELS + 1)]
    return sum(steps) * ceiling / LEVELS


QUANTISERS = {
    "qcfs": (qcfs,), "lsq": (lsq,), "signed lsq": (signed_lsq,), "ste": (straight_through,),
    "pact": (pact,), "pact by where": (pact_by_where,), "floor": (rounds_down,),
    "tensor bounds": (tensor_bounds,), "floor divided": (floor_divided,),
    "switches": (switches,), "a channel": (qcfs, 1, 6),
    "a channel, one axis": (pact_by_where, 6), "one value": (lsq, 1),
    "two's complement": (twos_complement,), "a zero point": (with_a_zero_point,),
    "further down": (further_down_than_up,), "two's complement, a channel": (twos_complement, 6),
    "PyTorch's": (learned_by_pytorch,), "PyTorch's, a channel": (learned_by_pytorch_a_channel, 6),
}  # fmt: skip


@pytest.mark.parametrize("name", QUANTISERS)
def test_a_quantiser_in_plain_operations_is_a_quantised_clip(name):
    torch.manual_seed(0)
    activation = Parametrised(*QUANTISERS[name])
    model, x = Activated(activation).eval(), torch.randn(64, 6) * 2
    snn = snnconvert.convert(model, LEVELS, example_inputs=x)  # no calibration is needed
    with torch.no_grad():
        assert torch.equal(snn(x), snn.quantized_ann()(x))
        torch.testing.assert_close(snn(x), model(x), rtol=1e-5, atol=1e-6)
    (cell,) = snn.neurons.values()
    torch.testing.assert_close(
        cell.ceiling.flatten(), activation.ceiling.detach().flatten(), rtol=1e-6, atol=0
    )


LIMITS = torch.tensor([0.2, 0.6, 1.0, 1.4])
READ_OUT = {  # of constants, so that nothing learns
    "a ceiling": lambda x, c: torch.round(x.clamp(0, c.item()) / c * LEVELS) / LEVELS * c,
    "a number of a number": lambda x, c: (
        torch.round((x * (1 / (c.item() * 1.0))).clamp(0, 1) * LEVELS) / LEVELS * c
    ),
    "bucketize": lambda x, c: torch.bucketize(x, c / 1.6 * LIMITS).float() * c / LEVELS,
    "searchsorted": lambda x, c: torch.searchsorted(c / 1.6 * LIMITS, x) * (c / LEVELS),
}


@pytest.mark.parametrize("name", READ_OUT)
def test_a_quantiser_may_read_numbers_out_of_constants(name):
    torch.manual_seed(0)
    model, x = Activated(Parametrised(READ_OUT[name])).eval(), torch.randn(64, 6) * 2
    snn = snnconvert.convert(model, LEVELS, example_inputs=x)
    (cell,) = snn.neurons.values()
    with torch.no_grad():
        torch.testing.assert_close(snn(x), model(x), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(snn(x[:3]), model(x[:3]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cell.ceiling.flatten(), torch.tensor([1.7]))


def test_uneven_steps_are_functions_with_neurons_and_take_a_bias_correction():
    def uneven(x):
        return ((x > 0.1).float() + (x > 0.2).float() + (x > 0.9).float()) / 3

    torch.manual_seed(0)
    model, x = Activated(uneven).eval(), torch.randn(64, 6)
    snn = snnconvert.convert(model, 3, example_inputs=x, calibration=[x])
    torch.testing.assert_close(snn(x), model(x), rtol=1e-5, atol=1e-6)


CLIPS = {
    "min": lambda x, top: torch.min(torch.relu(x), top),
    "clamp": lambda x, top: torch.clamp(x, torch.zeros_like(top), top),
    "two ReLUs": lambda x, top: torch.relu(x) - torch.relu(x - top),
    "clamp of ReLU": lambda x, top: torch.clamp(torch.relu(x), max=top),
}


@pytest.mark.parametrize("name", CLIPS)
def test_a_trained_clip_is_its_own_threshold(name):
    torch.manual_seed(0)
    activation = Parametrised(CLIPS[name])
    model, x = Activated(activation).eval(), torch.randn(64, 6) * 2
    snn = snnconvert.convert(model, 256, example_inputs=x)
    (cell,) = snn.neurons.values()
    assert torch.equal(cell.ceiling, activation.ceiling.detach())
    with torch.no_grad():
        assert relative_error([snn(x)], [model(x)]) < 0.01


@pytest.mark.parametrize("shape", [(6,), (1, 6), (6, 1), (1, 6, 1)], ids=str)
@pytest.mark.parametrize("function", ["qcfs", "clamp"])
def test_ceilings_lie_where_they_broadcast(shape, function):
    """Whatever the rank of the value: the first axis of (1, 6) is not its batch's."""
    torch.manual_seed(0)
    quantise = qcfs if function == "qcfs" else lambda x, c: x.clamp(torch.zeros(()), c)
    model, x = Activated(Parametrised(quantise, *shape)).eval(), torch.randn(16, 6, 6)
    snn = snnconvert.convert(model, LEVELS, example_inputs=x)
    if function == "qcfs":
        assert relative_error([snn(x)], [model(x)]) < 1e-5
        assert snnconvert.verify(model, snn, [x]).equal
        assert snnconvert.compare(model, snn, [x]).to_dict()["output"]["bit_equal"]
    else:
        fine = snnconvert.convert(model, 1023, example_inputs=x)
        assert relative_error([fine(x)], [model(x)]) < 0.01


@pytest.mark.parametrize("shape", [(6,), (1, 6), (1, 1, 6), (4, 1), (1, 4, 1)], ids=str)
def test_so_do_those_of_leaky_neurons(shape):
    torch.manual_seed(0)
    model, x = Activated(Parametrised(qcfs, *shape)).eval(), torch.randn(64, 3, 4, 6)
    snn = snnconvert.convert(
        model, 16, example_inputs=x, calibration=[x], neuron="lif", tau=1000.0, firing="deferred"
    )
    assert relative_error([snn(x)], [model(x)]) < 0.2
    (cell,) = snn.neurons.values()
    along = [size for size in cell.v_threshold.shape if size > 1]
    assert along == [size for size in shape if size > 1]
    assert snn.run(x).output.shape == (64, 3, 4, 3)


def test_other_levels_than_the_quantisers_are_told():
    model, x = Activated(Parametrised(qcfs)).eval(), torch.randn(8, 6)
    with pytest.warns(UserWarning, match="quantisers of 4 levels .* give timesteps=4"):
        snnconvert.convert(model, 8, example_inputs=x)


def test_a_quantiser_of_the_input_is_no_neuron():
    class Coded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Activated(torch.relu)

        def forward(self, x):
            return self.net(torch.round(x.clamp(0, 1) * 255) / 255)

    snn = held(Coded(), torch.rand(16, 6))
    assert len(snn.neurons) == 1


def assigned(x):
    y = x.clone()
    y[y < 0] = 0
    return y


RELUS = {
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where zeros": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "mask": lambda x: x * (x > 0),
    "float mask": lambda x: x * (x > 0).float(),
    "absolute": lambda x: (x + x.abs()) / 2,
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "max": lambda x: torch.max(x, torch.tensor(0.0)),
    "threshold": lambda x: functional.threshold(x, 0.0, 0.0),
    "leaky of slope 0": lambda x: functional.leaky_relu(x, 0.0),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.0),
    "assigned": assigned,
    "heaviside": lambda x: x * torch.heaviside(x, torch.tensor(0.0)),
}


@pytest.mark.parametrize("name", RELUS)
def test_a_relu_is_one_however_it_is_written(name):
    torch.manual_seed(0)
    snn = held(Activated(RELUS[name]), torch.randn(64, 6))
    assert list(snn.functions.values()) == [None]
    assert not next(iter(snn.neurons.values())).lowest


FUNCTIONS = {
    "gelu": (lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))), "gelu"),
    "gelu by tanh": (
        lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "gelu",
    ),
    "silu": (lambda x: x * torch.sigmoid(x), "silu"),
    "mish": (lambda x: x * torch.tanh(functional.softplus(x)), "mish"),
    "softplus": (lambda x: torch.log(1 + torch.exp(x)), "softplus"),
    "sin": (torch.sin, "sin"),
    "softsign": (functional.softsign, "div"),
    "quick gelu": (lambda x: x * torch.sigmoid(1.702 * x), "mul"),
    "square": (lambda x: x * x, "mul"),
    "bump": (lambda x: torch.exp(-x * x), "exp"),
    "elu": (lambda x: torch.where(x > 0, x, torch.exp(x) - 1), "where"),
    "absolute": (torch.abs, "abs"),
    "arctangent": (torch.atan, "atan"),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_other_function_of_a_value_has_neurons_behind_it(name):
    torch.manual_seed(0)
    function, called = FUNCTIONS[name]
    snn = held(Activated(function), torch.randn(64, 6))
    assert list(snn.functions.values()) == [called]
    assert not analog_operations(snn.program)


@pytest.mark.parametrize("name", ["mask", "float mask", "masked_fill"])
def test_what_two_functions_read_is_an_activation_in_both(name):
    """softsign reads what it is given twice, once inside a function that equals a ReLU."""
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    model = Activated(lambda x: functional.softsign(RELUS[name](functional.silu(x))))
    qann = held(model, x, close=0.1).quantized_ann()
    assert torch.equal(snnconvert.convert(qann, qann.levels)(x), qann(x))


class TwoSignals(nn.Module):
    """A product of two signals, read by weights: it stays a current."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = self.first(x).relu()
        return self.last(torch.maximum(h * h.roll(1, 1), h))


def test_what_stays_analog_is_reported():
    torch.manual_seed(0)
    model, x = TwoSignals().eval(), torch.randn(16, 6)
    snn = snnconvert.convert(model, 8, example_inputs=x, calibration=[x])
    report = snnconvert.compare(model, snn, [x])
    assert [row["op"] for row in report.to_dict()["analog"]] == ["maximum"]
    text = " ".join(format_report(report.to_dict()).split())
    assert "nothing was lost: bit-equal to the quantised ANN, part of which stays analog" in text
    assert "1 maximum" in text


@pytest.mark.parametrize("name", [*QUANTISERS, *CLIPS])
def test_ceilings_of_its_own_go_on_learning(name):
    torch.manual_seed(0)
    activation = Parametrised(*QUANTISERS.get(name, CLIPS.get(name) and (CLIPS[name],)))
    model, x = Activated(activation).eval(), torch.randn(64, 6) * 2
    levels = LEVELS if name in QUANTISERS else 256
    qann = snnconvert.quantize(model, levels, example_inputs=x)
    learned = {k: v for k, v in qann.named_parameters() if "ceiling" in k}
    assert len(learned) == 1 and len(list(qann.parameters())) == len(list(model.parameters()))
    (ceiling,) = learned.values()
    torch.testing.assert_close(ceiling.flatten(), activation.ceiling.flatten())
    before = ceiling.detach().clone()
    qann(x).square().mean().backward()
    assert bool((ceiling.grad != 0).all())
    torch.optim.SGD(qann.parameters(), 0.1).step()
    assert not torch.equal(ceiling, before)
    snn = snnconvert.convert(qann.eval(), levels)
    with torch.no_grad():
        assert torch.equal(snn(x), qann(x))
    (cell,) = snn.neurons.values()
    torch.testing.assert_close(cell.ceiling.flatten(), ceiling.detach().flatten())
    if name in QUANTISERS:  # it still rounds where it did, in units of the ceiling
        model.load_state_dict(
            {
                **qann.state_dict(),
                "activation.ceiling": ceiling.detach().view(activation.ceiling.shape),
            },
            strict=False,
        )
        torch.testing.assert_close(qann(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_learned_ceiling_keeps_its_name_and_shape():
    model = Activated(Parametrised(qcfs, 1)).eval()
    qann = snnconvert.quantize(model, LEVELS, example_inputs=torch.randn(8, 6))
    assert set(qann.state_dict()) == set(model.state_dict())
    model.load_state_dict(qann.state_dict())


ANSWERS = {
    "above": lambda x: (x > 0).float(),
    "in x's type": lambda x: x.gt(0.3).type_as(x),
    "between": lambda x: ((x > 0) & (x < 1)).float(),
    "not": lambda x: torch.logical_not(x > 0).to(x.dtype),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_numbers_made_of_answers_are_a_function_with_neurons_behind_it(name):
    torch.manual_seed(0)
    snn = held(Activated(ANSWERS[name]), torch.randn(64, 6), timesteps=4, close=1e-5)
    (function,) = snn.functions.values()
    assert function is not None


class Twice(nn.Module):
    """Two quantisers or clips with ceilings `one` and `two`, which may be the same parameter."""

    def __init__(self, first, second, shared: bool, *shape) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.one = nn.Parameter(torch.full(shape, 1.5))
        self.two = self.one if shared else nn.Parameter(torch.full(shape, 1.5))
        self.first, self.second = first, second

    def forward(self, x):
        return self.c(self.second(self.b(self.first(self.a(x), self.one)), self.two))


def of_the_exponential(x, p):
    return qcfs(x, p.exp() / 2)


SHARED = {
    "the same twice": (qcfs, qcfs),
    "two spellings": (pact, straight_through),
    "a channel": (qcfs, straight_through, 1, 6),
    "clips": (lambda x, c: torch.minimum(torch.relu(x), c), lambda x, c: torch.clamp(x, 0 * c, c)),
    "a channel of the last axis": (pact_by_where, pact_by_where, 6),
    "computed": (of_the_exponential, of_the_exponential),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_ceiling_stays_one(name):
    first, second, *shape = SHARED[name]
    model, x = Twice(first, second, True, *shape).eval(), torch.randn(64, 6) * 2
    levels = 256 if name == "clips" else LEVELS
    qann = snnconvert.quantize(model, levels, example_inputs=x)
    assert len(list(qann.parameters())) == len(list(model.parameters()))
    if name not in ("computed", "a channel of the last axis"):
        assert set(qann.state_dict()) == set(model.state_dict())
        assert qann.one is qann.two
    optimizer = torch.optim.SGD(qann.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (qann(x) - x[:, :3]).square().mean().backward()
        optimizer.step()
    snn = snnconvert.convert(qann.eval(), levels)
    one, two = (cell.ceiling for cell in snn.neurons.values())
    assert torch.equal(one, two) and float(one.flatten()[0]) != 1.5
    with torch.no_grad():
        assert torch.equal(snn(x), qann(x))
    tuned = snnconvert.finetune(
        snnconvert.convert(model, levels, example_inputs=x, settle=0), [x] * 3, steps=3, rate=0.05,
        teacher=lambda x: x[:, :3], progress=False,
    )  # fmt: skip
    one, two = (cell.ceiling for cell in tuned.neurons.values())
    assert torch.equal(one, two)


def test_equal_ceilings_that_nobody_shares_stay_two():
    model, x = Twice(qcfs, qcfs, False).eval(), torch.randn(64, 6) * 2
    qann = snnconvert.quantize(model, LEVELS, example_inputs=x)
    assert len(list(qann.parameters())) == len(list(model.parameters()))
    assert {"one", "two"} <= set(qann.state_dict())
