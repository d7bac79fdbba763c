"""Samples of converted denoisers that run away: calibrated without a path, along one, corrected.

    python benchmarks/escapes.py                        # all
    python benchmarks/escapes.py ring --samples 1000

A sample has escaped where it ends beyond 2.7 times the float network's largest (ring: |x| > 6).
The networks are the ring's and the denoisers of `examples/networks.py`, trained here to predict
eps, those of images v (so short a training leaves the paths of eps wild in the float network
already);
DDIM-50 from equal noise. The U-Nets take some minutes each. The score model takes no times near 0,
where it divides by nearly nothing. "refused": at some t the network hardly follows the float one,
so that no correction of it is measured.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.diffusion.correction import Correction
from snnconvert.diffusion.objectives import target_of
from snnconvert.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from examples.networks import FAST, SLOW

WAYS = [("rate", 8), ("rate", 32), ("radix", 6), ("radix", 8)]
LINEAR = snnconvert.Schedule.linear()
BEYOND = 2.7
MEASURED = 256  # clean data on which a correction is measured
FEW = 8  # example inputs: diffusers' code differs from 64 on, and fewer are drawn


@dataclass(frozen=True)
class Subject:
    """A denoiser to be trained.

    Attributes:
        make: the network, (x, t) -> prediction.
        data: (count, generator) -> clean data.
        steps, batch: of the training.
        t_range: its times at the first and the last diffusion step.
        prediction: what it learns to predict.
        classes: of the data, whose number the network takes as `label`; 0: it takes none.
    """

    make: Callable[[], nn.Module]
    data: Callable[[int, torch.Generator], Tensor]
    steps: int
    batch: int
    t_range: tuple[float, float] = (0.0, 999.0)
    prediction: str = "eps"
    classes: int = 0

    def labels(self, count: int) -> dict[str, Tensor]:
        """What the network takes beside x and t for so many samples."""
        return {"label": torch.arange(count) % self.classes} if self.classes else {}


class Ring(nn.Module):
    """An MLP (x [B, 2], t [B]) -> eps; the time as Fourier features."""

    def __init__(self, act: type[nn.Module] = nn.ReLU, width: int = 128) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(6) * torch.pi)
        layers = [nn.Linear(14, width), act(), nn.Linear(width, width), act(),
                  nn.Linear(width, width), act(), nn.Linear(width, 2)]  # fmt: skip
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angles = (t / 1000)[:, None] * self.frequencies
        return self.net(torch.cat([x, angles.sin(), angles.cos()], -1))


def ring(count: int, generator: torch.Generator) -> Tensor:
    """Points within 0.05 of a circle of radius 2."""
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    return 2 * circle + 0.05 * torch.randn(count, 2, generator=generator)


def waves(count: int, generator: torch.Generator) -> Tensor:
    """Images [N, 3, 16, 16] in [-1, 1]: plane waves."""
    phase, turn = (6.3 * torch.rand(count, 1, 1, 1, generator=generator) for _ in range(2))
    line = torch.linspace(-3, 3, 16)
    along = turn.cos() * line[None, None, :, None] + turn.sin() * line[None, None, None]
    colour = torch.arange(3).view(1, 3, 1, 1)
    return (along + phase + colour).sin()


def grey(count: int, generator: torch.Generator) -> Tensor:
    """The first channel of `waves`."""
    return waves(count, generator)[:, :1]


def listed(name: str) -> Callable[[], nn.Module]:
    """The network of `examples/networks.py`."""
    return lambda: {**FAST, **SLOW}[name]()[0]


PLANAR = ("MLP denoiser in the plane", "flow matching, Fourier features, SiLU")
IMAGES = ("DDPM U-Net, attention, ReLU", "DDPM U-Net, attention, SiLU", "diffusers UNet2DModel")
SCORE = "score model that divides by a std"
LABELLED = "LayerNorm over whole images, class-conditional"
SUBJECTS = {
    "ring": Subject(Ring, ring, 3000, 256),
    "ring, SiLU": Subject(lambda: Ring(nn.SiLU), ring, 3000, 256),
    **{name: Subject(listed(name), ring, 3000, 256, t_range=(0.0, 1.0)) for name in PLANAR},
    **{name: Subject(listed(name), waves, 1500, 32, prediction="v") for name in IMAGES},
    SCORE: Subject(listed(SCORE), grey, 3000, 64, t_range=(0.01, 1.0), prediction="v"),
    LABELLED: Subject(listed(LABELLED), grey, 3000, 64, prediction="v", classes=10),
}


def prediction_in(output: object) -> Tensor:
    """The prediction, which diffusers wraps."""
    return output if isinstance(output, Tensor) else output.sample


def trained(subject: Subject) -> nn.Module:
    """The network, which predicts the noise of its data, or v."""
    torch.manual_seed(0)
    model, generator = subject.make(), torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, subject.steps)
    first, last = subject.t_range
    for _ in range(subject.steps):
        clean = subject.data(subject.batch, generator)
        t = torch.randint(1000, (subject.batch,), generator=generator).float()
        eps = torch.randn(clean.shape, generator=generator)
        wanted = target_of(subject.prediction, clean, eps, LINEAR, t)
        noisy, own = LINEAR.add_noise(clean, eps, t), first + (last - first) * t / 999
        found = prediction_in(model(noisy, own, **subject.labels(subject.batch)))
        loss = (found - wanted).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
    return model.eval()


def corrected(
    snn: nn.Module, model: nn.Module, clean: Tensor, subject: Subject
) -> dict[str, Correction] | None:
    """How to draw with it corrected; None where it hardly follows the float one."""
    try:
        found = snnconvert.measure_correction(
            snn, model, clean[:MEASURED].split(64), LINEAR, times=20, prediction=subject.prediction,
            t_range=subject.t_range, arguments=subject.labels(MEASURED),
        )  # fmt: skip
    except InputError:
        return None
    return {"correction": found}


def rows(name: str, samples: int) -> None:
    """A line of the table for each way to spike."""
    subject = SUBJECTS[name]
    model, planar = trained(subject), subject.data is ring
    clean = subject.data(2048 if planar else 256, torch.Generator().manual_seed(5))
    data = (clean, *subject.labels(len(clean)).values())
    batches = snnconvert.noised(data, LINEAR, inputs=len(clean), t_range=subject.t_range)
    few = tuple(value[:FEW] for value in batches[0])
    shape = (samples if planar else max(1, samples // 20), *clean.shape[1:])
    known = {"prediction": subject.prediction, "t_range": subject.t_range}
    drawing = {"shape": shape, "solver": "ddim", "steps": 50, "schedule": LINEAR,
               "batch_size": 250, "arguments": subject.labels(shape[0]), **known}  # fmt: skip
    wanted = snnconvert.sample(model, **drawing)
    limit = BEYOND * float(wanted.flatten(1).norm(dim=1).max())
    along = snnconvert.SolverPath(LINEAR, **known)
    for code, timesteps in WAYS:
        cells = []
        for path in (None, along):
            snn = snnconvert.convert(
                model, timesteps, example_inputs=few, calibration=batches, code=code,
                simulate="counts", firing="deferred", path=path,
            )  # fmt: skip
            ways: list[dict[str, Correction] | None] = [{}]
            if path is not None:
                ways.append(corrected(snn, model, clean, subject))
            for way in ways:
                if way is None:
                    cells.append("refused | -")
                    continue
                found = snnconvert.sample(snn, **drawing, **way)
                gone = found.flatten(1).norm(dim=1) > limit
                gap = (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
                cells.append(f"{int(gone.sum())} | {float(gap.median()):.3f}")
        print(f"| {name} | {code} T={timesteps} | {shape[0]} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=[*SUBJECTS])
    parser.add_argument("--samples", type=int, default=1000, help="of points; images: 1 in 20")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        "| network | code | samples | escaped, noised data alone | median distance "
        "| escaped, with a path | median distance | escaped, corrected too | median distance |"
    )
    print("|---" * 9 + "|")
    for name in args.networks:
        rows(name, args.samples)


if __name__ == "__main__":
    main()
