"""The quantised clip: its values, its gradients, and the neuron that counts to the same integer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconvert.errors import InputError
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.operators.clip import QuantizedClip, from_counts, quantized_clip, to_counts
from snnconvert.operators.weights import QuantizedConv2d, QuantizedLinear, quantized_weight

levels_of = st.integers(1, 40)


def formula(x: torch.Tensor, ceiling: torch.Tensor, levels: int, signed: bool) -> torch.Tensor:
    """DESIGN's equation, written out for ceilings that broadcast."""
    low = -levels if signed else 0
    return ceiling * torch.clamp(torch.floor(levels * x / ceiling + 0.5), low, levels) / levels


@given(levels=levels_of, signed=st.booleans(), seed=st.integers(0, 999), per_channel=st.booleans())
@settings(deadline=None, max_examples=40)
def test_values_are_the_formula(levels, signed, seed, per_channel):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64) * 2
    ceiling = torch.rand((5,) if per_channel else (), generator=generator).double() + 0.5
    wide = ceiling.view(5, 1) if per_channel else ceiling
    found = quantized_clip(x, ceiling, levels, signed)
    assert torch.allclose(found, formula(x, wide, levels, signed), atol=1e-12)
    steps = found / wide * levels
    assert torch.equal(steps.round().clamp(-levels, levels), steps.round())
    assert torch.allclose(steps, steps.round(), atol=1e-9)


@given(levels=st.integers(1, 20), signed=st.booleans(), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=40)
def test_neuron_on_constant_input_counts_to_the_quantisers_integer(levels, signed, seed):
    """Threshold = ceiling, start at half of it, soft reset, T = levels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(50, generator=generator, dtype=torch.float64).mul(2)[None]
    ceiling = torch.tensor(1.3, dtype=torch.float64)
    v, counts = torch.full_like(x, 0.65), torch.zeros_like(x)
    for _ in range(levels):
        v = v + x
        spike = (v >= ceiling).double() - ((v < 0).double() if signed else 0)
        counts, v = counts + spike, v - spike * ceiling
    wanted = quantized_clip(x, ceiling, levels, signed)
    near = ((levels * x / ceiling + 0.5) % 1).sub(0.5).abs() > 0.499  # rounding decides there
    assert torch.equal(
        (counts * ceiling / levels - wanted).abs()[~near] < 1e-9, torch.ones_like(near)[~near]
    )


@given(timesteps=st.integers(1, 20), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=40)
def test_count_held_neuron_is_the_potential_held_one(timesteps, seed):
    """On any input train: same spikes, step by step, in float64."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.tensor(0.8, dtype=torch.float64)
    cell = IF(theta, timesteps)
    inputs = torch.randn(timesteps, 64, generator=generator, dtype=torch.float64)
    v = torch.full((64,), 0.4, dtype=torch.float64)
    plain = torch.zeros(64, dtype=torch.float64)
    held = torch.zeros(64, dtype=torch.float64)
    for step in range(1, timesteps + 1):
        v = v + inputs[step - 1]
        fire = ((v >= theta) & (plain < timesteps)).double() - ((v < 0) & (plain > 0)).double()
        v, plain = v - theta * fire, plain + fire
        spikes = cell.spikes(held, cell.target(inputs[:step].mean(0), step), signed=True)
        held = held + spikes
        assert torch.equal(spikes, fire)


LARGE = (5, 3, 150, 150)  # cut into pieces


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(), (3,), (1, 3, 1, 1), (5, 1, 1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pieces_change_no_bit(signed, shape, layout):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(LARGE, generator=generator).contiguous(memory_format=layout)
    theta = torch.rand(shape, generator=generator) + 0.5
    cell = IF(theta, 4, -4 if signed else 0)
    wanted = from_counts(to_counts(x, theta, 4, cell.lowest, 4), theta, 4)
    assert torch.equal(quantized_clip(x, theta, 4, signed), wanted)
    assert torch.equal(cell.settled(x), wanted) and torch.equal(cell.settled(y := x.clone(), y), y)
    assert torch.equal(y, wanted)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("reuse", [False, True])
def test_one_step_at_once_is_target_spikes_and_value(signed, reuse):
    generator = torch.Generator().manual_seed(0)
    theta = torch.rand(3, generator=generator) + 0.5
    cell, held, plain = IF(theta, 4), None, torch.zeros(LARGE)
    for step in range(1, 5):
        x = torch.randn(LARGE, generator=generator)
        plain = plain + cell.spikes(plain, cell.target(x, step), signed)
        held, value = cell.advance(x, held, step, signed, reuse)
        assert torch.equal(held, plain) and torch.equal(value, cell.value(plain, step))
        assert (value is x) == reuse


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("channels", [None, 3])
def test_gradients_are_straight_through(signed, channels):
    clip = QuantizedClip(4, channels, signed).double()
    x = (torch.randn(5, 3, 6, dtype=torch.float64) * 6).requires_grad_()
    weights = torch.randn_like(x)
    (clip(x) * weights).sum().backward()
    with torch.no_grad():
        top = clip.ceiling.view(-1, 1) if channels else clip.ceiling
        inside = (x < top) & (x > (-top if signed else 0))
        assert torch.equal(x.grad, weights * inside)
        branch = torch.where(inside, (clip(x) - x) / top, torch.where(x >= top, 1.0, 0.0))
        if signed:
            branch = torch.where(x <= -top, -1.0, branch)
        wanted = (weights * branch).sum((0, 2)) if channels else (weights * branch).sum()
    assert torch.allclose(clip.ceiling.grad, wanted)


@given(bits=st.integers(2, 8), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_weights_are_rounded_per_output_channel(bits, seed):
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
    rounded = quantized_weight(weight, bits)
    step = weight.abs().amax((1, 2, 3), keepdim=True) / (2 ** (bits - 1) - 1)
    assert (rounded - weight).abs().le(step / 2 * 1.001).all()
    for row in rounded:
        assert len(row.unique()) <= 2**bits - 1
    assert torch.allclose(rounded.abs().amax((1, 2, 3)), weight.abs().amax((1, 2, 3)))


def test_weight_quantised_layers_train():
    for layer, x in [
        (QuantizedConv2d(2, 3, 3, bits=4), torch.randn(2, 2, 5, 5)),
        (QuantizedLinear(5, 3, bits=4), torch.randn(2, 5)),
    ]:
        layer(x).square().sum().backward()
        assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("levels", [0, -1, 2.5, True, "4"])
def test_bad_levels_are_refused(levels):
    with pytest.raises(InputError, match="levels"):
        QuantizedClip(levels)


@pytest.mark.parametrize("bits", [1, 17, 2.0, True])
def test_bad_weight_bits_are_refused(bits):
    with pytest.raises(InputError, match="weight_bits"):
        QuantizedLinear(2, 2, bits=bits)
