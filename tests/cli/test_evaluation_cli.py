"""The commands `stats` and `evaluate` end to end, on pytorch-fid's own Inception.

Most tests give it random weights of the right shapes, so that they run anywhere and its deepest
layers are finite; one uses genuine weights where there are some.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.format import read_checkpoint, save_checkpoint
from snnconvert.checkpoint.networks import save
from snnconvert.checkpoint.recipe import Recipe
from snnconvert.cli import main
from snnconvert.conversion.convert import convert
from snnconvert.diffusion.sampling import plan
from snnconvert.errors import InputError
from snnconvert.evaluation.sampled import Drawing, SampledSource
from snnconvert.images.datasets import DATASETS
from snnconvert.images.pixels import TensorImages, padded
from snnconvert.models.unet import UNet
from tests.support.paths import ROOT

fid_score = pytest.importorskip("pytorch_fid.fid_score")

WEIGHTS = "hub/checkpoints/pt_inception-2015-12-05-6726825d.pth"
SIZE = 8


@pytest.fixture(scope="module")
def random_home(tmp_path_factory) -> Path:
    """A TORCH_HOME with random Inception weights, in the names and shapes of the genuine ones."""
    home = tmp_path_factory.mktemp("torch_home")
    (home / WEIGHTS).parent.mkdir(parents=True)
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(
        weights=None, num_classes=1008, aux_logits=False, init_weights=False
    )
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("conv.weight"):  # keeps the signal's size through forty layers
            state[name] = torch.nn.init.kaiming_normal_(value).half()
    torch.save(state, home / WEIGHTS)
    return home


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch, random_home):
    monkeypatch.setenv("SNNCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(random_home))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Float and quantised tiny U-Nets, untrained, for grey 8 x 8 images."""
    recipe = Recipe(
        image_size=SIZE, channels=8, channel_mult=(1, 2), blocks=1, groups=4, dropout=0.0,
        levels=4, diffusion_steps=50, data_root="nowhere",
    )  # fmt: skip
    torch.manual_seed(0)
    networks = {}
    for stage in ("ann", "qann"):
        network = UNet(recipe.network(1, stage))
        networks[stage] = {"config": network.config.to_dict(), "state": network.state_dict()}
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    probe = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.uint8)
    content = {"stage": "qann", "networks": networks, "recipe": recipe.to_dict(), "probe": probe}
    save_checkpoint(path, content)
    return path


def write_images(folder: Path, count: int, seed: int = 0, size: int = SIZE) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def refused(capsys, *arguments: object) -> str:
    """The one line on stderr of a command that must exit with 2."""
    capsys.readouterr()
    try:
        code = run(*arguments)
    except SystemExit as end:  # as the parser ends it
        code = end.code
    assert code == 2
    line = capsys.readouterr().err
    assert line.count(": error:") == 1 and "Traceback" not in line
    return line


def genuine_home() -> Path | None:
    for home in (os.environ.get("TORCH_HOME"), ROOT.parent / "shared" / "torch_home"):
        if home and (Path(home) / WEIGHTS).is_file():
            return Path(home)
    return None


GENUINE = genuine_home()


