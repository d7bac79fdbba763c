"""Neurons for direct training against spikingjelly's own, in values and in gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron, surrogate

from snnconvert.errors import InputError
from snnconvert.neurons import resting
from snnconvert.neurons.resting import NEURONS, RESETS, SURROGATES, RestingNode, surrogate_of


def theirs(kind: str, tau: float, threshold: float, reset: str, fire) -> torch.nn.Module:
    common = {"v_threshold": threshold, "v_reset": RESETS[reset], "surrogate_function": fire,
              "step_mode": "m"}  # fmt: skip
    if kind == "if":
        return neuron.IFNode(**common)
    if kind == "lif":
        return neuron.LIFNode(tau=tau, **common)
    return neuron.ParametricLIFNode(init_tau=tau, **common)


def run(node, x, weights):
    """Spikes, gradient of the input, gradient of tau's parameter if there is one."""
    x = x.clone().requires_grad_()
    functional.reset_net(node)
    spikes = node(x)
    (spikes * weights).sum().backward()
    learned = [p.grad for p in node.parameters()]
    return spikes.detach(), x.grad, learned


@pytest.mark.parametrize("kind", NEURONS)
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("name", SURROGATES)
def test_values_and_gradients_are_spikingjellys(kind, reset, name):
    x = torch.randn(5, 3, 4, 6, dtype=torch.float64) + 0.8
    weights = torch.randn_like(x)
    fire = surrogate_of(name, 1.7)
    ours = RestingNode(kind, 2.5, 0.9, reset, fire).double()
    spikes, grad, learned = run(ours, x, weights)
    wanted = run(theirs(kind, 2.5, 0.9, reset, fire).double(), x, weights)
    assert 0.05 < spikes.mean() < 0.95
    assert torch.equal(spikes, wanted[0])
    torch.testing.assert_close(grad, wanted[1], rtol=1e-12, atol=1e-14)
    for one, other in zip(learned, wanted[2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(NEURONS),
    reset=st.sampled_from(list(RESETS)),
    tau=st.floats(1.1, 20),
    threshold=st.floats(0.1, 3),
    steps=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
def test_float32_spikes_are_equal_to_the_bit(kind, reset, tau, threshold, steps, seed):
    x = torch.randn(steps, 50, generator=torch.Generator().manual_seed(seed)) + 0.5
    ours = RestingNode(kind, tau, threshold, reset)
    assert torch.equal(ours(x), theirs(kind, tau, threshold, reset, surrogate.ATan())(x))


@pytest.mark.parametrize("kind", NEURONS)
def test_the_other_backend_computes_the_same(kind):
    x = torch.randn(4, 30) + 0.3
    weights = torch.randn_like(x)
    ours = run(RestingNode(kind), x, weights)
    other = run(RestingNode(kind, backend="triton"), x, weights)
    assert torch.equal(ours[0], other[0])
    torch.testing.assert_close(ours[1], other[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", NEURONS)
@pytest.mark.parametrize("reset", RESETS)
def test_smooth_firing_has_the_gradient_that_differences_show(kind, reset):
    node = RestingNode(kind, reset=reset, surrogate_function=surrogate.ATan(spiking=False))
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(node.double(), (x,))


def test_a_call_does_not_depend_on_the_one_before():
    node = RestingNode("lif")
    x = torch.rand(4, 2, 5)
    first = node(x)
    node(torch.rand(4, 7, 5) * 10)  # another batch size, and much charge
    assert torch.equal(node(x), first)
    assert all(not isinstance(value, torch.Tensor) for value in node.memories())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_potentials_of_half_precision_currents_are_added_up_in_float32(dtype):
    x = torch.full((300, 1), 1 / 256, dtype=dtype)  # exact, but no bfloat16 sum of 256 of them is
    spikes = RestingNode("if")(x)
    assert spikes.dtype == dtype
    assert spikes[:, 0].nonzero().flatten().tolist() == [255]


def test_memory_layout_is_kept():
    x = torch.randn(8, 3, 4, 4).to(memory_format=torch.channels_last).unflatten(0, (2, 4))
    node = RestingNode("if")
    assert node(x).flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(node(x), node(x.contiguous()))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"neuron": "izhikevich"}, "if, lif, plif"),
        ({"neuron": "lif", "tau": 1.0}, "tau"),
        ({"neuron": "plif", "tau": float("nan")}, "tau"),
        ({"v_threshold": 0.0}, "v_threshold"),
        ({"v_threshold": float("inf")}, "v_threshold"),
        ({"reset": "none"}, "hard, soft"),
        ({"backend": "cupy"}, "use triton, or torch"),
        ({"backend": "jax"}, "torch, triton"),
    ],
)
def test_impossible_neurons_are_refused(arguments, word):
    with pytest.raises(InputError, match=word):
        RestingNode(**arguments)


def test_a_backend_that_is_not_installed_says_what_to_do(monkeypatch):
    monkeypatch.setattr(resting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install triton, or use torch"):
        RestingNode(backend="triton")


def test_unknown_surrogates_are_refused():
    with pytest.raises(InputError, match="atan"):
        surrogate_of("relu", 2.0)


def test_single_steps_are_refused():
    with pytest.raises(ValueError, match="step_mode"):
        RestingNode().step_mode = "s"
