"""Capture: what cannot be captured is said at once and clearly; in-place writes come out right."""

import runpy
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snnconvert
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.capture.export import capture
from snnconvert.errors import InputError, SnnconvertError, UnsupportedOpError


class InPlace(nn.Module):
    """Writes through slices, views and unsqueezed tensors, read again afterwards."""

    def forward(self, x):
        h = x * 2
        rows = h[:, 1:3]
        rows.add_(1)
        h[:, 0] = x[:, 0].relu()
        flat = h.view(len(h), -1)
        flat.mul_(0.5)
        turned, parts = h.swapdims(0, 1), h.tensor_split(2, 1)
        h.unsqueeze(1).sigmoid_()
        out = h + rows.sum(1, keepdim=True)
        out += 1
        y = out.transpose(0, 1).clone()
        y.neg_()
        return {"y": y, "out": out, "flat": flat, "turned": turned, "part": parts[1]}


def test_in_place_writes_come_out_right():
    x = torch.randn(4, 6)
    network = CapturedNetwork(capture(InPlace(), x))
    found, wanted = network(x), InPlace()(x)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_modules_may_have_any_name_that_a_captured_network_has():
    x, model = torch.randn(4, 4), nn.Sequential()
    own_names = {*dir(CapturedNetwork(capture(nn.ReLU(), x)))} - {*dir(model)}
    for name in own_names:
        model.add_module(name, nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    assert {"captured", "clips", "constants", "functions", "levels", "program"} <= own_names
    ann = CapturedNetwork(capture(model.append(nn.Linear(4, 2)), x))
    assert torch.equal(ann(x), model(x))
    assert {f"{name}_.0.weight" for name in own_names} <= {*dict(ann.named_parameters())}
    qann = snnconvert.quantize(model, 4, example_inputs=x)
    again = CapturedNetwork.from_content(qann.to_content())
    assert torch.equal(again(x), qann(x)) and again.levels == 4
    assert again.state_dict().keys() == qann.state_dict().keys()


class Branching(nn.Module):
    def forward(self, x):
        return x.relu() if x.sum() > 0 else x


class Choosing(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, torch.relu, torch.sigmoid, (x,))


class Everything(nn.Module):
    """Several things that stand in the way, deep inside."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        self.block[2].weight.data[0, 0] = float("nan")

    def forward(self, x):
        h = self.block(x)
        h = h.mode(-1).values[:, None] + torch.randn_like(h) + torch.linalg.qr(h).Q.sum()
        return self.block(h)


def test_every_problem_is_named_at_once_with_layer_and_remedy():
    problems = snnconvert.check(Everything(), torch.randn(2, 4))
    text = "\n".join(map(str, problems))
    for word in ("block.2", "NaN", "mode", "randn_like", "random numbers", "linalg_qr"):
        assert word in text, text
    assert all(problem.remedy for problem in problems)
    with pytest.raises(UnsupportedOpError) as error:
        snnconvert.convert(Everything(), example_inputs=torch.randn(2, 4))
    assert all(str(problem) in str(error.value) for problem in problems)


def test_branches_on_values_are_explained():
    (problem,) = snnconvert.check(Branching(), torch.randn(2, 4))
    assert "branches on the values" in problem.reason and "torch.where" in problem.reason
    (problem,) = snnconvert.check(Choosing(), torch.randn(2, 4))
    assert problem.op == "cond" and "torch.where" in problem.remedy


def test_network_without_activations_is_refused():
    (problem,) = snnconvert.check(nn.Linear(3, 2), torch.randn(2, 3))
    assert "no activation" in problem.reason


def simple() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))


X = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))


def test_plain_activations_without_calibration_say_what_to_pass():
    with pytest.raises(InputError, match="calibration=batches"):
        snnconvert.convert(simple(), example_inputs=X)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda m: m[0].weight.data.fill_(float("nan")), "NaN"),
        (lambda m: m[2].bias.data.fill_(float("inf")), "infinite"),
        (lambda m: m.half(), "float16"),
        (lambda m: m.bfloat16(), "bfloat16"),
    ],
)
def test_weights_that_cannot_be_right_are_refused(change, word):
    model = simple()
    change(model)
    x = X.to(model[0].weight.dtype) if "float16" in word else X
    with pytest.raises(SnnconvertError, match=word) as caught:
        snnconvert.convert(model, example_inputs=x, calibration=[x])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "inputs", [None, (), {}, "x", 3.0, torch.zeros(0, 3), (torch.tensor(1.0),), (X, X), {"nope": X}]
)
def test_unusable_example_inputs_are_refused(inputs):
    with pytest.raises(SnnconvertError):
        snnconvert.convert(simple(), example_inputs=inputs, calibration=[X])


@pytest.mark.parametrize(
    ("calibration", "word"),
    [
        ([], "no batches"), (X, "iterable"), ([X[:, :2]], "shape"), ([X * float("nan")], "NaN"),
        ([X / 0], "NaN or infinite"), ([X.half()], "float16"), (["x"], "str"),
        ([{"x": X}], "unknown"),
        (3, "iterable"), ([(X, X)], "inputs"),
    ],
)  # fmt: skip
def test_unusable_calibration_is_refused(calibration, word):
    with pytest.raises(InputError, match=word):
        snnconvert.convert(simple(), example_inputs=X, calibration=calibration)


SNN = None


@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool]),
)
@settings(deadline=None, max_examples=40)
def test_calls_with_other_shapes_are_refused(shape, dtype):
    """Right shape: a result. Anything else: an error of ours, never a wrong result."""
    global SNN
    SNN = SNN or snnconvert.convert(simple(), 2, example_inputs=X, calibration=[X])
    value = torch.ones(shape).to(dtype)
    if value.ndim == 2 and value.shape[1] == 3 and dtype == torch.float32:
        assert SNN(value).shape == (len(value), 2)
    else:
        with pytest.raises(InputError):
            SNN(value)


def test_fixed_values_may_not_change():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = simple()

        def forward(self, x, factor):
            return self.net(x) * factor

    snn = snnconvert.convert(Scaled(), 2, example_inputs=(X, 3), calibration=[(X, 3)])
    assert snn(X, 3).shape == (32, 2)
    with pytest.raises(InputError, match="captured with 3"):
        snn(X, 4)


@pytest.mark.parametrize(
    "size",
    [len, lambda x: x.shape[0], lambda x: int(x.size(0)), lambda x: int(x.shape[0] * 2 / 2)],
)
def test_a_batch_size_read_as_a_number_of_python_stays_dynamic(size, recwarn):
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = simple()
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            n = size(x)
            return self.head(torch.cat([self.net(x), torch.ones(n, 1)], 1).view(n, -1))

    model = Counts().eval()
    snn = snnconvert.convert(model, 64, example_inputs=X[:4], calibration=[X])
    assert not [w for w in recwarn if "only for batches" in str(w.message)]
    assert list(snn.neurons) == ["net.1"]
    for rows in (1, 4, 7):
        found, wanted = snn(X[:rows]), snn.quantized_ann()(X[:rows])
        assert torch.equal(found, wanted)
        assert (found - model(X[:rows])).norm() < 0.2 * model(X[:rows]).norm()


def test_fixed_batch_warns_and_holds():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = simple()

        def forward(self, x):
            return self.net(x).view(2, 4)

    x = X[:4]
    with pytest.warns(UserWarning, match="only for batches as large"):
        snn = snnconvert.convert(Fixed(), 2, example_inputs=x, calibration=[x])
    assert snn(x).shape == (2, 4)
    with pytest.raises(InputError, match="shape"):
        snn(X[:6])


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_networks_of_pytorchs_own_quantisation_tools_convert_without_loss(per_channel):
    """Fake-quantised weights and activations of 15 steps: T = 15 is exact up to rounding ties."""

    class Trained(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = simple()
            self.register_buffer("scale", torch.full((8,), 0.1))
            self.register_buffer("zero", torch.zeros(8, dtype=torch.int32))

        def forward(self, x):
            weight = torch.fake_quantize_per_tensor_affine(self.net[0].weight, 0.02, 0, -128, 127)
            h = nn.functional.linear(x, weight, self.net[0].bias).relu()
            if per_channel:
                h = torch.fake_quantize_per_channel_affine(h, self.scale, self.zero, 1, 0, 15)
            else:
                h = torch.fake_quantize_per_tensor_affine(h, 0.1, 0, 0, 15)
            return self.net[2](h)

    model = Trained()
    snn = snnconvert.convert(model, 15, example_inputs=X)
    assert len(snn.neurons) == 1
    with torch.no_grad():
        assert torch.allclose(snn(X), model(X), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    ("low", "high", "zero", "timesteps"),
    [(-8, 7, 0, 8), (-128, 127, 0, 128), (-2, 1, 0, 2), (-8, 8, 0, 8), (0, 15, 3, 12),
     (0, 15, 8, 8), (-8, 7, -1, 8), (-8, 7, 7, 15)],
)  # fmt: skip
def test_quantisers_of_both_signs_are_exact_at_the_steps_of_their_longer_side(
    low, high, zero, timesteps, per_channel
):
    class Quantises(nn.Module):
        def forward(self, x):
            scale = 1.6 / timesteps
            if not per_channel:
                return torch.fake_quantize_per_tensor_affine(x, scale, zero, low, high)
            scales, zeros = torch.linspace(0.5, 1, 8) * scale, torch.full((8,), zero)
            return torch.fake_quantize_per_channel_affine(x, scales, zeros.int(), 1, low, high)

    above = high - zero  # all that it has behind a ReLU
    for steps, before in ((timesteps, []), (above, [nn.ReLU()]))[: 1 + (above > 0)]:
        model = nn.Sequential(simple()[0], *before, Quantises(), simple()[2]).eval()
        snn = snnconvert.convert(model, steps, example_inputs=X)  # no calibration is needed
        assert len(snn.neurons) == 1
        with torch.no_grad():
            torch.testing.assert_close(snn(X), model(X), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_fake_quantize_modules_are_frozen_and_left_alone():
    from torch.ao.quantization import FakeQuantize, default_weight_fake_quant

    class Trained(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.quantiser = simple(), FakeQuantize(quant_min=0, quant_max=15)
            self.weights = default_weight_fake_quant()

        def forward(self, x):
            weight = self.weights(self.net[0].weight)
            h = self.quantiser(nn.functional.linear(x, weight, self.net[0].bias).relu())
            return self.net[2](h)

    model = Trained()
    model(X)  # observes
    snn = snnconvert.convert(model, 15, example_inputs=X)
    assert isinstance(model.quantiser, FakeQuantize) and len(snn.neurons) == 1
    for module in (model.quantiser, model.weights):
        module.disable_observer()
    with torch.no_grad():
        assert torch.allclose(snn(X), model(X), atol=1e-5)
    report = snnconvert.compare(model, snn, [X]).to_dict()
    assert report["output"]["bit_equal"] and report["output_ann"]["relative_error"] < 1e-5
    with pytest.raises(InputError, match="not converted from this"):
        snnconvert.compare(simple(), snn, [X])


def learnable(low=0, high=15, zero=0.0, scale=0.1, symmetric=False):
    from torch.ao.quantization import MovingAverageMinMaxObserver
    from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize

    kind = {"dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric} if symmetric else {}
    quantiser = _LearnableFakeQuantize(MovingAverageMinMaxObserver, low, high, 0.1, 0.0, **kind)
    quantiser.toggle_observer_update(False)
    quantiser.scale.data.fill_(scale)
    quantiser.zero_point.data.fill_(zero)
    return quantiser


class Reads(nn.Module):
    """What reads an observer; a quantiser of two names."""

    def __init__(self, what):
        super().__init__()
        self.what, self.o = what, torch.ao.quantization.MinMaxObserver()
        self.first = self.second = learnable()
        self.o(torch.tensor([0.0, 1.5]))

    def forward(self, x):
        if self.what == "buffer":
            return self.second(x * self.o.max_val)
        scale, zero = self.o.calculate_qparams()
        return torch.fake_quantize_per_tensor_affine(x, scale * 17, zero.int(), 0, 15)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("activation", "timesteps", "close"),
    [
        (lambda: [nn.ReLU(), learnable()], 15, 1e-5),
        (lambda: [nn.ReLU(), torch.ao.quantization.MinMaxObserver()], 64, 0.1),
        (lambda: [learnable(-8, 7, symmetric=True)], 8, 1e-5),
        (lambda: [learnable(-8, 7, 2.0, symmetric=True)], 8, 1e-5),  # its zero point is 0 yet
        (lambda: [learnable(zero=3.4)], 12, 1e-5),
        (lambda: [learnable(zero=20.0)], 15, 1e-5),  # its zero point is 15
        (lambda: [learnable(scale=-0.1)], 15, 1e-5),  # its scale is the least that there is
        (lambda: [Reads("buffer")], 15, 1e-5),
        (lambda: [Reads("method")], 15, 1e-5),
    ],
)
def test_learned_quantisers_and_observers_are_frozen_too(activation, timesteps, close):
    first, last = simple()[::2]
    model = nn.Sequential(first, *activation(), last).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [set(vars(module)) for module in model.modules()]
    snn = snnconvert.convert(model, timesteps, example_inputs=X, calibration=[X])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [set(vars(module)) for module in model.modules()] == attributes
    assert len(snn.neurons) == 1
    wanted = model(X).detach()
    assert (snn(X) - wanted).norm() < close * wanted.norm()


def test_a_pytorch_without_learned_quantisers_does(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.ao.quantization._learnable_fake_quantize", None)
    module = runpy.run_module("snnconvert.conversion.capture.fake_quantize")
    assert module["LEARNABLE"] == ()


class Blocks(nn.Module):
    """`no_grad` and switched-off `autocast` inside forward, one in the other."""

    def __init__(self, enabled: bool = False) -> None:
        super().__init__()
        self.net, self.more, self.enabled = simple(), nn.Linear(2, 3), enabled

    def forward(self, x):
        with torch.no_grad():
            shift = x.mean(1, keepdim=True)
        with torch.autocast("cpu", enabled=self.enabled):
            h = self.net(x + shift)
            a, b = h.relu(), h.tanh()
        return self.more(a) + self.more(b)


def test_blocks_inside_forward_are_laid_open():
    model = Blocks()
    network = CapturedNetwork(capture(model, X)).eval()
    with torch.no_grad():
        assert torch.equal(network(X), model(X))
    snn = snnconvert.convert(model, 64, example_inputs=X, calibration=[X])
    assert set(snn.layers.values()) >= {"net.1"}
    (problem,) = snnconvert.check(Blocks(True), X)
    assert "autocast" in problem.reason