# ---- against pytorch-fid itself


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "home",
    [
        "random",
        pytest.param(
            "genuine",
            marks=pytest.mark.skipif(GENUINE is None, reason="no Inception weights in TORCH_HOME"),
        ),
    ],
)
def test_folder_figures_are_those_of_pytorch_fid(tmp_path, monkeypatch, capsys, home):
    if home == "genuine":
        monkeypatch.setenv("TORCH_HOME", str(GENUINE))
    first, second = write_images(tmp_path / "a", 9), write_images(tmp_path / "b", 7, seed=1)
    assert run("stats", first, "-o", "a.npz", "--dims", 64, "--batch-size", 4) == 0
    assert "warning: 9 images for 64 features" in capsys.readouterr().err
    assert (
        run("evaluate", second, "--against", "a.npz", "-o", "r.json", "--no-inception-score") == 0
    )
    shown = capsys.readouterr().out
    result = json.loads((tmp_path / "r.json").read_text())
    assert f"FID-64 = {result['fid']:.4f}" in shown and result["metric"] == "FID-64"
    assert (
        result["command"]
        == f"snnconvert evaluate {second} --against a.npz -o r.json --no-inception-score"
    )
    assert len(result["notes"]) == 2  # both covariances are singular
    assert (result["samples"], result["against"]["samples"]) == (7, 9)

    model = fid_score.InceptionV3([0])
    mean, covariance = fid_score.compute_statistics_of_path(str(first), model, 9, 64, "cpu", 0)
    ours = np.load("a.npz")
    np.testing.assert_allclose(ours["mu"], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours["sigma"], covariance, rtol=1e-3, atol=1e-5)
    theirs = fid_score.calculate_fid_given_paths([str(second), "a.npz"], 7, "cpu", 64, 0)
    assert result["fid"] == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    assert result["inception_score"] is None
    assert result["inception_score_missing"] == "not asked for"


@pytest.mark.skipif(GENUINE is None, reason="no Inception weights in TORCH_HOME")
def test_weights_with_nan_are_refused_before_any_image(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(GENUINE))
    weights = torch.load(GENUINE / WEIGHTS, weights_only=True)
    if not weights["Mixed_7a.branch3x3_1.conv.weight"].isnan().any():
        pytest.skip("these weights are complete")
    folder = write_images(tmp_path / "a", 3)
    assert "usable: --dims 64, 192, 768" in refused(capsys, "stats", folder, "-o", "a.npz")
    assert run("evaluate", folder, "--against", folder, "--dims", 64, "-o", "r.json") == 0
    result = json.loads(Path("r.json").read_text())
    assert result["inception_score"] is None and "NaN" in result["inception_score_missing"]
    assert result["fid"] < 1e-6


# ---- drawn images


def fid(*arguments: object) -> dict:
    """The result of `evaluate` with 64 features and without the Inception Score."""
    assert run("evaluate", *arguments, "--no-inception-score", "-o", "r.json") == 0
    return json.loads(Path("r.json").read_text())


def test_checkpoint_to_json_with_everything_a_figure_needs(tmp_path, checkpoint, capsys):
    folder = write_images(tmp_path / "real", 6)
    assert run(
        "evaluate", checkpoint, "--against", folder, "--samples", 10, "--solver", "ddim",
        "--steps", 3, "--seed", 5, "--stage", "ann", "--dims", 64, "-o", "r.json",
        "--eta", "0.5",
    ) == 0  # fmt: skip
    result = json.loads(Path("r.json").read_text())
    of = result["of"]
    wanted = {
        "stage": "ann",
        "solver": "ddim",
        "steps": 3,
        "nfe": 3,
        "seed": 5,
        "options": {"eta": 0.5, "clip": True, "prediction": "eps"},
    }
    assert {key: of[key] for key in wanted} == wanted
    assert len(of["sha256"]) == 64 and len(result["weights"]) == 16
    assert result["samples"] == 10 and result["fid"] > 0
    assert 1 <= result["inception_score"]["mean"] <= 1008
    assert result["inception_score"]["splits"] == 10
    shown = capsys.readouterr().out
    for text in ("FID-64", "solver ddim", "steps 3", "nfe 3", "seed 5", "stage ann", of["sha256"]):
        assert text in shown


