"""Laws that hold on a GPU as on a CPU. SNNCONVERT_GPU_TESTS=cpu runs them without one."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from snnconvert.checkpoint.recipe import recipe_from_dict
from snnconvert.conversion.convert import convert
from snnconvert.diffusion.sampling import sample
from snnconvert.diffusion.schedule import Schedule
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.training.descent import Descent
from snnconvert.training.tasks import Batch
from tests.support.known_score import mixture_denoiser, start
from tests.support.paths import ROOT
from tests.support.spiking_unets import NEURONS, tiny_spiking_unet
from tests.support.spiking_unets import inputs as spiking_inputs
from tests.support.unets import tiny_unet, unet_inputs

DEVICE = os.environ.get("SNNCONVERT_GPU_TESTS", "cuda")
TOLERANCE = 1e-4  # relative, float32 without TF32: sums in another order
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="no CUDA device here"
    ),
]
CONVERSIONS = [
    {},
    {"simulate": "counts"},
    {"firing": "deferred"},
    {"firing": "deferred", "code": "radix", "timesteps": 2},
    {"firing": "deferred", "simulate": "counts"},
    {"reset": "trajectory"},
]


@pytest.fixture(autouse=True)
def _exact():
    """No TF32, and the same kernel for the same shapes."""
    kept = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = kept


def moved(*values):
    return tuple(value.to(DEVICE) for value in values)


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative, in the Euclidean norm."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm())


def test_counts_are_the_same_integers():
    mean = torch.randn(64, 8, 5, 5) * 2
    threshold = torch.rand(8) + 0.5
    for lowest in (0, -4):
        here = IF(threshold, 4, lowest).final(mean)
        there = IF(threshold.to(DEVICE), 4, lowest).final(mean.to(DEVICE))
        assert torch.equal(there.cpu(), here)


@pytest.mark.parametrize("options", CONVERSIONS, ids=str)
@pytest.mark.parametrize("spike_driven", [False, True])
def test_the_spiking_network_is_its_quantised_one_to_the_bit(options, spike_driven):
    levels = 3 if options.get("code") == "radix" else 4
    network = tiny_unet(levels=levels, spike_driven=spike_driven, spiking_time=not spike_driven)
    options = {"timesteps": levels, **options}
    example = unet_inputs()
    snn = convert(network, example_inputs=example, calibration=[example], **options)
    x, t = moved(*unet_inputs(batch=6, seed=5))
    qann, snn = snn.quantized_ann().to(DEVICE), snn.to(DEVICE)
    for _ in range(2):  # the second call goes on from the first under reset="trajectory"
        assert torch.equal(snn(x, t), qann(x, t))
        x = x + 0.1
    assert distance(qann(x, t), copy.deepcopy(qann).cpu()(x.cpu(), t.cpu())) < 0.05


@pytest.mark.parametrize("options", [{}, {"threshold": "learned", "v_init": "optimised"}], ids=str)
def test_calibrated_there_a_network_is_its_quantised_one_to_the_bit(options):
    network, call = tiny_unet(levels=0).to(DEVICE), moved(*unet_inputs(batch=8))
    snn = convert(network, timesteps=4, example_inputs=call, calibration=[call], **options)
    assert snn(*call).device.type == torch.device(DEVICE).type
    assert torch.equal(snn(*call), snn.quantized_ann()(*call))


def test_a_float_network_is_the_same_function():
    network, (x, t) = tiny_unet(levels=0), unet_inputs(batch=8)
    here = network(x, t)
    there = network.to(DEVICE)(*moved(x, t))
    assert distance(there, here) < TOLERANCE


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_native_spiking_networks(neuron):
    """Spikes are discontinuous in rounding: most of the outputs are equal, none far away."""
    network, (x, t) = tiny_spiking_unet(**neuron), spiking_inputs(batch=4)
    with torch.inference_mode():
        here = network(x, t)
        there = network.to(DEVICE)(*moved(x, t))
    assert distance(there, here) < 0.05
    assert float((there.cpu() - here).abs().median()) < TOLERANCE * float(here.abs().median()) * 10


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_solvers_draw_the_same(name):
    schedule = Schedule.linear()
    options = {}
    if name.startswith("analytic"):
        options["eps_second_moment"] = torch.full((1000,), 0.9, dtype=torch.float64)
    drawn = [
        sample(on(mixture_denoiser(schedule), device), x=start(32).to(device), solver=name,
               steps=20, seed=1, schedule=schedule, **options).cpu()
        for device in ("cpu", DEVICE)
    ]  # fmt: skip
    assert distance(drawn[1], drawn[0]) < TOLERANCE


def on(denoiser, device: str):
    """`denoiser`, whose own arithmetic is on the CPU, as a function of tensors on `device`."""

    def network(x, t):
        assert x.device.type == device
        return denoiser(x.cpu(), t.cpu()).to(device)

    return network


RECIPE = {"model": "unet", "channels": 8, "channel_mult": [1, 2], "blocks": 1, "groups": 4,
          "dropout": 0.0, "levels": 4, "prediction": "v", "batch_size": 16}  # fmt: skip


def descended(device: str, levels: int, record: bool) -> tuple[list[float], list[torch.Tensor]]:
    """Losses and weights of eight training steps on fixed batches."""
    recipe = recipe_from_dict(RECIPE, "test")
    network = tiny_unet(levels=levels).to(device)
    lr = torch.tensor(1e-3, device=device) if record else 1e-3
    optimizer = torch.optim.AdamW(network.parameters(), lr, fused=True, capturable=record)
    descend = Descent(recipe, network, None, optimizer, bfloat16=False, record=record)
    losses = []
    for step in range(8):
        x, t = unet_inputs(batch=16, seed=step)
        batch = Batch((x, t), 0.5 * x).to(torch.device(device))
        losses.append(descend(batch, 1e-3).item())
    assert (descend.graph is not None) == record
    return losses, [value.detach().cpu() for value in network.parameters()]


@pytest.mark.parametrize("levels", [0, 4])
def test_training_steps_are_the_same(levels):
    here, there = descended("cpu", levels, False), descended(DEVICE, levels, False)
    limit = TOLERANCE if levels == 0 else 0.02  # a quantised clip jumps where rounding differs
    assert max(abs(a / b - 1) for a, b in zip(here[0], there[0], strict=True)) < limit
    assert here[0][-1] < here[0][0]


@pytest.mark.skipif(DEVICE == "cpu", reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("levels", [0, 4])
def test_recorded_steps_are_the_eager_ones(levels):
    eager, recorded = descended(DEVICE, levels, False), descended(DEVICE, levels, True)
    assert max(abs(a / b - 1) for a, b in zip(eager[0], recorded[0], strict=True)) < 1e-3


def test_one_process_under_torchrun_trains():
    """DistributedDataParallel over one process: nccl on a GPU, gloo on a CPU."""
    backend = "nccl" if DEVICE == "cuda" else "gloo"
    script = f"""
        import torch, torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel
        from tests.support.unets import tiny_unet, unet_inputs
        dist.init_process_group("{backend}", init_method="tcp://127.0.0.1:29541", rank=0,
                                world_size=1)
        results = []
        for wrapped in (False, True):
            network = tiny_unet().to("{DEVICE}").train()
            call = DistributedDataParallel(network) if wrapped else network
            x, t = (value.to("{DEVICE}") for value in unet_inputs())
            call(x, t).square().mean().backward()
            results.append([p.grad for p in network.parameters() if p.grad is not None])
        assert len(results[0]) == len(results[1]) > 50
        for a, b in zip(*results, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-7)
        dist.destroy_process_group()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT,
                          capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
