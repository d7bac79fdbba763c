"""The native spiking U-Net against SDDPM's facts, a plain formulation, and numerical gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from examples.plain_spiking_unet import plain_copy, plain_name
from snnconvert.errors import CheckpointError, InputError
from snnconvert.models import SpikingUNet, SpikingUNetConfig
from snnconvert.models.spiking.blocks import RepeatedNorm, SpikingAttention, StepConv2d
from snnconvert.models.spiking.variants import load_pretrained
from snnconvert.neurons.resting import RestingNode
from tests.support.spiking_unets import NEURONS, gradients, inputs, tiny_spiking_unet


def count(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_default_is_sddpms_network():
    """66,696,413 weights with the frozen table (63.61 * 2^20 in the paper), 67 convolutions."""
    network = SpikingUNet()
    assert count(network) == 66_696_413
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 66_568_413
    assert sum(isinstance(m, StepConv2d) for m in network.modules()) == 67


@pytest.mark.parametrize("timesteps", [1, 4, 8])
def test_tsm_adds_67_factors_a_step(timesteps):
    shape = {"timesteps": timesteps, "channels": 8}
    assert count(SpikingUNet(tsm=True, **shape)) - count(SpikingUNet(**shape)) == 67 * timesteps


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("tsm", [True, False])
def test_equals_the_plain_formulation(neuron, tsm, training):
    """Outputs, gradients and running statistics, to float64 rounding; two batch sizes in turn."""
    network = tiny_spiking_unet(tsm=tsm, **neuron).double().train(training)
    plain = plain_copy(network)
    for batch in (3, 2):
        x, t = inputs(batch)
        with torch.no_grad():
            torch.testing.assert_close(
                network(x.double(), t), plain(x.double(), t), rtol=1e-11, atol=1e-12
            )
        ours, theirs = gradients(network, x.double(), t), gradients(plain, x.double(), t)
        scale = max(grad.abs().max() for grad in theirs.values())
        for name, grad in ours.items():
            other = theirs[plain_name(name)].view_as(grad)
            torch.testing.assert_close(grad, other, rtol=1e-9, atol=1e-12 * scale.item())
    statistics = dict(plain.named_buffers())
    for name, value in network.named_buffers():
        torch.testing.assert_close(value, statistics[name], rtol=1e-12, atol=1e-14)


def test_float32_evaluation_equals_the_plain_formulation_to_the_bit():
    network = tiny_spiking_unet(channel_mult=(1, 2, 2), timesteps=4)
    x, t = inputs(4, size=(16, 16))
    with torch.no_grad():
        assert torch.equal(network(x, t), plain_copy(network)(x, t))


@pytest.mark.parametrize("training", [True, False])
def test_tsm_with_all_factors_1_changes_nothing(training):
    plain = tiny_spiking_unet().train(training)
    network = load_pretrained(tiny_spiking_unet(tsm=True), plain.state_dict()).train(training)
    x, t = inputs()
    with torch.no_grad():
        assert torch.equal(network.eval()(x, t), plain.eval()(x, t))
    network, plain = network.double().train(training), plain.double().train(training)
    with_factors, without = gradients(network, x.double(), t), gradients(plain, x.double(), t)
    assert set(with_factors) - set(without) == {
        name for name in with_factors if name.endswith("step_scale")
    }
    scale = max(grad.abs().max() for grad in without.values()).item()
    for name, grad in without.items():
        torch.testing.assert_close(with_factors[name], grad, rtol=1e-9, atol=1e-12 * scale)


def test_the_gradient_is_the_one_that_differences_show():
    """With smooth firing, in float64, along random directions of all parameters at once."""
    for changes in ({"tsm": True}, {"neuron": "plif", "attention": (1,)}):
        network = tiny_spiking_unet(timesteps=2, **changes).double().train()
        for module in network.modules():
            if isinstance(module, RestingNode):
                module.surrogate_function.set_spiking_mode(False)
        x, t = inputs(2, size=(4, 4))
        weights = torch.randn(2, 2, 4, 4, dtype=torch.float64)
        trained = [p for p in network.parameters() if p.requires_grad]

        def loss(network=network, x=x, t=t, weights=weights):
            return (network(x.double(), t) * weights).sum()

        found = torch.autograd.grad(loss(), trained)
        for _ in range(3):
            ways = [torch.randn_like(p) for p in trained]
            slope = sum((g * way).sum() for g, way in zip(found, ways, strict=True))
            step = 1e-6
            with torch.no_grad():
                torch._foreach_add_(trained, ways, alpha=step)
                above = loss()
                torch._foreach_add_(trained, ways, alpha=-2 * step)
                below = loss()
                torch._foreach_add_(trained, ways, alpha=step)
            assert (above - below).item() / (2 * step) == pytest.approx(slope.item(), rel=1e-4)


def test_batch_composition_does_not_change_an_image():
    network = tiny_spiking_unet(channel_mult=(1, 2, 2), attention=(1,))
    x, t = inputs(5)
    with torch.no_grad():
        together = network(x, t)
        alone = torch.cat([network(x[i : i + 1], t[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


def test_no_state_outlives_a_call():
    network = tiny_spiking_unet(neuron="lif")
    x, t = inputs(3)
    with torch.no_grad():
        first = network(x, t)
        network(*inputs(2, seed=5))
        assert torch.equal(network(x, t), first)


@pytest.mark.parametrize("training", [True, False])
def test_checkpointing_changes_nothing(training):
    changes = {"tsm": True, "attention": (1,), "dropout": 0.3}
    network = tiny_spiking_unet(**changes).train(training)
    lean = tiny_spiking_unet(checkpointing=True, **changes).train(training)
    x, t = inputs()
    found = []
    for one in (network, lean):
        torch.manual_seed(3)  # of dropout
        found.append(gradients(one, x, t))
    assert all(torch.equal(found[0][name], grad) for name, grad in found[1].items())
    assert set(found[0]) == set(found[1])
    for (name, one), (_, other) in zip(network.named_buffers(), lean.named_buffers(), strict=True):
        assert torch.equal(one, other), name


def test_checkpointing_keeps_less():
    """Bytes that the forward pass keeps for the backward pass."""
    kept = []
    for checkpointing in (False, True):
        network = tiny_spiking_unet(checkpointing=checkpointing).train()
        kept.append(0)

        def pack(tensor, kept=kept):
            kept[-1] += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(*inputs(size=(16, 16)))
    assert kept[1] < 0.6 * kept[0]


def test_fractional_times_lie_on_the_tables_line():
    network = tiny_spiking_unet()
    seen = []
    network.time_table.hidden.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    x, _ = inputs(5)
    t = torch.tensor([0.0, 41.0, 41.25, 42.0, 999.0])
    network(x, t)
    network(x, torch.tensor([0, 41, 41, 42, 999]))
    table = network.time_table.table
    assert torch.equal(seen[0][[0, 1, 3, 4]], table[[0, 41, 42, 999]])
    torch.testing.assert_close(seen[0][2], table[41] * 0.75 + table[42] * 0.25)
    assert torch.equal(seen[1], table[[0, 41, 41, 42, 999]])


def test_time_table_is_sddpms():
    """Row t interleaves sin and cos of t * exp(-ln(1e4) * k / channels)."""
    table = tiny_spiking_unet().time_table.table
    angles = 37 * torch.exp(-torch.log(torch.tensor(1e4)) * torch.arange(0, 8, 2) / 8)
    wanted = torch.stack([angles.sin(), angles.cos()], -1).flatten()
    torch.testing.assert_close(table[37].detach(), wanted, atol=1e-5, rtol=0)
    assert not table.requires_grad


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(1, 11),
    width=st.integers(1, 11),
    patch=st.integers(1, 3),
    timesteps=st.integers(1, 3),
    levels=st.integers(1, 3),
)
def test_any_image_size(height, width, patch, timesteps, levels):
    mult = tuple(range(1, levels + 1))
    network = tiny_spiking_unet(patch=patch, timesteps=timesteps, channel_mult=mult)
    size = (height * patch, width * patch)
    with torch.no_grad():
        assert network(*inputs(2, size=size)).shape == (2, 2, *size)


@pytest.mark.parametrize(
    "changes",
    [{"attention": (0, 1)}, {"dropout": 0.2}, {"tsm": True}, {"backend": "triton"}, {"patch": 2}],
    ids=str,
)
def test_every_variant_learns(changes):
    network = tiny_spiking_unet(**changes).train()
    x, t = inputs()
    target = torch.randn_like(x)
    optimizer = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), 3e-3)
    losses = []
    for _ in range(6):
        loss = (network(x, t) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_attention_of_spikes_is_the_sum_it_says():
    layer = SpikingAttention(tiny_spiking_unet().config, 8).eval()
    nn.init.constant_(layer.qkv.norm.bias, 0.6)  # so that they fire
    seen = {}
    layer.neuron.register_forward_hook(lambda _m, _a, out: seen.update(spikes=out.flatten(0, 1)))
    layer.mixed_norm.register_forward_pre_hook(lambda _m, args: seen.update(mixed=args[0]))
    for size in (2, 5):  # fewer and more pixels than channels
        x = torch.randn(6, 8, size, size) + 1
        with torch.no_grad():
            layer(x)
        q, k, v = seen["spikes"].flatten(2).chunk(3, dim=1)
        wanted = torch.einsum("bcr,bdr,bdp->bcp", v, k, q)
        assert torch.equal(seen["mixed"].flatten(2), wanted)
        assert wanted.any()


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_autocast(training):
    network = tiny_spiking_unet(timesteps=4, tsm=True).train(training)
    x, t = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        out = network(x, t)
    assert out.isfinite().all()
    out.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)


def test_networks_in_bfloat16_know_every_time():
    """999 is no bfloat16 number; the table's row is found all the same."""
    network = tiny_spiking_unet().bfloat16()
    seen = []
    network.time_table.hidden.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    x, _ = inputs(2)
    assert network(x.bfloat16(), torch.tensor([999, 517])).isfinite().all()
    assert torch.equal(seen[0], network.time_table.table[[999, 517]])