def test_converted_network_has_the_fid_of_its_quantised_one(tmp_path, checkpoint):
    """The SNN is its quantised ANN bit for bit; so is its figure, simulated either way."""
    folder = write_images(tmp_path / "real", 4)
    assert run("stats", folder, "--dims", 64, "-o", "real.npz") == 0
    source = SampledSource.of(Checkpoint.read(checkpoint), Drawing(plan("ddim", 2)), 4)
    x, t = torch.randn(2, 1, SIZE, SIZE), torch.tensor([3.0, 40.0])
    snn = convert(source.network, 4, example_inputs=(x, t))
    save(snn, "tiny.snn.pt", like=read_checkpoint(checkpoint))
    figures = []
    for file, simulate in ((checkpoint, []), ("tiny.snn.pt", []), ("tiny.snn.pt", ["counts"])):
        options = [a for mode in simulate for a in ("--simulate", mode)]
        result = fid(file, "--against", "real.npz", "--samples", 4, "--steps", 2, *options)
        figures.append(result["fid"])
    assert result["of"]["spiking"]["simulate"] == "counts"
    assert result["of"]["spiking"]["timesteps"] == 4
    assert figures[0] == figures[1] == figures[2]


@pytest.mark.filterwarnings("ignore")
def test_exported_network_has_the_fid_of_what_it_was_exported_from(tmp_path, checkpoint):
    """onnxruntime draws the images."""
    folder = write_images(tmp_path / "real", 4)
    assert run("stats", folder, "--dims", 64, "-o", "real.npz") == 0
    x, t = torch.randn(2, 1, SIZE, SIZE), torch.tensor([3.0, 40.0])
    snn = convert(Checkpoint.read(checkpoint).network("qann"), 4, example_inputs=(x, t),
                  firing="deferred")  # fmt: skip
    snnconvert.export_onnx(snn, "tiny.onnx", examples=[(x, t)], like=Checkpoint.read(checkpoint))
    drawn_by = [
        fid(file, "--against", "real.npz", "--samples", 4, "--steps", 2)["fid"]
        for file in (checkpoint, "tiny.onnx")
    ]
    assert drawn_by[0] == pytest.approx(drawn_by[1], rel=1e-3)


def drawn(checkpoint: Path, count: int, seed: int = 0, batch_size: int = 64) -> torch.Tensor:
    file = Checkpoint.read(checkpoint)
    drawing = Drawing(plan("ddim", 1, file.schedule()), seed, batch_size)
    source = SampledSource.of(file, drawing, count)
    return torch.cat(list(source.batches(50, count)))


def test_a_sweep_tells_the_fid_that_evaluate_tells(tmp_path, checkpoint, capsys):
    write_images(tmp_path / "real", 8)
    assert run("stats", "real", "--dims", "64", "-o", "real.npz") == 0
    drawing = ("-n", 4, "--steps", 2, "--against", "real.npz")
    assert run("sweep", checkpoint, "--stage", "ann", "--timesteps", "4", "-o", "s.json",
               *drawing) == 0  # fmt: skip
    found = json.loads((tmp_path / "s.json").read_text())
    assert run("evaluate", checkpoint, "--stage", "ann", "-o", "e.json", *drawing) == 0
    alone = json.loads((tmp_path / "e.json").read_text())
    assert found["float_ann"] == {alone["metric"]: alone["fid"]}
    assert all(row["FID-64"] > 0 for row in found["rows"])
    small = refused(capsys, "sweep", checkpoint, "--against", "real.npz", "-n", 1)
    assert "1" in small and not (tmp_path / "tiny.sweep.json").exists()


def test_drawn_images_depend_on_seed_and_index_alone(checkpoint):
    many = drawn(checkpoint, 73)
    assert len(many.flatten(1).unique(dim=0)) == 73  # no block repeats another
    few = drawn(checkpoint, 67, batch_size=30)
    assert (few.int() - many[:67].int()).abs().max() <= 1  # rounding to pixels
    other = drawn(checkpoint, 5, seed=1)
    assert not any(torch.equal(a, b) for a in other for b in many)


# ---- the same from Python


