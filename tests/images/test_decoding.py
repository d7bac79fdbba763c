"""Image files of any depth become the nearest 8-bit pixels, grey or in colour."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from snnconvert.errors import DataError
from snnconvert.images.datasets.folder import folder, in_channels
from snnconvert.images.decoding import (
    EIGHT_BIT,
    ORIENTATION,
    check_readable,
    header_size,
    read_image,
)
from snnconvert.images.sources import open_source

RAMP = np.linspace(0, 1, 12).reshape(3, 4)
DEPTHS = {
    "1 bit": (RAMP > 0.5, 1, "a.png"),
    "8 bits": ((RAMP * 255).round().astype(np.uint8), 255, "a.png"),
    "16 bits, PNG": ((RAMP * 65535).round().astype(np.uint16), 65535, "a.png"),
    "16 bits, TIFF": ((RAMP * 65535).round().astype(np.uint16), 65535, "a.tif"),
    "32-bit integers": ((RAMP * 65535).round().astype(np.int32), 65535, "a.tif"),
    "floating point": (RAMP.astype(np.float32), 1, "a.tif"),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_becomes_the_nearest_pixels(tmp_path, depth, channels):
    values, largest, name = DEPTHS[depth]
    Image.fromarray(values).save(tmp_path / name)
    found = read_image(tmp_path / name, channels)
    wanted = (values.astype(np.float64) * 255 / largest).round()
    assert found.dtype == torch.uint8 and found.shape == (channels, 3, 4)
    np.testing.assert_array_equal(found.numpy(), np.broadcast_to(wanted, found.shape))


@pytest.mark.parametrize("wrong", [-1.0, 2.0, float("nan"), float("inf")])
def test_pixels_of_no_known_range_are_refused(tmp_path, wrong):
    Image.fromarray(np.full((2, 2), wrong, dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="outside of 0"):
        read_image(tmp_path / "a.tif")


def test_a_folder_is_grey_where_one_channel_is_wanted(tmp_path):
    for number in range(20):
        Image.fromarray(np.full((5, 5), 200 + number, dtype=np.uint8)).save(
            tmp_path / f"{number:02}.png"
        )
    grey = in_channels(folder(tmp_path, 4, True), 1)
    assert grey.channels == 1 and grey.take([3]).unique().tolist() == [203]
    source = open_source(str(tmp_path), tmp_path, 4, 1)
    (batch,) = source.batches(20, 20)
    assert batch.shape == (20, 1, 4, 4)
    assert source.identity() != open_source(str(tmp_path), tmp_path, 4).identity()


@pytest.mark.parametrize("size", [(1, 1), (6, 6), (300, 5), (5, 300), (7, 8)])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_images_of_any_size_are_checked(tmp_path, size, ending):
    file = tmp_path / f"a.{ending}"
    Image.new("RGB", size).save(file)
    check_readable(file)
    assert read_image(file).shape == (3, size[1], size[0]) and header_size(file) == size[::-1]


COLOURS = np.array([[[200, 80, 60], [70, 150, 90], [90, 90, 90], [255, 255, 255]]], dtype=np.uint8)


def in_mode(mode: str) -> Image.Image:
    picture = Image.fromarray(COLOURS)
    if mode != "LAB":
        return picture.convert(mode)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")


@pytest.mark.parametrize("mode", sorted(EIGHT_BIT - {"HSV", "PA", "YCbCr"}))  # no file keeps these
def test_every_mode_becomes_colours_and_grey(tmp_path, mode):
    file = tmp_path / "a.tif"
    in_mode(mode).save(file)
    check_readable(file)
    colours, grey = read_image(file).int(), read_image(file, 1).int()
    assert colours.shape == (3, 1, 4) and grey.shape == (1, 1, 4)
    weighted = (colours * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)
    assert (weighted - grey[0]).abs().max() <= 1.5
    if mode not in ("1", "L", "LA", "P"):
        wanted = torch.from_numpy(COLOURS).permute(2, 0, 1)
        assert (colours - wanted).abs().max() <= 3


SCENE = {  # direction of the scene's rows and columns in what is stored: EXIF 2.3, tag 274
    1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1),
}  # fmt: skip


def stored(scene: np.ndarray, value: int) -> np.ndarray:
    """What a camera writes of a scene under that orientation."""
    rows, columns = SCENE[value]
    found = scene[::rows, ::columns]
    return np.ascontiguousarray(found.swapaxes(0, 1) if value >= 5 else found)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize(
    ("name", "deep"), [("a.png", False), ("a.webp", False), ("a.tif", False), ("a.png", True)]
)
def test_images_are_upright_as_their_exif_says(tmp_path, name, deep, value):
    scene = np.arange(24, dtype=np.uint16 if deep else np.uint8).reshape(4, 6) * 10
    scene = scene * 257 if deep else np.stack([scene, scene + 3, 255 - scene], 2)
    exif = Image.Exif()
    exif[ORIENTATION] = value
    file = tmp_path / name
    options = {"lossless": True} if name.endswith("webp") else {}
    Image.fromarray(stored(scene, value)).save(file, exif=exif, **options)
    wanted = scene[..., None].repeat(3, 2) // 257 if deep else scene
    np.testing.assert_array_equal(read_image(file).permute(1, 2, 0).numpy(), wanted)
    assert header_size(file) == (4, 6)
    check_readable(file)


@pytest.mark.parametrize(
    "exif", [b"", b"x", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 9]
)
def test_a_broken_exif_says_nothing(tmp_path, exif):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 3, 2, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0\1\2\3\0\4\5\6")
    chunks = chunk(b"IHDR", header), chunk(b"eXIf", exif), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert read_image(tmp_path / "a.png", 1).flatten().tolist() == [1, 2, 3, 4, 5, 6]


def test_a_name_is_told_on_one_line(tmp_path):
    file = tmp_path / "a\nb\x1b[31m.png"
    file.write_bytes(b"")
    for look in (read_image, check_readable, header_size):
        with pytest.raises(DataError) as found:
            look(file)
        assert r"a\nb\x1b[31m.png: not a readable image" in str(found.value)
        assert "\n" not in str(found.value)
