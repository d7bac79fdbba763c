"""The command `moments`: what Analytic-DPM needs to know of a network, kept in its file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnconvert.checkpoint import STAGES
from snnconvert.cli.arguments.lazy import Commands, add_command, add_count, listed
from snnconvert.cli.arguments.options import add_device, add_schedule
from snnconvert.cli.arguments.output import add_output_options, say
from snnconvert.cli.arguments.progress import bars
from snnconvert.cli.arguments.solver_options import (
    add_argument_option,
    add_prediction,
    given_arguments,
)

if TYPE_CHECKING:
    from torch import nn

    from snnconvert.checkpoint.checkpoint import Checkpoint


def add_moments(commands: Commands) -> None:
    add_command(
        commands,
        "moments",
        run_moments,
        add_arguments,
        help="measure what Analytic-DPM needs to know of a network",
        description="Estimate E ||eps||^2 / d of a network over noised real images and keep it in "
        "the checkpoint, for the solvers analytic-ddpm and analytic-ddim and for --grid optimal; "
        "or, with --against, how its prediction deviates from a float network's, for --corrected.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    from snnconvert.images.datasets import DATASETS

    names = listed(name for name in DATASETS if name != "folder")
    command.add_argument("file", metavar="FILE", help="checkpoint; it is rewritten atomically")
    command.add_argument("--stage", choices=STAGES, help="which network, where it holds several")
    command.add_argument("--times", type=int, metavar="N", help="diffusion steps measured "
                         "(default 100; linear between them)")  # fmt: skip
    add_count(command, "images (default: all)", None, "--samples")
    command.add_argument("--data", metavar="DATA", help="images to measure on: a data set "
                         f"({names}), a folder, or an .npz of images (default: the training "
                         "images of the recipe where --data-root is given, else the held-out "
                         "images in the checkpoint)")  # fmt: skip
    command.add_argument("--data-root", help="where data sets lie (default data)")
    add_schedule(command)
    add_prediction(command)
    add_argument_option(command)
    command.add_argument("--clip", action=argparse.BooleanOptionalAction, default=True,
                         help="keep predicted data in their range, as sampling then must "
                         "(default)")  # fmt: skip
    command.add_argument("--against", metavar="STAGE|FILE", help="a float network to hold it "
                         "against (ann: that of the same file; a file, a diffusers folder or "
                         "MODULE:FACTORY of another origin): measure what `--corrected` "
                         "takes back, instead of what Analytic-DPM needs")  # fmt: skip
    command.add_argument("--batch-size", type=int, default=64, help="images a call (default 64)")
    command.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
    add_device(command)
    command.add_argument("--force", action="store_true", help="replace a better measurement, or "
                         "one on other images")  # fmt: skip
    add_output_options(command, slow=True)


def float_network(checkpoint: Checkpoint, named: str) -> nn.Module:
    """The network that --against names: of a stage of the file, of another file, or a factory."""
    from snnconvert.checkpoint.networks import load
    from snnconvert.cli.arguments.network_argument import is_folder, made_by
    from snnconvert.exchange.diffusers_folder import load_diffusers

    if named in STAGES:
        return checkpoint.network(named)
    if is_folder(named):
        return load_diffusers(named)
    if ":" in named and not Path(named).exists():
        return made_by(named, "--against")
    return load(named, "ann")


def run_moments(args: argparse.Namespace) -> None:
    from torch import Tensor

    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.checkpoint.measured import measured
    from snnconvert.files.atomic import check_destination

    checkpoint = Checkpoint.read(args.file)
    checkpoint.refuse_exported()
    check_destination(args.file)
    stage = args.stage or checkpoint.stage
    found = measured(
        checkpoint, stage, data=args.data, data_root=args.data_root, schedule=args.schedule,
        prediction=args.prediction, times=args.times, count=args.count,
        batch_size=args.batch_size, seed=args.seed, device=args.device,
        progress=bars(args),
        against=float_network(checkpoint, args.against) if args.against else None,
        replace=args.force, t_range=args.t_range, arguments=given_arguments(args.arguments),
        clip=args.clip,
    )  # fmt: skip
    found.save()
    entry = found.moments[stage]
    text = deviation(entry["correction"], args.against) if args.against else largest(entry)
    figures = entry["correction"] if args.against else entry
    content = {name: value.tolist() if isinstance(value, Tensor) else value
               for name, value in figures.items() if name != "correction"}  # fmt: skip
    content |= {"file": found.source, "stage": stage, "against": args.against}
    say(args, f"{stage}{text}\nwrote {found.path}", content)


def largest(entry: dict[str, Any]) -> str:
    """What was measured for Analytic-DPM."""
    curve = entry["eps_second_moment"]
    return f": eps_second_moment {curve[0]:.4f} at t = 0, {curve.max():.4f} at most"


def deviation(entry: dict[str, Any], against: str) -> str:
    """What `--corrected` takes back."""
    low, high = entry["slope"].min(), entry["slope"].max()
    return (
        f" against {against}: slope {low:.4f} ... {high:.4f}, mean up to "
        f"{entry['mean'].abs().max():.4f}, remaining variance up to {entry['variance'].max():.4f}"
    )