@pytest.fixture
def dataset(monkeypatch) -> str:
    """Name of a data set of twelve labelled grey images."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (12, 1, SIZE, SIZE), generator=generator).to(torch.uint8)
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    DATASETS.register("twelve")(
        lambda root, size, train: TensorImages(padded(pixels, size), torch.arange(12) % 2)
    )
    return "twelve"


def test_python_gives_the_figures_of_the_command(checkpoint, dataset):
    """A file, a Checkpoint or a network; against a data set's name or a file of statistics."""
    shown = fid(checkpoint, "--against", dataset, "--samples", 4, "--dims", 64, "--steps", 2)
    options = {"count": 4, "dims": 64, "steps": 2, "score": False}
    named = snnconvert.evaluate(str(checkpoint), dataset, **options).to_dict()
    assert named == {**shown, "command": ""} and named["samples"] == 4 and named["fid"] > 0
    inception = snnconvert.Inception(64)
    images = snnconvert.open_source(dataset, Path("data"), SIZE)
    statistics = snnconvert.statistics_of(images, inception)
    statistics.save("twelve.npz")
    from_file = snnconvert.Checkpoint.read(checkpoint)
    del options["dims"]
    for against in ("twelve.npz", statistics, images):
        found = snnconvert.evaluate(from_file, against, inception, **options).to_dict()
        assert found["fid"] == named["fid"] and found["of"] == named["of"]
    schedule = from_file.schedule()
    network = snnconvert.evaluate(
        from_file.network(), images, inception, schedule=schedule, **options
    ).to_dict()
    assert network["fid"] == named["fid"]
    assert network["of"]["source"] == "UNet" and network["of"]["sha256"] is None


def test_python_tells_the_accuracy_of_a_classifier(tmp_path, dataset):
    recipe = snnconvert.Recipe(model="resnet", dataset="cifar10", image_size=SIZE, channels=4,
                               channel_mult=(1,), blocks=1, classes=2, steps=1)  # fmt: skip
    network = recipe.family.build(recipe.network(1, "qann")).eval()
    like = {"recipe": recipe.to_dict(), "probe": None, "provenance": {}}
    snnconvert.save(network, "classes.pt", like=like)
    found = snnconvert.evaluate("classes.pt", dataset, count=10).to_dict()
    assert found["metric"] == "accuracy" and found["samples"] == 10 and found["against"] == dataset
    pixels = snnconvert.open_source(dataset, Path("data"), SIZE).images.take(range(10))
    told = network(pixels.float() / 127.5 - 1).argmax(1)
    assert found["accuracy"] == (told == torch.arange(10) % 2).double().mean().item()
    with pytest.raises(InputError, match="--steps applies to denoisers only"):
        snnconvert.evaluate("classes.pt", dataset, steps=3)


def test_python_refuses_what_does_not_apply(tmp_path, checkpoint, dataset):
    folder = write_images(tmp_path / "a", 3)
    images = snnconvert.open_source(str(folder), Path("data"))
    unshaped = snnconvert.Statistics(np.zeros(64), np.eye(64))
    for source, against, options, message in [
        (folder, dataset, {"solver": "ddim"}, "--solver applies to checkpoints only"),
        (images, folder, {"seed": 1}, "is opened already, seed does not apply"),
        (checkpoint, folder, {"flavour": 1}, "no option 'flavour'"),
        (snnconvert.load(checkpoint), unshaped, {}, "the shape of its images is unknown"),
    ]:
        with pytest.raises(InputError, match=message):
            snnconvert.evaluate(source, against, dims=64, **options)


# ---- cache, archives, datasets


def test_statistics_are_computed_once(tmp_path, capsys):
    folder = write_images(tmp_path / "a", 4)
    for out in ("one.npz", "two.npz"):
        assert run("stats", folder, "-o", out, "--dims", 64) == 0
    entries = list((tmp_path / "cache").iterdir())
    assert len(entries) == 1
    one, two = np.load("one.npz"), np.load("two.npz")
    assert all(np.array_equal(one[key], two[key]) for key in one.files)
    assert "4/4" not in capsys.readouterr().err.split("warning")[-1]  # no bar the second time
    assert run("stats", folder, "-o", "two.npz", "--dims", 64, "--count", 3) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 2
    entries[0].write_bytes(b"damaged")
    assert run("stats", folder, "-o", "two.npz", "--dims", 64) == 0
    assert np.array_equal(np.load("two.npz")["sigma"], one["sigma"])


