"""`snnconvert sample` and `snnconvert moments` on a small checkpoint."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import snnconvert
from snnconvert.checkpoint.format import read_checkpoint, save_checkpoint
from snnconvert.cli import main
from snnconvert.diffusion.sampling import plan
from snnconvert.generation import job
from snnconvert.generation.job import Job, generate
from snnconvert.images import outputs
from tests.support.command_line import assert_refused, call_cli, two_processes
from tests.support.tiny_checkpoint import SIZE, tiny_content


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    save_checkpoint(path, tiny_content())
    return path


def command(checkpoint, out, *arguments):
    return main(["sample", str(checkpoint), "-o", str(out), "--no-progress", "--steps", "4",
                 *map(str, arguments)])  # fmt: skip


def samples(path):
    with np.load(path) as file:
        assert file.files == ["samples"]
        return file["samples"]


def folder_images(path, count):
    return np.stack([np.asarray(Image.open(path / f"{i:06d}.png")) for i in range(count)])


def test_picture_array_and_folder_hold_the_same_images(checkpoint, tmp_path):
    for out in ("grid.png", "array.npz", "folder"):
        assert command(checkpoint, tmp_path / out, "-n", 5, "--batch-size", 2) == 0
    array = samples(tmp_path / "array.npz")
    assert array.shape == (5, SIZE, SIZE, 1) and array.dtype == np.uint8
    assert len(np.unique(array.reshape(5, -1), axis=0)) == 5
    np.testing.assert_array_equal(folder_images(tmp_path / "folder", 5), array[..., 0])
    picture = np.asarray(Image.open(tmp_path / "grid.png"))
    assert picture.shape == (2 * 10 + 2, 3 * 10 + 2)
    np.testing.assert_array_equal(picture[2:10, 12:20], array[1, ..., 0])
    np.testing.assert_array_equal(picture[12:20, 2:10], array[3, ..., 0])
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == [
        *(f"{i:06d}.png" for i in range(5)), "settings.json"
    ]  # fmt: skip


@pytest.mark.parametrize("option", ["--count", "--batch-size"])
def test_numbers_beyond_all_images_are_refused(checkpoint, tmp_path, option):
    done = call_cli("sample", str(checkpoint), option, str(10**20), "-o", "a.png", cwd=tmp_path)
    assert_refused(done, option.strip("-").replace("-", "_"), str(10**20), "2147483647")


def test_figures_as_json_or_nothing_at_all(checkpoint, tmp_path, capsys):
    assert command(checkpoint, tmp_path / "a.png", "-n", 2, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == found["drawn"] == 2 and found["calls"]["calls"] == 0
    assert command(checkpoint, tmp_path / "a.png", "-n", 2, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_what_is_no_number_is_no_picture(tmp_path, capsys):
    content = tiny_content()
    state = content["networks"][content["stage"]]["state"]
    next(value for value in state.values() if value.ndim == 4).flatten()[0] = torch.nan
    save_checkpoint(tmp_path / "tiny.pt", content)
    assert command(tmp_path / "tiny.pt", tmp_path / "a.png", "-n", 3) == 2
    assert "3 images of 3" in capsys.readouterr().err and not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("solver", ["ddpm", "dpm-solver++", "sde-dpm-solver++"])
def test_batch_size_never_changes_an_image(checkpoint, tmp_path, solver):
    for name, size in (("a.npz", 7), ("b.npz", 3), ("c.npz", 1)):
        assert command(checkpoint, tmp_path / name, "-n", 7, "--batch-size", size,
                       "--solver", solver) == 0  # fmt: skip
    np.testing.assert_array_equal(samples(tmp_path / "a.npz"), samples(tmp_path / "b.npz"))
    np.testing.assert_array_equal(samples(tmp_path / "a.npz"), samples(tmp_path / "c.npz"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--solver", "ddpm", "--variance", "fixed_small"],
        ["--solver", "ddim", "--eta", "0.5", "--grid", "quadratic"],
        ["--solver", "ddim", "--grid", "999,500,20,-1", "--no-clip"],
        ["--solver", "dpm-solver", "--order", "3", "--method", "singlestep"],
        ["--solver", "dpm-solver++", "--order", "3", "--grid", "log_snr", "--denoise-to-zero"],
        ["--solver", "dpm-solver++", "--method", "adaptive", "--atol", "0.5", "--rtol", "0.5"],
        ["--solver", "dpm-solver++", "--solver-type", "taylor", "--no-lower-order-final"],
        ["--solver", "sde-dpm-solver++", "--thresholding"],
        ["--solver", "unipc", "--order", "3", "--variant", "bh1", "--thresholding", "0.9"],
        ["--prediction", "eps", "--stage", "ann"],
    ],
    ids=lambda a: "".join(a[1:]),
)
def test_every_option_reaches_the_sampler(checkpoint, tmp_path, arguments):
    assert command(checkpoint, tmp_path / "plain.npz", "-n", 2, *arguments[:2]) == 0
    assert command(checkpoint, tmp_path / "with.npz", "-n", 2, *arguments) == 0
    same = np.array_equal(samples(tmp_path / "plain.npz"), samples(tmp_path / "with.npz"))
    assert not same or len(arguments) == 2


def test_an_interrupted_folder_is_completed_and_keeps_what_it_has(
    checkpoint, tmp_path, monkeypatch, capsys
):
    assert command(checkpoint, tmp_path / "whole", "-n", 6, "--batch-size", 2) == 0
    drawn = []
    draw = job.draw

    def failing(job, indices, on_call=None):
        if 4 in indices:
            raise KeyboardInterrupt
        return draw(job, indices, on_call)

    monkeypatch.setattr(job, "draw", failing)
    assert command(checkpoint, tmp_path / "cut", "-n", 6, "--batch-size", 2) == 130
    assert not (tmp_path / "cut" / "000004.png").exists()
    (tmp_path / "cut" / "000001.png").write_bytes(b"\x89PNG damaged")
    first = (tmp_path / "cut" / "000000.png").stat().st_mtime_ns

    def counting(job, indices, on_call=None):
        drawn.extend(indices)
        return draw(job, indices, on_call)

    monkeypatch.setattr(job, "draw", counting)
    assert command(checkpoint, tmp_path / "cut", "-n", 6, "--batch-size", 4) == 0
    assert sorted(drawn) == [1, 4, 5]
    assert (tmp_path / "cut" / "000000.png").stat().st_mtime_ns == first
    np.testing.assert_array_equal(folder_images(tmp_path / "cut", 6),
                                  folder_images(tmp_path / "whole", 6))  # fmt: skip
    assert "3 of them there before" in capsys.readouterr().out


OTHER = (["--seed", 1], ["--steps", 5], ["--order", 3], ["--stage", "ann"], ["--no-clip"],
         ["--solver", "unipc"])  # fmt: skip


@pytest.mark.parametrize("change", OTHER, ids=str)
def test_a_folder_never_mixes_settings(checkpoint, tmp_path, change, capsys):
    assert command(checkpoint, tmp_path / "f", "-n", 1) == 0
    assert command(checkpoint, tmp_path / "f", "-n", 2, "--order", 2) == 0  # the default, spelled
    before = sorted((tmp_path / "f").iterdir())
    assert command(checkpoint, tmp_path / "f", "-n", 3, *change) == 2
    assert "other settings" in capsys.readouterr().err
    assert sorted((tmp_path / "f").iterdir()) == before


def test_a_folder_of_unknown_images_is_left_alone(checkpoint, tmp_path, capsys):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "cat.png").write_bytes(b"")
    assert command(checkpoint, tmp_path / "f", "-n", 1) == 2
    assert "origin is unknown" in capsys.readouterr().err
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / outputs.SETTINGS).write_text("[not json")
    assert command(checkpoint, tmp_path / "g", "-n", 1) == 2


def test_images_are_on_disk_before_the_last_is_drawn_and_memory_is_one_block():
    seen, alive = [], []

    class Spy:
        shared = True

        def missing(self, indices):
            return list(indices)

        def add(self, indices, pixels):
            seen.append((list(indices), tuple(pixels.shape), len(alive)))

        def close(self):
            seen.append("closed")

    class Network(torch.nn.Module):
        def forward(self, x, t):
            alive.append(len(x))
            return torch.zeros_like(x)

    job = Job(Network(), plan("ddim", 2), (1, 4, 4), count=5, batch_size=2)
    assert generate(job, Spy(), progress=False) == 5
    assert seen == [([0, 1], (2, 1, 4, 4), 2), ([2, 3], (2, 1, 4, 4), 4), ([4], (1, 1, 4, 4), 6),
                    "closed"]  # fmt: skip


def test_trajectory_shows_the_path_from_noise_to_the_result(checkpoint, tmp_path):
    assert command(checkpoint, tmp_path / "f", "-n", 3, "--trajectory", tmp_path / "t.png") == 0
    picture = np.asarray(Image.open(tmp_path / "t.png"))[..., 0]
    columns, rows = 4 + 1, 2 * 3
    assert picture.shape == (rows * 10 + 2, columns * 10 + 2)
    last = picture[2:10, -10:-2]
    np.testing.assert_array_equal(last, folder_images(tmp_path / "f", 1)[0])
    assert np.abs(picture[2:10, 2:10].astype(int) - last).mean() > 5


@pytest.mark.parametrize("solver", ["ddpm", "dpm-solver++"])
def test_a_converted_network_draws_the_images_of_its_quantised_ann(checkpoint, tmp_path, solver):
    qann = snnconvert.load(checkpoint, "qann")
    example = (torch.rand(2, 1, SIZE, SIZE), torch.tensor([0.0, 900.0]))
    snn = snnconvert.convert(qann, 4, example_inputs=example)
    snnconvert.save(snn, tmp_path / "snn.pt", like=read_checkpoint(checkpoint))
    how = ["-n", 3, "--solver", solver]
    assert command(tmp_path / "snn.pt", tmp_path / "snn.npz", *how) == 0
    assert command(checkpoint, tmp_path / "qann.npz", *how, "--stage", "qann") == 0
    assert command(checkpoint, tmp_path / "ann.npz", *how, "--stage", "ann") == 0
    expected = samples(tmp_path / "qann.npz")
    np.testing.assert_array_equal(samples(tmp_path / "snn.npz"), expected)
    assert not np.array_equal(samples(tmp_path / "ann.npz"), expected)


def test_moments_are_measured_from_the_network_and_kept(checkpoint, tmp_path, capsys):
    path = tmp_path / "copy.pt"
    path.write_bytes(checkpoint.read_bytes())
    analytic = ["--solver", "analytic-ddim", "-n", 2]
    assert command(path, tmp_path / "a.npz", *analytic) == 2
    assert f"snnconvert moments {path} --stage qann" in capsys.readouterr().err
    assert not (tmp_path / "a.npz").exists()
    measure = ["moments", str(path), "--times", "8", "--no-progress"]
    assert main([*measure, "--stage", "ann"]) == 0
    assert command(path, tmp_path / "a.npz", *analytic) == 2  # another network's do not count
    assert main(measure) == 0
    moments = read_checkpoint(path)["moments"]
    assert not torch.equal(*(moments[s]["eps_second_moment"] for s in ("ann", "qann")))
    assert moments["qann"]["images"] == 12 and moments["qann"]["times"] == 8
    assert command(path, tmp_path / "a.npz", *analytic) == 0
    assert command(path, tmp_path / "b.npz", *analytic, "--grid", "optimal") == 0
    assert command(path, tmp_path / "c.npz", "--grid", "optimal", "--solver", "ddim") == 0
    assert main(["info", str(path)]) == 0
    assert "eps_second_moment of 12 images at 8 times" in capsys.readouterr().out
    assert set(read_checkpoint(path)) - {"moments"} == set(read_checkpoint(checkpoint))


@pytest.mark.parametrize(
    "arguments",
    [["-n", "0"], ["-n", "13"], ["--batch-size", "0"], ["--times", "1"], ["--device", "cuda:99"]],
)
def test_moments_refuse_bad_input_and_leave_the_file(checkpoint, arguments, capsys):
    before = checkpoint.read_bytes()
    assert main(["moments", str(checkpoint), "--no-progress", *arguments]) == 2
    assert "error" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--solver", "dpmsolver"], "did you mean 'dpm-solver'"),
        (["--steps", "1001"], "1 ... 1000"),
        (["--steps", "0"], "1 ... 1000"),
        (["--grid", "log_snp"], "did you mean 'log_snr'"),
        (["--grid", "10,20"], "must decrease"),
        (["--grid", "10,nan"], "grid"),
        (["--order", "7"], "choose from 1, 2, 3"),
        (["--solver", "ddpm", "--order", "2"], "no option 'order'"),
        (["--method", "magic"], "'multistep', 'singlestep', 'adaptive'"),
        (["-n", "0"], "count"),
        (["--batch-size", "-1"], "batch_size"),
        (["--seed", "-1"], "seed"),
        (["--device", "abacus"], "device"),
        (["--trajectory", "absent/t.png"], "does not exist"),
        (["--stage", "snn"], "no 'snn' network"),
        (["-o", "absent/x.png"], "does not exist"),
        (["-o", "absent/x"], "does not exist"),
        (["-o", "x.jpg"], ".png"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_input_ends_with_code_2_before_anything_is_written(
    checkpoint, tmp_path, arguments, message, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    try:
        code = command(checkpoint, tmp_path / "folder", *arguments)
    except SystemExit as end:  # as the parser ends it
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# ---- several processes


def two_draw(checkpoint, cases):
    """Run `snnconvert sample` for every (out, arguments) in two processes as torchrun does."""
    runs = [["sample", str(checkpoint), "-o", str(out), "--steps", "3", *arguments]
            for out, arguments in cases]  # fmt: skip
    codes, outputs = two_processes(runs)
    assert codes == [0, 0], outputs
    return outputs


def test_two_processes_draw_the_images_of_one(checkpoint, tmp_path):
    arguments = ["-n", "7", "--batch-size", "2", "--solver", "ddpm", "--json"]
    cases = [(tmp_path / name, arguments) for name in ("two.npz", "two", "two.png")]
    (told, one_bar), (other_told, other_bar) = two_draw(checkpoint, cases)
    for name in ("one.npz", "one", "one.png"):
        assert command(checkpoint, tmp_path / name, *arguments, "--steps", 3) == 0
    np.testing.assert_array_equal(samples(tmp_path / "two.npz"), samples(tmp_path / "one.npz"))
    np.testing.assert_array_equal(folder_images(tmp_path / "two", 7),
                                  folder_images(tmp_path / "one", 7))  # fmt: skip
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    drawn = [json.loads(line)["drawn"] for line in told.splitlines()[:-1]]
    assert drawn == [4, 4, 4] and other_told == "progress bars: 0\n"  # half of four blocks
    assert "NFE" not in one_bar + other_bar  # no terminal
