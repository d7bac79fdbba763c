"""What a user's rule says of an operation reaches every pass."""

from contextlib import ExitStack

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.conversion.graph.nodes import BatchNorm
from snnconvert.conversion.rules import RULES, Rule, register, unregister
from snnconvert.conversion.rules.accumulated import signed_function
from snnconvert.conversion.rules.linear import macs_of_weights
from snnconvert.errors import InputError
from tests.support.own_rules import halve, mix, own_rule, rows, smooth

MIX, ROWS = "snntest.mix.default", "snntest.rows.default"
BARE = Rule("bilinear", macs_of_weights)  # says nothing of weights, biases, channels and memory
WHOLE = {
    MIX: Rule("bilinear", macs_of_weights, weight=2, bias=4, channel_axis=1, fresh=True,
              folds=True),
    ROWS: Rule("bilinear", macs_of_weights, weight=1, bias=2, channel_axis=-1, fresh=True),
}  # fmt: skip


class Net(nn.Module):
    """Convolution, norm, ReLU; convolution, ReLU; linear over the last axis, ReLU; linear."""

    def __init__(self) -> None:
        super().__init__()
        shapes = {"a": (8, 3, 1, 1), "b": (6, 4, 1, 1), "c": (7, 9), "d": (5, 7)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape) / shape[1] ** 0.5))
        self.bias = nn.Parameter(torch.randn(6) / 4)
        self.norm = nn.BatchNorm2d(8)
        nn.init.uniform_(self.norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(self.norm.running_var, 0.3, 2.0)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def forward(self, x):
        h = self.norm(mix(x, 1.5, self.a)).relu()
        h = mix(h, 0.7, self.b, 2, self.bias).relu()
        return rows(rows(h.flatten(2), self.c).relu(), self.d)


@pytest.fixture
def model_and_input():
    torch.manual_seed(0)
    return Net().eval(), torch.randn(64, 3, 3, 3)


def converted(model, x, timesteps, rules, **options):
    with ExitStack() as stack:
        for op, rule in rules.items():
            stack.enter_context(own_rule(op, rule))
        snn = snnconvert.convert(
            model, timesteps, example_inputs=x, calibration=[x], bias_correction=True, **options
        )
        with torch.no_grad():
            return snn, snn(x), snn.quantized_ann()(x)


def test_a_rule_reaches_every_pass(model_and_input):
    model, x = model_and_input
    snn, found, quantised = converted(model, x, 4, WHOLE)
    assert torch.equal(found, quantised)
    # folded: no norm is left, and the convolution before it has a bias, behind its `groups`
    nodes = {node.name: node for node in snn.program.nodes}
    assert not any(BatchNorm.found(node) for node in nodes.values())
    first, second = (node for node in nodes.values() if node.op == MIX)
    assert len(first.args) == 5 and first.args[3] == 1 and second.args[3] == 2
    # calibrated: thresholds of channels where the rules say that these are
    shapes = [tuple(cell.ceiling.shape) for cell in snn.neurons.values()]
    assert shapes == [(8,), (6,), (1, 1, 7)]
    # corrected: in the biases, nothing is added behind; the output's means are the float ones
    assert not any(node.op == "aten.add.Tensor" for node in nodes.values())
    assert all(node.args[2] is not None for node in nodes.values() if node.op == ROWS)
    with torch.no_grad():
        wanted = model(x)
    torch.testing.assert_close(found.mean([0, 1]), wanted.mean([0, 1]), atol=1e-4, rtol=0)
    # executed: what is memory of its own may be overwritten by the neurons that alone read it
    # (the first reads what depends on no spike, which is computed once and kept)
    assert snn.executor.sole_readers == set(list(snn.neurons)[1:])


def test_what_a_rule_does_not_say_is_not_assumed(model_and_input):
    model, x = model_and_input
    snn, found, quantised = converted(model, x, 4, {MIX: BARE, ROWS: BARE})
    assert torch.equal(found, quantised)
    assert sum(BatchNorm.found(node) for node in snn.program.nodes) == 1
    assert [cell.ceiling.ndim for cell in snn.neurons.values()] == [1, 1, 0]  # the norm's axis
    made_by = {node.name: node.op for node in snn.program.nodes}
    read = [snn.executor.currents[name] for name in snn.executor.sole_readers]
    assert [made_by[name] for name in read] == ["aten.add.Tensor"]  # of the correction


def test_error_goes_to_zero(model_and_input):
    model, x = model_and_input
    _, found, _ = converted(model, x, 256, WHOLE, simulate="counts", threshold="max")
    with torch.no_grad():
        wanted = model(x)
    assert (found - wanted).norm() / wanted.norm() < 0.02


class Smooth(nn.Module):
    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(4 if pooled else 8, 2)
        self.pooled = pooled

    def forward(self, x):
        h = smooth(self.a(x))
        return self.b(halve(h) if self.pooled else h)


SMOOTH, HALVE = "snntest.smooth.default", "snntest.halve.default"


def test_an_activation_of_ones_own():
    model, x = Smooth(), torch.randn(64, 4)
    assert "no conversion rule" in str(snnconvert.check(model, x)[0])
    with own_rule(SMOOTH, Rule("accumulated", activation=signed_function)):
        snn = snnconvert.convert(model, 64, example_inputs=x, calibration=[x])
        with torch.no_grad():
            found, wanted = snn(x), model(x)
        assert (found - wanted).norm() / wanted.norm() < 0.02
        with pytest.raises(InputError, match="already"):
            register(SMOOTH, Rule("linear"))
    assert "no conversion rule" in str(snnconvert.check(model, x)[0])


@pytest.mark.parametrize("passes", [False, True])
def test_neurons_lie_before_what_passes_their_spikes_on(passes):
    model, x = Smooth(pooled=True), torch.randn(8, 4)
    activation = Rule("accumulated", activation=signed_function)
    with own_rule(SMOOTH, activation), own_rule(HALVE, Rule("accumulated", passes=passes)):
        problems = snnconvert.check(model, x)
    assert [problem.op for problem in problems] == ([] if passes else ["(none)"])


def test_a_rule_may_say_why_it_is_refused():
    with own_rule("snntest.smooth", Rule("refused", random=True)):  # all of its overloads
        (problem,) = snnconvert.check(Smooth(), torch.randn(8, 4))
    assert "random" in problem.reason and problem.op == SMOOTH


def test_what_is_known_of_an_operation_that_was_refused_stays():
    assert RULES["aten.narrow"].view is not None
    with own_rule("aten.narrow.Tensor", Rule("linear", moves=True)):
        assert RULES["aten.narrow.Tensor"].view is not None
    assert "aten.narrow.Tensor" not in RULES


@pytest.mark.parametrize(
    ("op", "rule", "match"),
    [
        ("snntest.other.default", Rule("sometimes"), "kind"),
        ("snntest.other.default", Rule("linear", gate="third"), "gate"),
        ("snntest.other.default", Rule("bilinear", folds=True), "positions"),
        ("snntest.other.default", Rule("fires"), "activation"),
        ("snntest.other", Rule("linear"), "overload"),
    ],
)
def test_senseless_rules_are_refused(op, rule, match):
    with pytest.raises(InputError, match=match):
        register(op, rule)
    assert op not in RULES


def test_only_what_is_registered_can_be_taken_out():
    with pytest.raises(InputError, match="unknown conversion rule"):
        unregister("snntest.other.default")
