"""The command `sample`, and what every command that runs a solver shares."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from snnconvert.cli_conversion import add_reset
from snnconvert.errors import CheckpointError, InputError
from snnconvert.source_arguments import add_schedule

if TYPE_CHECKING:
    from torch import nn

    from snnconvert.conversion.network import SpikingNetwork

DEFAULT_SOLVER = "dpm-solver++"
STAGES = ("ann", "qann", "snn", "spiking")
SOLVER_OPTIONS = ("order", "method", "solver_type", "variant", "lower_order_final", "atol", "rtol",
                  "eta", "variance", "clip_pixel", "denoise_to_zero", "thresholding", "clip",
                  "prediction")  # fmt: skip
CLIP_PIXEL = 2.0  # last-step clipping of Analytic-DPM for images, as in the paper


def add_sample(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "sample",
        help="draw images from a network",
        description="Draw images from any network of a checkpoint. Image i depends on the seed "
        "and i alone, whatever the batch size and, under torchrun, the number of processes.",
    )
    command.add_argument("file", metavar="FILE", help="checkpoint")
    command.add_argument("--stage", choices=STAGES, help="which network, where it holds several")
    command.add_argument("-n", "--count", type=int, default=64, help="images (default 64)")
    command.add_argument("--steps", type=int, default=20, help="network evaluations (default 20)")
    command.add_argument("--seed", type=int, default=0, help="(default 0)")
    command.add_argument("--batch-size", type=int, default=64, help="images a call (default 64)")
    command.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:0, ...")
    command.add_argument(
        "-o",
        "--out",
        default="samples.png",
        help=".png: one picture; .npz: array samples [N, H, W, C]; else a folder of PNGs, in "
        "which the same command resumes (default samples.png)",
    )
    command.add_argument(
        "--trajectory", metavar="PNG", help="also a picture of how the first images come about"
    )
    command.add_argument("--no-progress", dest="progress", action="store_false", help="no bar")
    add_reset(command, None)
    add_threshold_scale(command)
    add_schedule(command)
    add_solver_options(command)
    command.set_defaults(run=run_sample)


def add_threshold_scale(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--threshold-scale", type=float, default=1.0, metavar="FACTOR",
        help="threshold guidance: every firing threshold times this, such as 0.997; see `guidance` "
        "(default 1)",
    )  # fmt: skip


def add_solver_options(command: argparse.ArgumentParser) -> None:
    """The solver, its grid and its options; what is not given stays the solver's default."""
    group = command.add_argument_group("solver")
    add, switch = group.add_argument, argparse.BooleanOptionalAction
    add("--solver", default=DEFAULT_SOLVER,
        help="ddpm ddim analytic-ddpm analytic-ddim dpm-solver dpm-solver++ (default) "
        "sde-dpm-solver++ unipc")  # fmt: skip
    add("--grid", type=grid_times, metavar="NAME|T,T,...",
        help="uniform trailing leading linspace quadratic time_uniform time_quadratic log_snr "
        "optimal, or times, noisiest first, -1 for clean data (they replace --steps)")  # fmt: skip
    add("--order", type=int, help="1, 2 or 3")
    add("--method", help="multistep, singlestep or adaptive")
    add("--solver-type", help="dpmsolver, taylor or published")
    add("--variant", help="of unipc: bh1 or bh2")
    add("--lower-order-final", action=switch, help="end short paths with lower orders")
    add("--denoise-to-zero", action=switch, help="one more evaluation, from t = 0 to clean data")
    add("--eta", type=float, help="0 ... 1: how much noise DDIM draws")
    add("--variance", help="of ddpm: fixed_large or fixed_small")
    add("--clip", action=switch, help="keep predicted images in [-1, 1] (default, but for "
        "dpm-solver)")  # fmt: skip
    add("--thresholding", type=float, nargs="?", const=True, metavar="RATIO",
        help="dynamic thresholding at this quantile (default 0.995)")  # fmt: skip
    add("--clip-pixel", type=float, help="of analytic-*: grey levels of noise in the last noisy "
        f"step (default {CLIP_PIXEL:g}; 0: no bound)")  # fmt: skip
    add("--atol", type=float, help="absolute tolerance of adaptive steps")
    add("--rtol", type=float, help="relative tolerance of adaptive steps")
    add("--prediction", help="what the network predicts: eps, x0, v or x_prev")


