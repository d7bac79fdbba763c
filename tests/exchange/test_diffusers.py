"""diffusers' models convert, stand in its pipelines, and our solvers follow its schedulers."""

from __future__ import annotations

import copy

import pytest
import torch

import snnconvert
from snnconvert.errors import CheckpointError, InputError
from snnconvert.exchange.diffusers import for_pipeline, sampling_of
from snnconvert.exchange.diffusers_folder import load_diffusers

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), cross_attention_dim=8, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def snn(unet):
    generator = torch.Generator().manual_seed(0)
    calls = {
        "sample": torch.randn(32, 4, 8, 8, generator=generator),
        "timestep": torch.linspace(0, 999, 32),
        "encoder_hidden_states": torch.randn(32, 5, 8, generator=generator),
    }
    example = {name: value[:2] for name, value in calls.items()}
    return snnconvert.convert(
        unet, 8, code="radix", simulate="counts", example_inputs=example, calibration=[calls],
        threshold="max",
    ).eval()  # fmt: skip


def steps_of_a_pipeline(model, scheduler, states, seed=0):
    """What StableDiffusionPipeline does with its unet and scheduler, guidance included."""
    scheduler.set_timesteps(10)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    for t in scheduler.timesteps:
        both = scheduler.scale_model_input(torch.cat([latents] * 2), t)
        unused = {"timestep_cond": None, "cross_attention_kwargs": None}
        noise = model(both, t, encoder_hidden_states=states, return_dict=False, **unused)[0]
        without, with_text = noise.chunk(2)
        noise = without + 3.0 * (with_text - without)
        latents = scheduler.step(noise, t, latents, return_dict=False)[0]
    return latents


@torch.no_grad()
def test_it_stands_in_a_pipeline(unet, snn):
    model = for_pipeline(snn, like=unet)
    assert model.config.in_channels == 4 and model.dtype == torch.float32
    states = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    noise = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    for scheduler in (
        diffusers.DDIMScheduler(**noise, clip_sample=False),
        diffusers.PNDMScheduler(**noise, skip_prk_steps=True),
    ):
        wanted = steps_of_a_pipeline(unet, scheduler, states)
        found = steps_of_a_pipeline(model, scheduler, states)
        assert float((found - wanted).norm() / wanted.norm()) <= 0.02
    x = torch.randn(2, 4, 8, 8)
    named = model(x, 7, encoder_hidden_states=states)
    assert torch.equal(named.sample, model(x, torch.tensor([7, 7]), states, return_dict=False)[0])
    with pytest.raises(InputError, match="class_labels"):
        model(x, 7, encoder_hidden_states=states, class_labels=torch.zeros(2))


NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
STATES = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(2))


