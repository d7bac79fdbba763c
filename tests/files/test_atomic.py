"""Files are written whole or not at all, and what a killed writer leaves is cleared away."""

import os
import signal
import subprocess
import sys

import pytest

from snnconvert.errors import InputError
from snnconvert.files.atomic import check_destination, clear_stale, write_atomically
from tests.support.paths import ROOT

HANGS = """
import sys, time
from snnconvert.files.atomic import write_atomically
def write(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(600)
write_atomically(sys.argv[1], write)
"""
TOO_LARGE = """
import resource, sys
from snnconvert.files.atomic import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_atomically(sys.argv[1], lambda file: file.write(bytes(5000)))
"""


def python(script: str, path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_next_run_clears_what_a_killed_writer_left_and_nothing_else(tmp_path):
    target = tmp_path / "net.pt"
    target.write_bytes(b"old")
    others = [tmp_path / name for name in (".net.pt.notes", ".net.pt.abcdefg.unfinished", "x.pt")]
    for other in others:
        other.write_bytes(b"mine")
    writer = python(HANGS, target)
    assert writer.stdout.readline() == "writing\n"
    check_destination(target)
    assert len(list(tmp_path.iterdir())) == 5, "a living writer keeps its file"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    check_destination(tmp_path / "other.pt")
    assert len(list(tmp_path.iterdir())) == 5, "it is another file's"
    check_destination(target)
    assert sorted(tmp_path.iterdir()) == sorted([target, *others])
    assert target.read_bytes() == b"old"


def test_a_folder_of_images_is_cleared_as_a_whole(tmp_path):
    writer = python(HANGS, tmp_path / "000007.png")
    writer.stdout.readline()
    writer.kill()
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 1
    clear_stale(tmp_path)
    assert not list(tmp_path.iterdir())


def test_two_writers_of_one_file_leave_one_of_the_two(tmp_path):
    target = tmp_path / "net.pt"

    def outer(file):
        file.write(b"outer" * 1000)
        write_atomically(target, lambda inner: inner.write(b"inner" * 1000))
        assert target.read_bytes() == b"inner" * 1000

    write_atomically(target, outer)
    assert target.read_bytes() == b"outer" * 1000
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    target = tmp_path / "net.pt"
    target.write_bytes(b"old")
    writer = python(TOO_LARGE, target)
    assert "cannot be written" in writer.communicate()[1] and writer.returncode == 1
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    target = tmp_path / "net.pt"
    target.write_bytes(b"old")

    def fails(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write_atomically(target, fails)
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]
