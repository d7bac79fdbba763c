"""The U-Net against the facts known of the seeds, and its behaviour on unusual inputs."""

import pytest
import torch

from snnconvert.errors import InputError
from snnconvert.models.unet import UNet, UNetConfig
from snnconvert.operators.clip import QuantizedClip
from tests.support.unets import tiny_unet, unet_inputs


def weights(network) -> int:
    return sum(p.numel() for name, p in network.named_parameters() if "ceiling" not in name)


def test_default_is_sdms_network():
    """34,164,227 weights and 68 quantisers (SDM, ANN2SNN/model.py)."""
    network = UNet(UNetConfig(levels=3))
    assert weights(network) == 34_164_227
    assert sum(isinstance(m, QuantizedClip) for m in network.modules()) == 68


def test_attention_matches_pytorch_ddpms_size():
    """pytorch-ddpm: (1, 2, 2, 2), attention at 16 x 16 and in the middle: 35.746 M weights."""
    network = UNet(UNetConfig(attention=(1,)))
    assert weights(network) == pytest.approx(35.746e6, rel=1e-4)


def test_float_and_quantised_network_share_their_weights():
    names = set(tiny_unet(levels=0).state_dict())
    assert {n for n in tiny_unet().state_dict() if not n.endswith("ceiling")} == names


def test_fractional_times_lie_between_whole_ones():
    network = tiny_unet(levels=0)
    x, _ = unet_inputs(batch=1)
    with torch.no_grad():
        near = [network(x, torch.tensor([t])) for t in (5.0, 5.01, 6.0)]
    assert 0 < (near[1] - near[0]).norm() < (near[2] - near[0]).norm()


def test_time_embedding_is_sdms_table():
    """emb[t] interleaves sin and cos of t * exp(-ln(1e4) * k / channels)."""
    embedding = tiny_unet(channels=8).time_embedding
    t = torch.tensor([0.0, 1.0, 37.0])
    k = torch.arange(0, 8, 2)
    angles = t[:, None] * torch.exp(-torch.log(torch.tensor(1e4)) * k / 8)
    wanted = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    seen = []
    embedding.hidden.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    embedding(t)
    assert torch.allclose(seen[0], wanted, atol=1e-5)


@pytest.mark.parametrize("size", [(7, 9), (16, 8), (5, 5)])
def test_any_image_size(size):
    network = tiny_unet(channel_mult=(1, 2, 2))
    assert network(torch.randn(2, 2, *size), torch.zeros(2)).shape == (2, 2, *size)


def test_patch_keeps_the_image_size():
    network = tiny_unet(patch=4)
    assert network(torch.randn(2, 2, 16, 8), torch.zeros(2)).shape == (2, 2, 16, 8)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"groups": 3}, "groups"),
        ({"channels": 7, "groups": 7}, "channels"),
        ({"norm": "layer"}, "norm"),
        ({"attention": (4,)}, "attention"),
        ({"dropout": 1.0}, "dropout"),
        ({"levels": -1}, "levels"),
        ({"channel_mult": ()}, "channel_mult"),
        ({"weight_bits": 1}, "weight_bits"),
    ],
)
def test_impossible_shapes_are_refused(changes, word):
    with pytest.raises(InputError, match=word):
        tiny_unet(**changes)


def test_wrong_images_are_refused():
    network = tiny_unet(patch=2)
    with pytest.raises(InputError, match="shape"):
        network(torch.randn(1, 3, 8, 8), torch.zeros(1))
    with pytest.raises(InputError, match="multiple"):
        network(torch.randn(1, 2, 9, 8), torch.zeros(1))
