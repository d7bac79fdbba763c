"""What was made of something else, or measured better, is not replaced without a word."""

import pytest
import torch
from torch import nn

from snnconvert.checkpoint.format import read_checkpoint, save_checkpoint
from tests.support.command_line import assert_refused, call_cli
from tests.support.tiny_checkpoint import tiny_content

NETS = """
from torch import nn
def one():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
two = one
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "nets_to_replace.py").write_text(NETS)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    torch.save(model.state_dict(), tmp_path / "net.pth")
    torch.save(torch.randn(64, 3), tmp_path / "inputs.pt")
    batch = {0: torch.export.Dim("batch", min=2, max=64)}
    program = torch.export.export(model, (torch.randn(4, 3),), dynamic_shapes=(batch,))
    torch.export.save(program, tmp_path / "net.pt2")
    save_checkpoint(tmp_path / "tiny.pt", tiny_content())
    return tmp_path


def converted(place, *arguments):
    return call_cli("convert", *arguments, "--calibrate", "inputs.pt", cwd=place)


FACTORY = ("net.pth", "--model", "nets_to_replace:one")


@pytest.mark.filterwarnings("ignore")
def test_a_conversion_replaces_only_its_own_kind_unless_it_is_told_to(place):
    assert converted(place, *FACTORY).returncode == 0
    again = converted(place, *FACTORY, "--timesteps", "8")
    assert again.returncode == 0 and "net.snn.pt (which was there before" in again.stdout
    held = (place / "net.snn.pt").read_bytes()
    for other in (("net.pt2",), ("net.pth", "--model", "nets_to_replace:two")):
        assert_refused(converted(place, *other), "net.snn.pt", "nets_to_replace:one net.pth",
                       "--force")  # fmt: skip
        assert (place / "net.snn.pt").read_bytes() == held
    named = converted(place, "net.pt2", "-o", "net.snn.pt")
    assert named.returncode == 0 and "made from: nets_to_replace:one net.pth" in named.stdout
    assert converted(place, *FACTORY, "--force").returncode == 0
    provenance = read_checkpoint(place / "net.snn.pt")["provenance"]
    assert provenance["converted_from"] == "nets_to_replace:one net.pth"
    (place / "net.snn.pt").write_bytes(b"something else")
    assert_refused(converted(place, *FACTORY), "no network that this version reads", "--force")


def test_a_better_measurement_stays_unless_it_is_told_to_go(place):
    def measured(*arguments):
        return call_cli("moments", "tiny.pt", "--no-progress", *arguments, cwd=place)

    assert measured("--times", "6", "-n", "8").returncode == 0
    held = (place / "tiny.pt").read_bytes()
    for worse in (("--times", "5", "-n", "8"), ("--times", "6", "-n", "4"),
                  ("--times", "9", "-n", "4")):  # fmt: skip
        assert_refused(measured(*worse), "8 images", "6 times", "--force")
        assert (place / "tiny.pt").read_bytes() == held
    assert measured("--times", "6", "-n", "8", "--seed", "1").returncode == 0, "no worse"
    assert measured("--times", "4", "--stage", "ann").returncode == 0, "another network"
    correction = ("--stage", "ann", "--against", "ann", "-n", "4")
    assert measured(*correction, "--times", "3").returncode == 0, "another curve"
    assert_refused(measured(*correction, "--times", "2"), "--force")
    assert measured("--times", "2", "-n", "4", "--force").returncode == 0
    assert read_checkpoint(place / "tiny.pt")["moments"]["qann"]["times"] == 2
