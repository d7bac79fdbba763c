"""The command line on real files, and what it says to bad ones."""

import json
import pickle
import resource
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

import snnconvert
from snnconvert.checkpoint.format import read_checkpoint
from tests.support.command_line import assert_refused, call_cli, run_cli
from tests.support.paths import ROOT, SHIPPED
from tests.support.unets import tiny_unet


@pytest.fixture(scope="module")
def small(tmp_path_factory, shipped):
    """A checkpoint like the shipped one with a tiny network and few images: quick to convert."""
    path = tmp_path_factory.mktemp("small") / "small.pt"
    like = {**shipped, "probe": shipped["probe"][:6]}
    snnconvert.save(tiny_unet(in_channels=1), path, like=like)
    return path


def test_help_needs_no_torch():
    script = "import sys; import snnconvert, snnconvert.cli as c; c.build_parser().format_help(); "
    script += "sys.exit(bool({'torch', 'numpy', 'torchvision'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_every_command_has_help():
    listing = call_cli("--help", cwd=ROOT).stdout
    for command in ("train", "convert", "sample", "stats", "evaluate", "info"):
        assert command in listing
        assert call_cli(command, "--help", cwd=ROOT).returncode == 0


def test_convert_writes_network_and_report(small, tmp_path):
    result = run_cli("convert", small, "--timesteps", "4", "-o", "out.pt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert report["output"]["bit_equal"] and report["timesteps"] == 4
    assert "nothing was lost" in result.stdout and "note:" not in result.stdout
    snn = snnconvert.load(tmp_path / "out.pt")
    qann = snnconvert.load(small)
    x, t = torch.randn(2, 1, 32, 32), torch.tensor([3.0, 700.0])
    with torch.no_grad():
        assert torch.equal(snn(x, t), qann(x, t))
    info = call_cli("info", "out.pt", cwd=tmp_path)
    assert "snn" in info.stdout and "timesteps=4" in info.stdout


def test_default_output_lies_beside_the_input(small, tmp_path):
    source = tmp_path / "net.pt"
    source.write_bytes(small.read_bytes())
    result = call_cli("convert", source, "--timesteps", "2", cwd=tmp_path)
    assert result.returncode == 0
    assert "note: trained at 4 levels, converted at 2" in result.stdout
    names = sorted(p.name for p in tmp_path.iterdir())
    report = [f"net.snn.report.{kind}" for kind in ("csv", "html", "json")]
    assert names == ["net.pt", "net.snn.pt", *report]


@pytest.mark.parametrize(
    "options",
    [
        ["--firing", "deferred"],
        ["--unsigned", "--settle", "2"],
        ["--signed", "--settle", "auto", "--simulate", "counts"],
        ["--norm", "per_step"],
    ],
)
def test_options_reach_the_network(small, tmp_path, options):
    result = call_cli("convert", small, "--timesteps", "3", *options, "-o", "o.pt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "o.report.json").read_text())
    for flag, value in pairwise(options):
        if flag in ("--firing", "--norm"):
            assert report[flag[2:]] == value
        if flag == "--settle":
            assert str(report["settle"]) == value
    assert report["signed"] is ("--unsigned" not in options)


def test_sample_draws_the_same_pictures_from_both_networks(small, tmp_path):
    assert call_cli("convert", small, "-o", "snn.pt", cwd=tmp_path).returncode == 0
    arguments = ["--solver", "ddim", "--steps", "5", "-n", "5", "--seed", "3", "-o"]
    for file, picture in ((small, "a.png"), ("snn.pt", "b.png")):
        result = call_cli("sample", file, *arguments, picture, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    a, b = (np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    assert np.array_equal(a, b)
    assert a.std() > 0


class Hostile:
    """Unpickling it would create a file."""

    def __reduce__(self):
        return open, ("pwned", "w")


def write_bad_files(folder, small) -> dict[str, str]:
    """File name -> a word that its error must hold."""
    content = read_checkpoint(small)
    whole = small.read_bytes()
    torch.save({"format": "snnconvert", "x": Hostile()}, folder / "hostile.pt")
    (folder / "hostile.pkl").write_bytes(pickle.dumps(Hostile()))
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "random.pt").write_bytes(bytes(torch.randint(256, (5000,)).tolist()))
    (folder / "empty.pt").write_bytes(b"")
    torch.save({"weights": torch.zeros(3)}, folder / "foreign.pt")
    torch.save({**content, "version": 99}, folder / "newer.pt")
    torch.save({**content, "surprise": 1}, folder / "surprise.pt")
    for number, (key, value) in enumerate(
        [("networks", {"qann": 5}), ("version", torch.tensor([1, 2])), ("recipe", [1]),
         ("recipe", {5: 1}), ("probe", "abc"), ("probe", torch.zeros(2, 1, 4, 4)),
         ("provenance", [1]), ("moments", {"qann": 5})]
    ):  # fmt: skip
        torch.save({**content, key: value}, folder / f"wrong-{key}-{number}.pt")
    state = dict(content["networks"]["qann"]["state"])
    state.pop(next(iter(state)))
    networks = {"qann": {**content["networks"]["qann"], "state": state}}
    torch.save({**content, "networks": networks}, folder / "missing.pt")
    wrong = {file.name: file.name.split("-")[1] for file in folder.glob("wrong-*.pt")}
    return {
        **wrong, "x" * 300: "too long", ".": "folder",
        "nowhere.pt": "no such file", "hostile.pt": "could run code", "hostile.pkl": "damaged",
        "truncated.pt": "damaged", "random.pt": "damaged", "empty.pt": "damaged",
        "foreign.pt": "weights alone", "newer.pt": "version 99", "surprise.pt": "surprise",
        "missing.pt": "Missing key",
    }  # fmt: skip


@pytest.mark.parametrize("command", ["convert", "sample", "info"])
def test_bad_files_are_refused(small, tmp_path, command):
    for name, word in write_bad_files(tmp_path, small).items():
        before = sorted(tmp_path.iterdir())
        assert_refused(call_cli(command, name, cwd=tmp_path), name, word)
        assert sorted(tmp_path.iterdir()) == before, name  # nothing written, no code run


def test_wrong_stages_are_refused(small, tmp_path, shipped):
    snnconvert.save(tiny_unet(in_channels=1, levels=0), tmp_path / "ann.pt", like=shipped)
    calibrated = call_cli("convert", "ann.pt", cwd=tmp_path)  # thresholds from its images
    assert calibrated.returncode == 0 and "nothing was lost" in calibrated.stdout
    assert call_cli("convert", small, "-o", "snn.pt", cwd=tmp_path).returncode == 0
    assert_refused(call_cli("convert", "snn.pt", cwd=tmp_path), "snn.pt", "only: snn")
    refused = call_cli("sample", "snn.pt", "--stage", "ann", cwd=tmp_path)
    assert_refused(refused, "snn.pt", "no 'ann' network")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--timesteps", "0"], "timesteps"),
        (["--timesteps", "-3"], "timesteps"),
        (["--timesteps", "four"], "timesteps"),
        (["--settle", "-1"], "settle"),
        (["--settle", "soon"], "settle"),
        (["--firing", "never"], "firing"),
        (["--simulate", "counts", "--unsigned"], "exact"),
        (["--norm", "per_step", "--firing", "deferred"], "per_step"),
        (["-o", "nowhere/out.pt"], "nowhere"),
        (["-o", "."], "folder"),
    ],
)
def test_bad_options_are_refused(small, tmp_path, arguments, word):
    assert_refused(call_cli("convert", small, *arguments, cwd=tmp_path), word)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_the_input_is_refused(small):
    before = small.read_bytes()
    assert_refused(call_cli("convert", small, "-o", small, cwd=small.parent), "input itself")
    assert small.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--solver", "dim"], "ddim"),
        (["--steps", "0"], "steps"),
        (["--steps", "1001"], "steps"),
        (["-n", "0"], "count"),
        (["-o", "nowhere/a.png"], "nowhere"),
    ],
)
def test_bad_sampling_is_refused(small, tmp_path, arguments, word):
    assert_refused(call_cli("sample", small, *arguments, cwd=tmp_path), word)
    assert list(tmp_path.iterdir()) == []


