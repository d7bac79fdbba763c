"""A training that goes on tells its images by what they hold, not by where they lie."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import snnconvert
from snnconvert.errors import DataError
from snnconvert.training.stage import Paused
from snnconvert.training.state.contents import BLOCK, digest_of, moved_class
from tests.support.tiny_recipe import tiny_recipe


def picture(file: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)  # a BMP: equal sizes, whatever it holds


@pytest.fixture(autouse=True)
def _paused(tmp_path, monkeypatch):
    """A training of a classifier that has begun on two classes of images."""
    monkeypatch.chdir(tmp_path)
    for number in range(40):
        place = Path("images", "ab"[number % 2])
        place.mkdir(parents=True, exist_ok=True)
        picture(place / f"{number:02}.bmp", number)
    Path("net.toml").write_text(tiny_recipe(12, 6, 2))
    with pytest.raises(Paused):
        go_on()


def go_on(*changes: str) -> None:
    recipe = snnconvert.load_recipe("net.toml", ["classes=2", *changes])
    snnconvert.train(recipe, "net.pt", progress=False, stop_after=0)


def copied_elsewhere() -> tuple[str, ...]:
    shutil.copytree("images", "elsewhere", copy_function=shutil.copyfile)
    return ("data_root=elsewhere",)


def touched() -> tuple[str, ...]:
    for file in Path("images").rglob("*.bmp"):
        os.utime(file, ns=(1, 1))
    return ()


def renamed_in_order() -> tuple[str, ...]:
    Path("images/a").rename("images/aa")
    Path("images/b/01.bmp").rename("images/b/00.bmp")
    return ()


def replaced() -> None:
    for file in Path("images").rglob("*.bmp"):
        picture(file, 1000 + int(file.stem))


def two_swapped() -> None:
    one, other = Path("images/a/00.bmp"), Path("images/b/01.bmp")
    held = one.read_bytes(), other.read_bytes()
    other.write_bytes(held[0])
    one.write_bytes(held[1])


def a_class_renamed() -> None:
    Path("images/a").rename("images/c")


def classes_swapped() -> None:
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        Path(f"images/{old}").rename(f"images/{new}")


def a_class_before_them() -> None:
    Path("images/0").mkdir()
    for number in range(20):
        picture(Path("images/0") / f"{number:02}.bmp", 2000 + number)


@pytest.mark.parametrize("change", [tuple, copied_elsewhere, touched, renamed_in_order])
def test_the_same_images_are_the_same_wherever_they_lie(change):
    changes = change()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Paused):
            go_on(*changes)


@pytest.mark.parametrize("change", [replaced, two_swapped])
def test_other_contents_of_equal_names_and_sizes_are_noticed(change):
    change()
    with (
        pytest.warns(UserWarning, match=r"as many, of other contents.*no longer the same"),
        pytest.raises(Paused),
    ):
        go_on()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Paused):
            go_on()


@pytest.mark.parametrize("change", [a_class_renamed, classes_swapped, a_class_before_them])
def test_classes_of_other_labels_are_refused(change):
    change()
    before = Path("net.train.pt").read_bytes()
    with pytest.raises(DataError, match=r"images of class \d are now those of class \d"):
        go_on()
    assert Path("net.train.pt").read_bytes() == before


def test_a_class_has_moved_where_most_of_its_files_have():
    before = {"p": 0, "q": 0, "r": 0, "s": 1, "t": 1}
    assert moved_class(before, before) is None
    assert moved_class(before, {**before, "p": 1}) is None
    assert moved_class(before, {**before, "p": 1, "q": 1}) == (0, 1)
    assert moved_class(before, {"p": 1}) is None and moved_class(before, {}) is None


@pytest.mark.parametrize("size", [0, 1, BLOCK, 3 * BLOCK, 10 * BLOCK])
def test_a_digest_sees_the_ends_and_the_length(tmp_path, size):
    file = tmp_path / "file"
    content = bytearray(size)
    found = set()
    for place in {0, size // 2, size - 1} if size else set():
        content[place] ^= 1
        file.write_bytes(content)
        found.add(digest_of(file))
        content[place] ^= 1
    for more in (b"", b"\0"):
        file.write_bytes(content + more)
        found.add(digest_of(file))
    assert len(found) == len({0, size // 2, size - 1} if size else set()) + 2