def pipeline_with(unet, scheduler=None):
    """A pipeline without text, with random weights; its own `vae`."""
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, sample_size=8, latent_channels=4
    ).eval()  # fmt: skip
    scheduler = scheduler or diffusers.DDIMScheduler(**NOISE, clip_sample=False)
    pipeline = diffusers.StableDiffusionPipeline(
        vae, None, None, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def drawn(pipeline, dtype=torch.float32):
    """Its image of 10 steps, guided."""
    states = STATES.to(dtype)
    return torch.from_numpy(pipeline(
        prompt_embeds=states, negative_prompt_embeds=-states, num_inference_steps=10,
        height=8, width=8, output_type="np", generator=torch.Generator().manual_seed(0),
    ).images)  # fmt: skip


def distance(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


SCHEDULERS = [
    "PNDM", "DDIM", "DDPM", "LCM", "TCD", "EulerDiscrete", "EulerAncestralDiscrete",
    "HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "LMSDiscrete",
    "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep", "SASolver",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_whole_pipeline(name, unet, snn):
    """Under every scheduler that such a pipeline takes."""
    kind = getattr(diffusers, f"{name}Scheduler")
    wanted = drawn(pipeline_with(unet, kind(**NOISE)))
    found = drawn(pipeline_with(for_pipeline(snn, like=unet), kind(**NOISE)))
    # LCM starts anew from its prediction of the image in every step: errors of eps weigh more
    assert distance(found, wanted) <= (0.03 if name == "LCM" else 0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_pipeline_of_another_type_asks_for_it_and_the_network_computes_in_its_own(
    dtype, unet, snn
):
    """Thresholds belong to the type that was converted; what goes in and out is the pipeline's."""
    model = for_pipeline(copy.deepcopy(snn), like=unet)
    call = (torch.randn(2, 4, 8, 8), 7, torch.cat([STATES, -STATES]))
    before, wanted = model(*call).sample, drawn(pipeline_with(unet))
    pipeline = pipeline_with(model).to(dtype)
    assert pipeline.unet.dtype == pipeline.vae.dtype == dtype
    assert all(map(torch.equal, model.network.buffers(), snn.buffers()))
    assert distance(drawn(pipeline, dtype), wanted) <= 0.03  # bfloat16 of the decoder: 0.006
    pipeline.to(torch.float32)
    assert model.dtype == torch.float32 and torch.equal(model(*call).sample, before)


def test_hooks_that_move_a_model_find_where_it_is(snn, unet):
    """They ask its first parameter, and move it by `to`."""
    model = for_pipeline(copy.deepcopy(snn), like=unet)
    assert next(model.parameters()).device == model.device == torch.device("cpu")
    model.to("meta")
    assert model.device.type == "meta" and {v.device.type for v in model.buffers()} == {"meta"}


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_offloads_it(snn, unet):
    """Model by model. Layer by layer, accelerate fails on a CPU, with a float network too."""
    pytest.importorskip("accelerate")
    pipeline = pipeline_with(for_pipeline(copy.deepcopy(snn), like=unet))
    wanted = drawn(pipeline)
    pipeline.enable_model_cpu_offload(device="cpu")
    assert hasattr(pipeline.unet, "_hf_hook")
    assert torch.equal(drawn(pipeline), wanted)


def test_a_pipeline_is_saved_without_its_network_which_is_saved_beside(snn, unet, tmp_path):
    pipeline = pipeline_with(for_pipeline(snn, like=unet))
    wanted = drawn(pipeline)
    pipeline.save_pretrained(tmp_path / "pipeline")
    unet.save_config(tmp_path / "unet")
    snnconvert.save(pipeline.unet.network, tmp_path / "unet.snn.pt")
    model = for_pipeline(
        snnconvert.load(tmp_path / "unet.snn.pt"),
        like=diffusers.UNet2DConditionModel.load_config(tmp_path / "unet"),
    )
    assert model.config.in_channels == unet.config.in_channels
    absent = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor",
                            "image_encoder"))  # fmt: skip
    again = diffusers.StableDiffusionPipeline.from_pretrained(
        tmp_path / "pipeline", unet=model, **absent, requires_safety_checker=False
    )
    again.set_progress_bar_config(disable=True)
    assert torch.equal(drawn(again), wanted)


CONFIGS = [
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "linear", "timestep_spacing": "trailing", "prediction_type": "sample"},
]


@pytest.mark.parametrize("config", CONFIGS)
def test_schedules_are_the_schedulers(config):
    scheduler = diffusers.DDIMScheduler(**config)
    found = sampling_of(scheduler)
    torch.testing.assert_close(
        found["schedule"].alphas_cumprod.float(), scheduler.alphas_cumprod, rtol=1e-4, atol=1e-7
    )
    assert found["grid"] == scheduler.config.timestep_spacing


def test_zero_terminal_snr_with_v_draws_what_the_scheduler_draws():
    scheduler = diffusers.DDIMScheduler(
        rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing",
        beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=True,
    )  # fmt: skip
    weight = torch.randn(16, 16, generator=torch.Generator().manual_seed(0)) / 4

    def network(x, t):
        return (x.flatten(1) @ weight).view_as(x)

    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    ours = snnconvert.sample(network, x, solver="ddim", steps=10, **sampling_of(scheduler))
    scheduler.set_timesteps(10)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x).prev_sample
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-3)


def test_folders_of_safetensors_are_read(unet, tmp_path):
    unet.save_pretrained(tmp_path / "unet")
    assert list((tmp_path / "unet").glob("*.safetensors"))
    read = load_diffusers(tmp_path / "unet")
    assert all(torch.equal(a, b) for a, b in zip(read.parameters(), unet.parameters(), strict=True))
    with pytest.raises(CheckpointError, match="PIPELINE/unet"):
        load_diffusers(tmp_path)
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"12")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_diffusers(tmp_path / "unet")


def test_other_things_are_refused(unet, snn):
    with pytest.raises(InputError, match="no converted network"):
        for_pipeline(unet, like=unet)
    with pytest.raises(InputError, match="no config"):
        for_pipeline(snn, like=torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="flow"):
        sampling_of({"num_train_timesteps": 10, "prediction_type": "flow"})
    with pytest.raises(InputError, match="sigmoid"):
        sampling_of({"num_train_timesteps": 10, "beta_schedule": "sigmoid"})
