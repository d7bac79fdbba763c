"""Folders that diffusers wrote, and its other models: they convert, on the command line too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import snnconvert
from snnconvert.cli import main
from snnconvert.conversion.graph.values import leaves
from snnconvert.errors import InputError
from snnconvert.exchange.diffusers_folder import example_call, load_diffusers

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")


def unet():
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def conditional():
    return diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), cross_attention_dim=8, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def dit():
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, num_layers=1, sample_size=8,
        patch_size=2, num_embeds_ada_norm=10, norm_type="ada_norm_zero",
    )  # fmt: skip


def sd3():
    return diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=16, caption_projection_dim=16,
        pooled_projection_dim=12, out_channels=4, pos_embed_max_size=8,
    )  # fmt: skip


def pixart():
    return diffusers.PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1,
        sample_size=8, patch_size=2, cross_attention_dim=16, caption_channels=12,
        use_additional_conditions=False,
    )  # fmt: skip


def vae():
    return diffusers.AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, sample_size=8, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",),
    )  # fmt: skip


MODELS = {"unet": unet, "conditional": conditional, "dit": dit, "sd3": sd3, "pixart": pixart,
          "vae": vae}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_every_model_converts_by_its_own_example_call(name):
    """At 255 levels the error is small, and by counts equal to the quantised ANN."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    call = example_call(model)
    snn = snnconvert.convert(
        model, 8, code="radix", simulate="counts", example_inputs=call, calibration=[call]
    )
    (wanted, found), equal = (leaves(n(*call))[0] for n in (model, snn)), snn.quantized_ann()
    assert float((wanted - found).norm() / wanted.norm()) < 0.05
    assert torch.equal(found, leaves(equal(*call))[0])


@torch.no_grad()
def test_a_decoder_converts():
    torch.manual_seed(0)
    decoder, latents = vae().eval().decoder, torch.randn(2, 4, 8, 8)
    snn = snnconvert.convert(
        decoder, 8, code="radix", simulate="counts", example_inputs=latents, calibration=[latents]
    )
    assert float((snn(latents) - decoder(latents)).norm() / decoder(latents).norm()) < 0.05


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The folder of a DDPM pipeline with a small network, and clean images."""
    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    scheduler = diffusers.DDPMScheduler(beta_schedule="scaled_linear", prediction_type="sample")
    diffusers.DDPMPipeline(unet().eval(), scheduler).save_pretrained(folder)
    torch.save(torch.rand(16, 1, 8, 8) * 2 - 1, folder / "clean.pt")
    return folder


def test_a_folder_knows_its_noise(pipeline):
    model = load_diffusers(pipeline / "unet")
    assert model.prediction == "x0" and len(model.schedule.alphas_cumprod) == 1000
    assert [list(value.shape) for value in example_call(model)] == [[2, 1, 8, 8], [2]]


def test_a_folder_on_the_command_line(pipeline, capsys):
    folder, out = str(pipeline / "unet"), pipeline / "net.snn.pt"
    assert main(["check", folder]) == 0 and "no problems" in capsys.readouterr().out
    assert main(["convert", folder, "--calibrate", str(pipeline / "clean.pt"), "-o", str(out),
                 "--timesteps", "4", "--firing", "deferred", "--no-page", "--quiet",
                 "--no-solver-path"]) == 0  # fmt: skip
    snn = snnconvert.load(out)
    assert snn.prediction == "x0" and len(snn.schedule.alphas_cumprod) == 1000
    images = pipeline / "images.npz"
    assert main(["sample", str(out), "-o", str(images), "-n", "2", "--no-progress", "--solver",
                 "ddim", "--steps", "3"]) == 0  # fmt: skip
    with np.load(images) as content:
        assert content["samples"].shape == (2, 8, 8, 1)


def test_what_is_no_model_of_diffusers_is_refused(pipeline, capsys):
    assert main(["check", str(pipeline)]) == 2
    assert "PIPELINE/unet" in capsys.readouterr().err
    with pytest.raises(InputError, match="sample_size"):
        example_call(torch.nn.Linear(2, 2))