def test_memory_layout_does_not_matter():
    network = tiny_spiking_unet(attention=(1,)).double()
    x, t = inputs()
    with torch.no_grad():
        wanted = network(x.double(), t)
        assert torch.equal(network(x.double().to(memory_format=torch.channels_last), t), wanted)
        network = network.to(memory_format=torch.contiguous_format)
        torch.testing.assert_close(network(x.double(), t), wanted, rtol=1e-9, atol=1e-9)


def test_config_goes_to_plain_values_and_back():
    network = tiny_spiking_unet(attention=[1], neuron="plif", tsm=True)
    again = SpikingUNet.from_config(SpikingUNetConfig(**network.config.to_dict()))
    assert again.config == network.config
    assert again.config.attention == (1,)
    again.load_state_dict(network.state_dict())
    x, t = inputs()
    with torch.no_grad():
        assert torch.equal(again.eval()(x, t), network(x, t))


def test_pretrained_weights_must_fit_completely():
    state = tiny_spiking_unet().state_dict()
    network = tiny_spiking_unet(tsm=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    missing = {k: v for k, v in state.items() if k != "down.0.0.layer1.conv.weight"}
    with pytest.raises(CheckpointError, match=r"missing: down\.0\.0\.layer1\.conv\.weight"):
        load_pretrained(network, missing)
    with pytest.raises(CheckpointError, match=r"not in the network: extra\.weight"):
        load_pretrained(network, {**state, "extra.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"another shape: tail\.conv\.bias"):
        load_pretrained(network, {**state, "tail.conv.bias": torch.zeros(9)})
    with pytest.raises(InputError, match="tsm=True"):
        load_pretrained(tiny_spiking_unet(), state)
    loaded = load_pretrained(network, state).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    assert all((v == 1).all() for name, v in loaded.items() if name.endswith("step_scale"))
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"timesteps": 0}, "timesteps"),
        ({"channels": 7}, "channels"),
        ({"channel_mult": ()}, "channel_mult"),
        ({"attention": (2,)}, "attention"),
        ({"dropout": 1.0}, "dropout"),
        ({"diffusion_steps": 0}, "diffusion_steps"),
        ({"sharpness": 0.0}, "sharpness"),
        ({"neuron": "adex"}, "neuron"),
        ({"tau": 1.0}, "tau"),
        ({"v_threshold": -1.0}, "v_threshold"),
        ({"reset": "zero"}, "reset"),
        ({"surrogate": "step"}, "surrogate"),
        ({"backend": "cupy"}, "backend"),
    ],
)
def test_impossible_shapes_are_refused(changes, word):
    with pytest.raises(InputError, match=f"Spiking U-Net.*{word}"):
        tiny_spiking_unet(**changes)


