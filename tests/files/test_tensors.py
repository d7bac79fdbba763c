"""A file is bounded by what it holds: no few bytes stand for endless lists or huge tensors."""

import zipfile

import pytest
import torch

from snnconvert.errors import CheckpointError
from snnconvert.files.fingerprint import fingerprint
from snnconvert.files.tensors import read_file


def doubled(times: int) -> list:
    found: list = [0]
    for _ in range(times):
        found = [found, found]
    return found


def circle() -> list:
    found: list = []
    found.append(found)
    return found


def nested(depth: int) -> list:
    found: list = []
    for _ in range(depth):
        found = [found]
    return found


ENDLESS = {
    "one number as a tensor of a terabyte": torch.zeros(1).expand(1 << 38),
    "two to the thirtieth lists": doubled(30),
    "a list of itself": {"a": circle()},
    "many lists, one in the other": nested(400),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_refused(tmp_path, name):
    torch.save(ENDLESS[name], tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="damaged"):
        read_file(tmp_path / "a.pt")


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    torch.save({"x": torch.zeros(10)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as small,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as large,
    ):
        for name in small.namelist():
            large.writestr(name, small.read(name))
        large.writestr("more", bytes(300 << 20))
    with pytest.raises(CheckpointError, match="claims"):
        read_file(tmp_path / "b.pt")


def test_shared_and_expanded_tensors_of_a_usual_size_are_read(tmp_path):
    row = torch.arange(5.0)
    kept = {"a": row, "b": row, "c": row.expand(1000, 5), "d": [[1, 2], [3, {"e": row}]]}
    torch.save(kept, tmp_path / "a.pt")
    found = read_file(tmp_path / "a.pt")
    assert torch.equal(found["c"], kept["c"]) and found["d"][0] == [1, 2]


def test_a_fingerprint_is_that_of_the_values():
    """However they lie in memory."""
    value = torch.arange(12.0).reshape(3, 4)
    apart = torch.zeros(6, 8)[::2, ::2].copy_(value)
    assert fingerprint(value) == fingerprint(apart) != fingerprint(value.reshape(4, 3))
    one = torch.zeros(1)
    assert fingerprint(one) == fingerprint(one.as_strided((1,), (10**12,)))