def limit_file_size() -> None:
    """The disk takes 20 kB and no more."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk_leaves_the_old_file_intact(small, tmp_path):
    (tmp_path / "out.pt").write_bytes(b"the old file")
    result = run_cli("convert", small, "-o", "out.pt", cwd=tmp_path, preexec_fn=limit_file_size)
    assert_refused(result, "out.pt", "nothing was changed")
    assert (tmp_path / "out.pt").read_bytes() == b"the old file"
    assert [p.name for p in tmp_path.iterdir()] == ["out.pt"]


def test_the_shipped_checkpoint_describes_itself():
    text = call_cli("info", SHIPPED, cwd=ROOT).stdout
    for word in ("ann:", "qann:", "probe: 256 images", "images_seen", "fashion-mnist"):
        assert word in text


def test_a_reader_that_stops_early_gets_no_traceback():
    """As in `snnconvert info FILE | head -1`: no traceback; the exit code is that of SIGPIPE."""
    command = [sys.executable, "-m", "snnconvert", "info", str(SHIPPED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # before anything is written
        assert process.stderr.read() == b"" and process.wait() == 141


def test_info_says_what_kind_of_network_it_is():
    tsm = ROOT / "checkpoints" / "fashion-spiking-tsm.pt"
    assert "if neurons, T = 4, TSM" in call_cli("info", tsm, cwd=ROOT).stdout


def test_files_that_belong_together_change_together(small, tmp_path):
    """A network whose values are not finite is refused after the work, with both old files kept."""
    content = read_checkpoint(small)
    state = dict(content["networks"]["qann"]["state"])
    state["tail.bias"] = torch.full_like(state["tail.bias"], float("nan"))
    broken = {"qann": {**content["networks"]["qann"], "state": state}}
    torch.save({**content, "networks": broken}, tmp_path / "nan.pt")
    for name in ("out.pt", "out.report.json"):
        (tmp_path / name).write_text("old")
    result = call_cli("convert", "nan.pt", "-o", "out.pt", cwd=tmp_path)
    assert_refused(result, "cannot be converted")
    assert "tail" in result.stderr and "NaN" in result.stderr
    assert (tmp_path / "out.pt").read_text() == (tmp_path / "out.report.json").read_text() == "old"


def test_a_linked_checkpoint_stays_a_link(small, tmp_path):
    target = tmp_path / "real.pt"
    target.write_bytes(small.read_bytes())
    (tmp_path / "link.pt").symlink_to(target)
    result = call_cli("moments", "link.pt", "--times", "2", "-n", "2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "link.pt").is_symlink()
    assert "moments" in read_checkpoint(target)
    assert_refused(call_cli("convert", small, "-o", "/dev/null", cwd=tmp_path), "regular file")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["sample", "--device", "meta"], "device"),
        (["sample", "--device", "cuda:99"], "device"),
        (["sample", "--grid", ""], "grid"),
        (["sample", "-n", str(10**13)], "2147483647"),
        (["sample", "-o", "x" * 300 + ".png"], "too long"),
        (["moments", "--seed", "-1"], "seed"),
        (["moments", "--seed", "9" * 20], "seed"),
        (["trajectory", "--method", "adaptive"], "adaptive"),
    ],
)
def test_senseless_values_get_one_line(small, tmp_path, arguments, word):
    command, *options = arguments
    assert_refused(call_cli(command, small, *options, cwd=tmp_path), word)
    assert list(tmp_path.iterdir()) == []


def test_a_report_under_another_noise_than_the_file_says_is_refused(small, tmp_path):
    made = call_cli("convert", small, "--no-page", "-o", "s.snn.pt", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    asked = ("report", small, "s.snn.pt", "--no-advice")
    assert_refused(call_cli(*asked, "--schedule", "cosine", cwd=tmp_path), "trained with another")
    assert not list(tmp_path.glob("*.html"))