def grid_times(text: str) -> str | list[float]:
    """A name as it is, or numbers between commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return text


def chosen_options(args: argparse.Namespace, content: dict[str, Any], stage: str) -> dict[str, Any]:
    """The options on the command line, with what commands know of images and checkpoints."""
    from snnconvert.diffusion.solvers import SOLVERS

    solver = SOLVERS[args.solver]
    options = {name: getattr(args, name) for name in SOLVER_OPTIONS}
    options = {name: value for name, value in options.items() if value is not None}
    if solver.clips and not options.get("thresholding"):
        options.setdefault("clip", True)
    if "clip_pixel" in solver.options:
        options.setdefault("clip_pixel", CLIP_PIXEL)
    if "eps_second_moment" in solver.options or args.grid == "optimal":
        named, prediction = getattr(args, "schedule", None), options.get("prediction", "eps")
        options["eps_second_moment"] = moment_of(content, stage, args.file, named, prediction)
    return options


def moment_of(
    content: dict[str, Any], stage: str, source: str, schedule: str | None, prediction: str
) -> Any:
    """The cached curve of a network, or CheckpointError that names the command to make it."""
    from snnconvert.generation import schedule_hash
    from snnconvert.probe import schedule_for

    entry = content.get("moments", {}).get(stage)
    needed = "" if content["recipe"] else f" --schedule {schedule or 'SCHEDULE'} --data DATA"
    if prediction != "eps":
        needed += f" --prediction {prediction}"
    again = f"`snnconvert moments {source} --stage {stage}{needed}`"
    if not isinstance(entry, dict) or "eps_second_moment" not in entry:
        raise CheckpointError(
            f"{source}: holds no eps_second_moment of its {stage!r} network; measure it with "
            f"{again}"
        )
    if entry.get("schedule") not in (
        None, schedule_hash(schedule_for(content, source, schedule))
    ):  # fmt: skip
        raise CheckpointError(
            f"{source}: holds the eps_second_moment of its {stage!r} network under another "
            f"schedule; name that one, or measure again with {again}"
        )
    if (found := entry.get("prediction", "eps")) != prediction:
        raise CheckpointError(
            f"{source}: holds the eps_second_moment of its {stage!r} network as one that predicts "
            f"{found}, not {prediction}; measure again with {again}"
        )
    return entry["eps_second_moment"]


def run_sample(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import check_destination, fingerprint, read_checkpoint
    from snnconvert.conversion.network import SpikingNetwork
    from snnconvert.describe import describe_history
    from snnconvert.diffusion.sampling import plan
    from snnconvert.generation import (
        Job,
        generate,
        image_shape_of,
        open_output,
        schedule_hash,
        trajectory,
    )
    from snnconvert.guidance import scale_thresholds
    from snnconvert.loading import network_from
    from snnconvert.pictures import save_png
    from snnconvert.probe import schedule_for
    from snnconvert.sharding import open_shard

    content = read_checkpoint(args.file)
    schedule = schedule_for(content, args.file, args.schedule)
    stage = args.stage or content["stage"]
    network = network_from(content, stage, args.file)
    if args.threshold_scale != 1:
        network = scale_thresholds(network, args.threshold_scale)
    if args.reset is not None:
        network = with_reset(network, args.reset, args.file)
    if isinstance(network, SpikingNetwork):
        network.keep_history()
    chosen = plan(args.solver, args.steps, schedule, args.grid,
                  **chosen_options(args, content, stage))  # fmt: skip
    picture = check_destination(args.trajectory) if args.trajectory else None
    shape = image_shape_of(content, network, args.file)
    settings = {
        "solver": args.solver, "times": chosen.times, "stage": stage, "seed": args.seed,
        "threshold_scale": args.threshold_scale,
        "network": fingerprint(content["networks"][stage]),
        "schedule": schedule_hash(schedule),
        **{name: value if isinstance(value, bool | int | float | str) else fingerprint(value)
           for name, value in chosen.all_options.items()},
    }  # fmt: skip
    with open_shard(args.device) as shard:
        job = Job(network.to(shard.device), chosen, shape, args.count, args.seed, args.batch_size)
        output = open_output(args.out, job, settings)
        drawn = generate(job, output, shard, progress=args.progress)
        if shard.rank:
            return
        kept = f" ({args.count} images, {args.count - drawn} of them there before)"
        print(f"wrote {args.out}{kept if shard.size == 1 and drawn < args.count else ''}")
        if isinstance(network, SpikingNetwork) and network.history:
            print(describe_history(network.history))
        if picture:
            save_png(picture, trajectory(job))
            print(f"wrote {picture}")


def with_reset(network: nn.Module, reset: str, source: str) -> SpikingNetwork:
    """The network with another `reset`; InputError for a network that does not spike."""
    from snnconvert.conversion.network import SpikingNetwork

    if not isinstance(network, SpikingNetwork):
        raise InputError(
            f"{source}: --reset is for converted networks, this one is {type(network).__name__}; "
            "convert it first, or choose it with --stage snn"
        )
    return network.with_config(reset=reset)
