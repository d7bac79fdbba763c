"""A user's own denoiser, converted: its file holds no recipe, and commands sample from it."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.format import read_checkpoint
from snnconvert.checkpoint.schedules import schedule_hash
from snnconvert.cli import main
from snnconvert.cli.arguments.calibration_argument import BATCH, noised
from snnconvert.diffusion.sampling import plan
from snnconvert.diffusion.schedule import Schedule, named_schedule
from snnconvert.errors import InputError
from snnconvert.evaluation.sampled import Drawing, SampledSource
from snnconvert.generation.image_plan import drawing_settings
from tests.support.paths import SHIPPED

SIZE = 8


class TableOfTimes(nn.Module):
    """(x, t) -> {"sample": eps}; t is a whole number that picks a row, as many networks have it."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(1000, 8)
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sample": self.last(torch.relu(self.first(x) + self.rows(t)[:, :, None, None]))}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    inputs = (torch.randn(16, 1, SIZE, SIZE), torch.randint(1000, (16,)))
    return snnconvert.convert(TableOfTimes().eval(), 4, example_inputs=inputs, calibration=[inputs])


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("foreign") / "net.snn.pt"
    snnconvert.save(network, path)
    return path


def drawn(file, tmp_path, *arguments):
    out = tmp_path / "images.npz"
    assert main(["sample", str(file), "-o", str(out), "-n", "3", "--no-progress", "--solver",
                 "ddim", "--steps", "4", *arguments]) == 0  # fmt: skip
    with np.load(out) as content:
        return content["samples"]


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("linear", Schedule.linear()),
        ("cosine", Schedule.cosine()),
        ("1e-3,0.1,100", Schedule.linear(100, 1e-3, 0.1)),
    ],
)
def test_command_draws_what_python_does(file, network, tmp_path, name, schedule):
    torch.testing.assert_close(named_schedule(name).alphas_cumprod, schedule.alphas_cumprod)
    found = drawn(file, tmp_path, "--schedule", name)
    wanted = snnconvert.sample(
        network, shape=(3, 1, SIZE, SIZE), solver="ddim", steps=4, schedule=schedule, clip=True
    )
    pixels = ((wanted + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(found, pixels)


def test_evaluation_draws_the_same_images_and_says_by_which_noise(file, tmp_path):
    """What `evaluate` and `guidance` hold against the reference, and the folder of `sample`."""
    schedule, folder = named_schedule("cosine"), tmp_path / "folder"
    found = drawn(file, tmp_path, "--schedule", "cosine")
    chosen = plan("ddim", 4, schedule, clip=True)
    source = SampledSource.of(Checkpoint.read(file), Drawing(chosen), 3)
    calls: list[int] = []
    (pixels,) = source.batches(3, 3, calls.append)
    assert calls == [3, 6, 9, 12]  # network evaluations so far
    np.testing.assert_array_equal(found, pixels.permute(0, 2, 3, 1).numpy())
    assert main(["sample", str(file), "-o", str(folder), "-n", "1", "--steps", "1",
                 "--no-progress", "--schedule", "cosine"]) == 0  # fmt: skip
    settings = json.loads((folder / "settings.json").read_text())
    assert source.facts()["schedule"] == settings["schedule"]
    assert source.facts()["schedule"] != schedule_hash(named_schedule("linear"))


def test_images_of_another_range_are_drawn_with_other_settings(file):
    """Also where no solver clips to it: the same values are other pixels."""
    checkpoint = Checkpoint.read(file)
    other = Checkpoint({**checkpoint.content, "denoiser": {"data_range": (0.0, 1.0)}}, file.name)
    chosen = plan("ddim", 4, named_schedule("linear"), clip=False)
    settings = [drawing_settings(each, "snn", chosen, 0) for each in (checkpoint, other)]
    assert settings[0] != settings[1] == json.loads(json.dumps(settings[1]))
    facts = [SampledSource.of(each, Drawing(chosen), 1).facts() for each in (checkpoint, other)]
    assert [each["data_range"] for each in facts] == [[-1, 1], [0, 1]]


FACTORY = ["convert", "--model", "tests.cli.test_foreign_denoiser:TableOfTimes", "--timesteps", "4"]
SHAPES = ["--example-shape", f"2,1,{SIZE},{SIZE}", "--example-shape", "2:int"]


@pytest.mark.filterwarnings("ignore:.*calib", "ignore:.*channels")
def test_a_float_denoiser_is_calibrated_on_clean_images_that_get_noised(tmp_path):
    pixels = torch.randint(256, (40, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    torch.save(pixels.byte(), tmp_path / "clean.pt")
    torch.manual_seed(3)
    torch.save(TableOfTimes().state_dict(), tmp_path / "weights.pt")
    found = []
    for name in ("linear", "cosine"):
        out = tmp_path / f"{name}.snn.pt"
        assert main([*FACTORY, str(tmp_path / "weights.pt"), *SHAPES, "--calibrate",
                     str(tmp_path / "clean.pt"), "--schedule", name,
                     "-o", str(out)]) == 0  # fmt: skip
        model = TableOfTimes().eval()
        model.load_state_dict(torch.load(tmp_path / "weights.pt"))
        x, t = noised(pixels.byte(), SIZE, named_schedule(name))
        inputs = (x, t.long())
        batches = list(zip(*(value.split(BATCH) for value in inputs), strict=True))
        python = snnconvert.convert(model, 4, example_inputs=inputs, calibration=batches)
        found.append(snnconvert.load(out)(*inputs)["sample"])
        assert torch.equal(found[-1], python(*inputs)["sample"])
    assert not torch.equal(*found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*SHAPES, "--schedule", "linear"], ["--calibrate", "give both"]),
        ([*SHAPES, "--schedule", "linaer", "--calibrate", "x.pt"], ["did you mean 'linear'"]),
        ([*SHAPES, "--schedule", "linear", "--calibrate", "wide.pt"], ["[4, 1, 8, 9]", "8, 8]"]),
        ([*SHAPES, "--schedule", "linear", "--calibrate", "whole.pt"], ["int64", "uint8"]),
        ([*SHAPES, "--calibrate", "folder"], ["or, with --schedule, denoisers"]),
        (
            ["--schedule", "linear", "--calibrate", "xt.pt", "--t-range", "1,1"],
            ["t_range", "(first, last)"],
        ),
    ],
)
def test_what_calibration_of_a_denoiser_lacks_is_said(
    tmp_path, monkeypatch, arguments, words, capsys
):
    monkeypatch.chdir(tmp_path)
    torch.save(torch.randn(4, 1, SIZE, SIZE), "x.pt")
    torch.save(torch.randn(4, 1, SIZE, SIZE + 1), "wide.pt")
    torch.save((torch.randn(4, 1, SIZE, SIZE), torch.arange(4)), "xt.pt")
    torch.save(torch.zeros(4, 1, SIZE, SIZE, dtype=torch.int64), "whole.pt")
    (tmp_path / "folder").mkdir()
    assert main([*FACTORY, *arguments, "-o", "out.pt"]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert not (tmp_path / "out.pt").exists()


def test_a_table_of_times_is_sampled_at_whole_times(file, tmp_path, capsys):
    sample = ["sample", str(file), "-o", str(tmp_path / "a.npz"), "-n", "2", "--no-progress",
              "--schedule", "linear", "--steps", "6"]  # fmt: skip
    assert main(sample) == 2
    assert "--grid uniform" in capsys.readouterr().err
    assert main([*sample, "--grid", "uniform"]) == 0


def test_moments_of_foreign_networks_are_measured_on_any_images(file, network, tmp_path, capsys):
    pixels = torch.randint(256, (12, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    np.savez(tmp_path / "images.npz", pixels.byte().numpy())
    path, data = tmp_path / "net.snn.pt", ["--data", str(tmp_path / "images.npz")]
    path.write_bytes(file.read_bytes())
    sample = ["sample", str(path), "-o", str(tmp_path / "a.npz"), "-n", "3", "--no-progress",
              "--solver", "analytic-ddim", "--steps", "4"]  # fmt: skip
    assert main([*sample, "--schedule", "cosine"]) == 2
    command = f"snnconvert moments {path} --stage snn --schedule cosine --data DATA"
    assert command in capsys.readouterr().err
    measure = ["moments", str(path), "--schedule", "cosine", "--times", "8", "--no-progress"]
    assert main([*measure, *data]) == 0
    schedule = named_schedule("cosine")
    clean = pixels[:, None].float() / 127.5 - 1
    curve = snnconvert.eps_second_moment(network, [clean], schedule, clip=True, times=8)
    entry = read_checkpoint(path)["moments"]["snn"]
    torch.testing.assert_close(entry["eps_second_moment"], curve)
    assert entry["images"] == 12 and entry["data"] == data[1]
    assert main([*sample, "--schedule", "cosine"]) == 0
    wanted = snnconvert.sample(
        network, shape=(3, 1, SIZE, SIZE), solver="analytic-ddim", steps=4, schedule=schedule,
        clip=True, clip_pixel=2.0, eps_second_moment=entry["eps_second_moment"],
    )  # fmt: skip
    wanted = ((wanted + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    with np.load(tmp_path / "a.npz") as content:
        np.testing.assert_array_equal(content["samples"], wanted)
    capsys.readouterr()
    assert main([*sample, "--schedule", "linear"]) == 2  # measured under another noise
    assert "under another schedule" in capsys.readouterr().err
    assert main([*sample, "--schedule", "cosine", "--prediction", "v"]) == 2
    error = capsys.readouterr().err
    assert "predicts eps, not v" in error and "--data DATA --prediction v`" in error


class LimitsItsBatch(TableOfTimes):
    """Does something else with large batches, as diffusers' upsampling does with 64 and more."""

    def forward(self, x, t):
        return super().forward(x.contiguous() + 0 if x.shape[0] >= 6 else x, t)


@pytest.mark.filterwarnings("ignore:.*calib", "ignore:.*channels")
def test_networks_that_take_small_batches_only_are_called_so(tmp_path):
    torch.manual_seed(0)
    x, t = torch.randn(16, 1, SIZE, SIZE), torch.randint(1000, (16,))
    how = {"example_inputs": (x[:2], t[:2]), "calibration": [(x, t)]}
    any_batch, few_rows = TableOfTimes().eval(), LimitsItsBatch().eval()
    few_rows.load_state_dict(any_batch.state_dict())
    free, limited = (snnconvert.convert(model, 4, **how) for model in (any_batch, few_rows))
    assert limited.program.largest_batch == 5 and free.program.largest_batch is None
    with pytest.raises(InputError, match="batches above 5"):
        limited(x, t)
    few = {"shape": (12, 1, SIZE, SIZE), "steps": 4}  # whole times
    wanted = snnconvert.sample(free, **few)
    torch.testing.assert_close(snnconvert.sample(limited, **few), wanted, rtol=1e-4, atol=1e-4)
    snnconvert.save(limited, tmp_path / "limited.pt")
    pixels = np.zeros((12, SIZE, SIZE), np.uint8)
    np.savez(tmp_path / "images.npz", pixels)
    assert main(["moments", str(tmp_path / "limited.pt"), "--schedule", "linear", "--data",
                 str(tmp_path / "images.npz"), "--times", "2", "--no-progress"]) == 0  # fmt: skip
    assert len(drawn(tmp_path / "limited.pt", tmp_path, "--schedule", "linear", "-n", "12")) == 12


@pytest.mark.filterwarnings("ignore:.*calib", "ignore:.*channels")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_the_command_converts_and_reports_in_small_batches(tmp_path, dtype):
    torch.save(torch.zeros(40, 1, SIZE, SIZE, dtype=dtype), tmp_path / "clean.pt")
    out, picture = tmp_path / "net.snn.pt", tmp_path / "path.png"
    model = ["--model", "tests.cli.test_foreign_denoiser:LimitsItsBatch", *SHAPES]
    assert main(["convert", *model, "--calibrate", str(tmp_path / "clean.pt"), "--schedule",
                 "linear", "-o", str(out)]) == 0  # fmt: skip
    drawn(out, tmp_path, "--schedule", "linear", "-n", "6", "--trajectory", str(picture))
    assert picture.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--schedule linear"]),
        (["--schedule", "linear"], ["no images to measure on", "--data"]),
        (["--schedule", "linear", "--data", "cifar11"], ["did you mean 'cifar10'"]),
        (["--schedule", "linear", "--data", "wide.npz"], ["[1, 8, 9]", "[1, 8, 8]"]),
        (["--schedule", "linear", "--data-root", "data"], ["give --data"]),
    ],
)
def test_moments_say_what_is_missing(file, tmp_path, monkeypatch, arguments, words, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("wide.npz", np.zeros((4, SIZE, SIZE + 1), np.uint8))
    before = file.read_bytes()
    assert main(["moments", str(file), "--no-progress", *arguments]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--schedule", "linear"]),
        (["--schedule", "lineal"], ["did you mean 'linear'", "FIRST,LAST,STEPS"]),
        (["--schedule", "0.1,0.2"], ["FIRST,LAST,STEPS"]),
        (["--schedule", "0.1,2,50"], ["0.1,2,50", "(0, 1)"]),
        (["--schedule", "linear", "--grid", "900,10.5,-1"], ["'t'", "int64", "whole"]),
    ],
)
def test_what_is_missing_or_wrong_is_said(file, tmp_path, capsys, arguments, words):
    out = tmp_path / "images.png"
    assert main(["sample", str(file), "-o", str(out), "--no-progress", "--solver", "ddim",
                 *arguments]) == 2  # fmt: skip
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert error.count("\n") == 1 and not out.exists()


def test_whole_times_only_are_converted(network):
    x = torch.randn(2, 1, SIZE, SIZE)
    whole = network(x, torch.tensor([7.0, 900.0]))["sample"]
    assert torch.equal(whole, network(x, torch.tensor([7, 900]))["sample"])
    for wrong in (7.5, float("inf"), float("nan"), 1e30):
        with pytest.raises(InputError, match=r"takes whole numbers .*--grid uniform"):
            network(x, torch.tensor([wrong, 900.0]))


def test_another_schedule_than_the_trained_one_is_refused(tmp_path, capsys):
    out = ["-n", "1", "--steps", "1", "--no-progress", "-o", str(tmp_path / "o.png")]
    assert main(["sample", str(SHIPPED), "--schedule", "cosine", *out]) == 2
    assert "trained with another" in capsys.readouterr().err
    assert main(["sample", str(SHIPPED), "--schedule", "linear", *out]) == 0


def test_networks_that_draw_no_images_are_refused(tmp_path, capsys):
    x = torch.randn(8, 2)
    planar = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    path = tmp_path / "planar.pt"
    snnconvert.save(snnconvert.convert(planar, 4, example_inputs=x, calibration=[x]), path)
    assert main(["sample", str(path), "--schedule", "linear", "-o", str(tmp_path / "o.png")]) == 2
    error = capsys.readouterr().err
    assert "[B, C, H, W]" in error and "snnconvert.sample(" in error


@pytest.mark.parametrize("wrap", [lambda y: (y,), lambda y: [y], lambda y: {"sample": y}])
def test_the_only_item_of_an_output_is_the_prediction(wrap):
    x = torch.randn(2, 1, SIZE, SIZE)
    plain = snnconvert.sample(lambda x, t: 0.5 * x, x, steps=3)
    assert torch.equal(snnconvert.sample(lambda x, t: wrap(0.5 * x), x, steps=3), plain)
    with pytest.raises(InputError, match="one prediction"):
        snnconvert.sample(lambda x, t: (x, x), x, steps=3)
