"""A captured network computes what its module does, or says for which batches, or is refused."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import snnconvert
from snnconvert.errors import InputError, UnsupportedOpError
from tests.support.command_line import assert_refused, call_cli, run_cli


def layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = layers()
        self.register_buffer("calls", torch.zeros(()))
        self.count = 0


class LargeBatch(Net):
    def forward(self, x):
        return self.net(x + 1 if x.shape[0] > 8 else x)


class Alone(Net):
    def forward(self, x):
        return self.net(x + 1 if x.shape[0] == 1 else x)


class BufferState(Net):
    def forward(self, x):
        self.calls += 1
        return self.net(x) * self.calls


class PythonState(Net):
    def forward(self, x):
        self.count += 1
        return self.net(x) * self.count


class AlwaysDrops(Net):
    def forward(self, x):
        return self.net(F.dropout(x, 0.5))


class TakesTheMode(Net):
    def forward(self, x):
        found = self.net(x + torch.rand_like(x))
        return self.net(x - torch.mode(found, 1, keepdim=True)[0])


class WritesACopy(Net):
    def forward(self, x):
        shift = torch.tensor([1.0, 2.0, 3.0, 4.0])
        shift += 1
        return self.net(x + shift)


def converted(model: nn.Module, rows: int) -> nn.Module:
    return snnconvert.convert(
        model,
        64,
        example_inputs=torch.randn(rows, 4),
        calibration=[torch.randn(64, 4)],
        simulate="counts",
    )


@pytest.mark.parametrize(
    ("kind", "rows", "least"), [(LargeBatch, 16, 9), (Alone, 4, 2)], ids=["large", "alone"]
)
def test_other_branches_for_other_batches_are_not_taken_silently(kind, rows, least, tmp_path):
    network, module = converted(kind(), rows), kind().eval()
    snnconvert.save(network, tmp_path / "net.snn.pt")
    for snn in (network, snnconvert.load(tmp_path / "net.snn.pt")):
        x = torch.randn(least, 4)
        torch.testing.assert_close(snn(x), module(x), atol=0.05, rtol=0)
        with pytest.raises(InputError, match=f"batches below {least}"):
            snn(x[:-1])


@pytest.mark.parametrize(
    ("kind", "rows", "words"),
    [(Alone, 1, "batch of one"), (BufferState, 4, "calls: the network changes it"),
     (PythonState, 4, "keeps state"), (AlwaysDrops, 4, "on in evaluation mode")],
)  # fmt: skip
def test_what_was_not_captured_rightly_is_refused(kind, rows, words):
    assert words in str(snnconvert.check(kind(), torch.randn(rows, 4))[0])
    with pytest.raises(UnsupportedOpError, match=words):
        converted(kind(), rows)


def test_a_tensor_made_in_forward_may_be_written():
    x = torch.randn(4, 4)
    torch.testing.assert_close(
        converted(WritesACopy(), 4)(x), WritesACopy()(x), atol=0.1, rtol=0.05
    )


def test_an_export_lists_every_operation_without_a_rule(tmp_path):
    exported = torch.export.export(TakesTheMode().eval(), (torch.randn(4, 4),))
    torch.export.save(exported, tmp_path / "net.pt2")
    result = call_cli("check", "net.pt2", cwd=tmp_path)
    assert result.returncode == 1
    assert "aten.mode.default" in result.stdout and "aten.rand_like.default" in result.stdout


@pytest.mark.parametrize(("rows", "given", "used"), [(4, 11, 8), (64, 70, 64)])
def test_an_export_of_core_operations_converts(rows, given, used, tmp_path):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1, groups=1), nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4),
        nn.MaxPool2d(2), nn.ConvTranspose2d(4, 2, 3, 2, 1, 1, dilation=2), nn.ReLU(),
        nn.Conv2d(2, 2, 1),
    ).eval()  # fmt: skip
    x = torch.randn(rows, 3, 16, 16)
    exported = torch.export.export(model, (x,)).run_decompositions()
    assert "aten.convolution.default" in exported.graph_module.code
    torch.export.save(exported, tmp_path / "net.pt2")
    network = snnconvert.load(tmp_path / "net.pt2")
    torch.testing.assert_close(network(x), model(x))
    torch.save(torch.randn(given, 3, 16, 16), tmp_path / "inputs.pt")
    command = ["convert", "net.pt2", "--timesteps", "4", "--calibrate"]
    result = call_cli(*command, "inputs.pt", cwd=tmp_path)  # whole batches of them
    assert result.returncode == 0, result.stderr
    assert f"{used} inputs" in result.stdout
    torch.save(torch.randn(3, 3, 16, 16), tmp_path / "few.pt")
    assert_refused(call_cli(*command, "few.pt", cwd=tmp_path), f"exactly {rows}", "dynamic_shapes")


@pytest.mark.parametrize("kind", ["half", "long", "bool"])
def test_inputs_of_another_type_are_named(kind):
    snn = converted(layers(), 4)
    with pytest.raises(InputError, match="'input': found"):
        snn(getattr(torch.randn(4, 4), kind)())
    assert snn.double()(torch.randn(4, 4).double()).dtype == torch.float64


def test_warnings_are_lines_like_errors(tmp_path):
    torch.export.save(torch.export.export(layers(), (torch.randn(2, 4),)), tmp_path / "net.pt2")
    torch.save(torch.randn(2, 4), tmp_path / "two.pt")  # too few to settle on thresholds
    arguments = ["convert", "net.pt2", "--timesteps", "4", "--calibrate", "two.pt"]
    result = run_cli(*arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    assert any(line.startswith("snnconvert: warning: calibration has not") for line in lines)
    assert "UserWarning" not in result.stderr and ".py" not in result.stderr


def test_half_weights_and_converted_networks_are_refused_as_what_they_are():
    with pytest.raises(UnsupportedOpError, match=r"0\.weight.*float16.*model\.float"):
        converted(layers().half(), 4)
    with pytest.raises(InputError, match="converted network already"):
        converted(converted(layers(), 4), 4)


@pytest.mark.parametrize(
    "norm",
    [
        nn.utils.weight_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.spectral_norm,
    ],
)
def test_normed_weights_and_slopes_fixed_in_evaluation_convert(norm):
    torch.manual_seed(0)
    model = nn.Sequential(norm(nn.Linear(4, 8)), nn.RReLU(), norm(nn.Linear(8, 3)))
    x = torch.randn(64, 4)
    snn = snnconvert.convert(model, 64, example_inputs=x, calibration=[x], simulate="counts")
    torch.testing.assert_close(snn(x), model.eval()(x), atol=0.1, rtol=0)


def test_labels_among_the_calibration_data_are_explained():
    pairs = [(torch.randn(8, 4), torch.zeros(8))]
    with pytest.raises(InputError, match="labels"):
        snnconvert.convert(layers(), 4, example_inputs=torch.randn(2, 4), calibration=pairs)


def test_activations_that_overflow_are_named():
    model = layers()
    with torch.no_grad():
        model[0].weight.fill_(1e38)
    with pytest.raises(InputError, match="NaN or infinite"):
        snnconvert.convert(
            model, 4, example_inputs=torch.ones(2, 4), calibration=[torch.ones(8, 4)]
        )


def test_factories_are_found_beside_the_user_and_may_fail(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def good(): return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))\n"
        "def bad(): raise KeyError('x')\n"
    )
    (tmp_path / "broken.py").write_text("undefined\n")
    broken = call_cli("check", "--model", "broken:net", "--example-shape", "2,4", cwd=tmp_path)
    assert_refused(broken, "broken", "NameError")
    (tmp_path / "elsewhere").mkdir()  # like an installed command: its folder is not the user's
    script = tmp_path / "elsewhere" / "run.py"
    script.write_text("import sys; from snnconvert.cli import main; sys.exit(main())")
    for name, code in (("good", 0), ("bad", 2)):
        result = subprocess.run(
            [sys.executable, script, "check", "--model", f"mine:{name}", "--example-shape", "2,4"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == code, result.stderr
    assert "KeyError" in result.stderr and "Traceback" not in result.stderr


def test_parts_of_the_package_are_reached_by_name():
    code = "import snnconvert as s; s.models.SpikingUNet; s.images; s.finetune"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        _ = snnconvert.nothing