def test_archive_and_folder_of_the_same_images_have_distance_zero(tmp_path):
    folder = write_images(tmp_path / "a", 5)
    pixels = np.stack([np.array(Image.open(f)) for f in sorted(folder.iterdir())])
    np.savez_compressed("a.npz", samples=pixels)
    assert fid("a.npz", "--against", folder, "--dims", 64)["fid"] < 1e-6


def test_precision_and_recall_of_equal_and_of_foreign_images(tmp_path):
    pytest.importorskip("torch_fidelity")
    folder = write_images(tmp_path / "a", 6)
    black = np.zeros((6, SIZE, SIZE), np.uint8)
    black[:, 0, 0] = range(6)
    np.savez("black.npz", samples=black)
    found = []
    for file in (folder, "black.npz"):
        result = fid(file, "--against", folder, "--dims", 64, "--precision-recall")
        found.append(result["precision_recall"])
    assert found[0] == {"precision": 1.0, "recall": 1.0, "real_images": 6}
    assert found[1] == {"precision": 0.0, "recall": 0.0, "real_images": 6}


# ---- errors, all before any slow work


def test_bad_input_of_stats(tmp_path, capsys):
    folder = write_images(tmp_path / "a", 3)
    single = write_images(tmp_path / "single", 1)
    (tmp_path / "empty").mkdir()
    mixed = write_images(tmp_path / "mixed", 2)
    Image.new("RGB", (9, 9)).save(mixed / "large.png")
    for arguments, message in [
        (("nothing",), "is no dataset"),
        ((tmp_path / "empty",), "holds no images"),
        ((mixed,), "--image-size"),
        ((single,), "needs 2 or more"),
        ((folder, "--count", 4), "found 3 images, 4 were asked for"),
        ((folder, "--count", 0), "needs 2 or more"),
        ((folder, "--dims", 100), "allowed are 64, 192, 768, 2048"),
        ((folder, "--batch-size", 0), "--batch-size"),
        ((folder, "--image-size", 0), "image_size"),
        ((folder, "--device", "nonsense"), "device"),
    ]:
        assert message in refused(capsys, "stats", *arguments, "-o", "s.npz"), arguments
    assert ".npz" in refused(capsys, "stats", folder, "-o", "s.txt")
    assert "does not exist" in refused(capsys, "stats", folder, "-o", "none/s.npz")
    assert not Path("s.npz").exists() and not (tmp_path / "cache").exists()


def test_bad_input_of_evaluate(tmp_path, checkpoint, capsys):
    folder = write_images(tmp_path / "a", 3)
    larger = write_images(tmp_path / "b", 3, size=9)
    np.savez("s.npz", mu=np.zeros(64), sigma=np.eye(64))
    for arguments, message in [
        ((folder, "--against", "s.npz", "--dims", 768), "64 features, needed are 768"),
        ((folder, "--against", larger), "give --image-size"),
        ((folder, "--against", "absent"), "is no dataset"),
        ((folder, "--against", "s.npz", "--seed", 1), "--seed applies to checkpoints only"),
        ((folder, "--against", "s.npz", "--eta", 1), "--eta applies to checkpoints only"),
        ((folder, "--against", "s.npz", "--samples", 4), "4 were asked for"),
        ((folder, "--against", "s.npz", "--precision-recall"), "need images"),
        (("absent.pt", "--against", "s.npz"), "no such file"),
        ((checkpoint, "--against", "s.npz", "--samples", 1), "needs 2 or more"),
        ((checkpoint, "--against", "s.npz", "--solver", "dddim"), "did you mean 'ddim'"),
        ((checkpoint, "--against", "s.npz", "--steps", 51), "steps"),
        ((checkpoint, "--against", "s.npz", "--eta", 2), "eta"),
        ((checkpoint, "--against", "s.npz", "--solver", "ddim", "--eta", 2), "eta"),
        ((checkpoint, "--against", "s.npz", "--stage", "snn"), "holds no 'snn'"),
        ((checkpoint, "--against", "s.npz", "--simulate", "counts"), "converted networks only"),
        ((checkpoint, "--against", "s.npz", "--seed", -1), "seed"),
        ((checkpoint, "--against", larger), "give --image-size"),
    ]:
        assert message in refused(capsys, "evaluate", *arguments, "-o", "r.json"), arguments
    assert not Path("r.json").exists()


