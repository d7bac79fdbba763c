"""Image files of any depth become the nearest 8-bit pixels, grey or in colour."""

import numpy as np
import pytest
import torch
from PIL import Image

from snnconvert.errors import DataError
from snnconvert.images.datasets.folder import folder, in_channels
from snnconvert.images.decoding import read_image
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