@pytest.mark.parametrize(
    ("x", "t", "word"),
    [
        (torch.zeros(1, 3, 8, 8), torch.zeros(1), "shape"),
        (torch.zeros(2, 8, 8), torch.zeros(2), "shape"),
        (torch.zeros(1, 2, 9, 8), torch.zeros(1), "multiple"),
        (torch.zeros(2, 2, 8, 8), torch.zeros(3), "one time an image"),
        (torch.zeros(2, 2, 8, 8), torch.zeros(()), "one time an image"),
        (torch.zeros(1, 2, 8, 8), torch.tensor([1000.0]), "0 ... 999"),
        (torch.zeros(1, 2, 8, 8), torch.tensor([-1]), "0 ... 999"),
        (torch.zeros(1, 2, 8, 8), torch.tensor([float("nan")]), "0 ... 999"),
    ],
)
def test_wrong_inputs_are_refused(x, t, word):
    with pytest.raises(InputError, match=word):
        tiny_spiking_unet(patch=2)(x, t)


def test_norms_of_the_repeated_image_need_no_copies():
    """Against `nn.BatchNorm2d` on the copies: output, gradient and running statistics."""
    lean, plain = RepeatedNorm(3).double(), nn.BatchNorm2d(3).double()
    for _ in range(3):
        x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
        torch.testing.assert_close(lean(x, 4).repeat(4, 1, 1, 1), plain(x.repeat(4, 1, 1, 1)))
    for name, value in plain.named_buffers():
        torch.testing.assert_close(dict(lean.named_buffers())[name], value, rtol=1e-12, atol=0)
