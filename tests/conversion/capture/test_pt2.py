"""`.pt2` files: networks come back as they were, and no file of a stranger runs code."""

import io
import json
import pickle
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snnconvert
from examples.networks import PlanarDenoiser, attention_unet, images, times, visual_transformer
from snnconvert.conversion.capture.pt2 import read_pt2
from snnconvert.errors import SnnconvertError

pytestmark = pytest.mark.filterwarnings("ignore")


def exported(model: nn.Module, args: tuple, path) -> None:
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} for _ in args)
    program = torch.export.export(model.eval(), args, dynamic_shapes=shapes)
    torch.export.save(program, path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (PlanarDenoiser(), (torch.randn(8, 2), times())),
        lambda: (visual_transformer(), (images(4),)),
        lambda: (attention_unet(nn.SiLU), (images(4, size=16), times(4))),
    ],
)
def test_files_convert_like_the_module(make, tmp_path):
    torch.manual_seed(0)
    model, inputs = make()
    exported(model, inputs, tmp_path / "net.pt2")
    network = snnconvert.load(tmp_path / "net.pt2")
    with torch.no_grad():
        assert torch.allclose(network(*inputs), model(*inputs), atol=1e-5)
        one = [value[:1] for value in inputs]
        assert torch.allclose(network(*one), model(*one), atol=1e-5)
    assert snnconvert.check(network) == []
    from_file = snnconvert.convert(network, 4, calibration=[inputs])
    from_module = snnconvert.convert(model, 4, example_inputs=inputs, calibration=[inputs])
    assert torch.equal(from_file(*inputs), from_module(*inputs))
    assert list(from_file.layers.values()) == list(from_module.layers.values())


class Code:
    """Runs `open(marker, "w")` when unpickled."""

    def __init__(self, marker) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return (open, (self.marker, "w"))


def rewritten(source, target, change) -> None:
    """Copy an archive; `change(name, bytes)` gives new bytes or None to keep them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(name, data) or data)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    exported(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), (torch.randn(4, 3),), path)
    return path


def hostile_pickles(marker):
    payload = pickle.dumps(Code(marker))
    buffer = io.BytesIO()
    torch.save(Code(marker), buffer)

    def samples(name, data):
        return buffer.getvalue() if "sample_inputs" in name else None

    def weights(name, data):
        if name.endswith("weights_config.json"):
            content = json.loads(data)
            for entry in content["config"].values():
                entry["use_pickle"] = True
            return json.dumps(content).encode()
        return buffer.getvalue() if "/weights/" in name else None

    def custom_object(name, data):
        if name.endswith("weights_config.json"):
            content = json.loads(data)
            for entry in content["config"].values():
                entry["use_pickle"], entry["path_name"] = True, "opaque_obj_0"
            return json.dumps(content).encode()
        return None

    def expression(name, data):
        code = f"open({str(marker)!r}, 'w')"
        text = data.decode(errors="replace")
        return (
            text.replace("Symbol('", code + " or Symbol('").encode() if "/models/" in name else None
        )

    def operation(name, data):
        if "/models/" not in name:
            return None
        content = json.loads(data)
        node = content["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.ops.os.system.default"
        return json.dumps(content).encode()

    def builtin(name, data):
        if "/models/" not in name:
            return None
        return data.replace(b"torch.ops.aten.relu.default", b"builtins.open")

    changes = (samples, weights, custom_object, expression, operation, builtin)
    return payload, {change.__name__: change for change in changes}


@pytest.mark.parametrize(
    "kind", ["samples", "weights", "custom_object", "expression", "operation", "builtin"]
)
def test_a_strangers_file_runs_no_code(kind, clean, tmp_path):
    marker = tmp_path / "ran"
    _, changes = hostile_pickles(marker)
    rewritten(clean, tmp_path / "hostile.pt2", changes[kind])
    try:
        network = snnconvert.load(tmp_path / "hostile.pt2")
        snnconvert.check(network)
        network(torch.randn(2, 3))
    except SnnconvertError as error:
        assert str(error)
    assert not marker.exists()


def test_the_hostile_object_would_have_run(tmp_path):
    """The test above means something: plain unpickling does run the code."""
    pickle.loads(hostile_pickles(tmp_path / "ran")[0])
    assert (tmp_path / "ran").exists()


@given(cut=st.floats(0, 0.99), flip=st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_damaged_files_are_refused_or_read(cut, flip):
    data = DAMAGED.setdefault("data", _bytes())
    broken = bytearray(data[: int(len(data) * (1 - cut))])
    if broken:
        broken[flip % len(broken)] ^= 0x55
    path = DAMAGED["folder"] / "broken.pt2"
    path.write_bytes(bytes(broken))
    try:
        read_pt2(path)
    except SnnconvertError as error:
        assert "broken.pt2" in str(error)


DAMAGED: dict = {}


def _bytes() -> bytes:
    import tempfile
    from pathlib import Path

    DAMAGED["folder"] = Path(tempfile.mkdtemp())
    path = DAMAGED["folder"] / "net.pt2"
    exported(nn.Sequential(nn.Linear(3, 8), nn.ReLU()), (torch.randn(4, 3),), path)
    return path.read_bytes()


def test_missing_file_is_said(tmp_path):
    with pytest.raises(SnnconvertError, match="no such file"):
        snnconvert.load(tmp_path / "none.pt2")