def test_features_that_overflow_are_refused(tmp_path, monkeypatch, capsys, random_home):
    weights = torch.load(random_home / WEIGHTS, weights_only=True)
    weights["Conv2d_1a_3x3.conv.weight"].fill_(torch.inf)
    (tmp_path / "home" / WEIGHTS).parent.mkdir(parents=True)
    torch.save(weights, tmp_path / "home" / WEIGHTS)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = write_images(tmp_path / "a", 3)
    capsys.readouterr()
    assert run("stats", folder, "-o", "s.npz", "--dims", 64) == 2
    assert "64 features are not finite" in capsys.readouterr().err
    assert not Path("s.npz").exists()


def test_missing_and_damaged_weights(tmp_path, monkeypatch, capsys):
    folder = write_images(tmp_path / "a", 3)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens: no download
    message = refused(capsys, "stats", folder, "-o", "s.npz", "--dims", 64)
    assert "not downloadable" in message and "TORCH_HOME" in message and WEIGHTS in message
    (tmp_path / "home" / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "home" / WEIGHTS).write_bytes(b"half a download")
    assert "cannot be read" in refused(capsys, "stats", folder, "-o", "s.npz", "--dims", 64)


# ---- threshold scaling


def test_guidance_finds_the_scale_of_the_lowest_fid(tmp_path, checkpoint, capsys):
    images = write_images(tmp_path / "a", 9)
    assert run("stats", images, "-o", "a.npz", "--dims", 64) == 0
    assert run("convert", checkpoint, "--timesteps", 4, "-o", "snn.pt") == 0
    drawn = ["--against", "a.npz", "--solver", "ddim", "--steps", 2, "--samples", 6]
    search = ["guidance", "snn.pt", *drawn, "--scales", "1.5,1,0.7", "-o", "g.json"]
    capsys.readouterr()
    assert run(*search, "--plot", "g.png") == 0
    shown, found = capsys.readouterr().out, json.loads((tmp_path / "g.json").read_text())
    assert [row["scale"] for row in found["rows"]] == [0.7, 1.0, 1.5]
    assert found["best"]["fid"] == min(row["fid"] for row in found["rows"])
    assert f"{found['best']['fid']:.4f}  <- lowest" in shown
    assert Image.open(tmp_path / "g.png").size[0] > 300
    for scale in (1, 1.5):
        again = ["evaluate", "snn.pt", *drawn, "--threshold-scale", scale, "-o", "e.json"]
        assert run(*again, "--no-inception-score") == 0
        result = json.loads((tmp_path / "e.json").read_text())
        row = next(row for row in found["rows"] if row["scale"] == scale)
        assert row["fid"] == pytest.approx(result["fid"], rel=1e-9)
        assert result["of"]["threshold_scale"] == scale


def test_guidance_refuses_what_cannot_be_searched(tmp_path, checkpoint, capsys):
    assert run("stats", write_images(tmp_path / "a", 9), "-o", "a.npz", "--dims", 64) == 0
    drawn = ["guidance", checkpoint, "--against", "a.npz", "--samples", 6]
    assert "no neurons" in refused(capsys, *drawn)
    assert "--scales" in refused(capsys, *drawn, "--scales", "1,1")
    sample = ["sample", checkpoint, "-o", "x.png", "--threshold-scale", 0.9]
    assert "no neurons" in refused(capsys, *sample)
    assert not (tmp_path / "x.png").exists() and not (tmp_path / "guidance.json").exists()
