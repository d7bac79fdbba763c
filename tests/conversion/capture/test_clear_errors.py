"""What cannot be captured is refused in words; what can, is taken in whatever form it comes."""

import io

import numpy as np
import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.conversion.capture.export import user_line
from snnconvert.errors import InputError, UnsupportedOpError

pytestmark = pytest.mark.filterwarnings("ignore")
X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


def converted(model, x=X, timesteps=4):
    return snnconvert.convert(model, timesteps, example_inputs=x, calibration=[x])


class Returns(nn.Module):
    """A network whose result goes through `wrap`."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.net, self.wrap = net(), wrap

    def forward(self, x):
        return self.wrap(self.net(x))


class RoundedFactor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()
        self.register_buffer("n", torch.tensor(2.0))

    def forward(self, x):
        return self.net(x) * round(self.n.item() * 1.234, 2)


class Boxed:
    def __init__(self, value) -> None:
        self.value = value


def int8() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(net(), {nn.Linear}, dtype=torch.qint8)


@pytest.mark.parametrize(
    ("make", "x", "error", "words"),
    [
        (lambda: torch.jit.trace(net(), X), X, InputError, "TorchScript"),
        (lambda: torch.jit.script(net()), X, InputError, "TorchScript"),
        (lambda: net().double(), X, InputError, r"model.float\(\)"),
        (net, X.double(), InputError, r"x.float\(\)"),
        (lambda: Returns(lambda y: torch.distributions.Normal(y, 1.0)), X, UnsupportedOpError,
         "distribution .Normal.*loc, scale"),
        (lambda: Returns(lambda y: torch.distributions.Categorical(logits=y)), X,
         UnsupportedOpError, "distribution .Categorical"),
        (lambda: Returns(Boxed), X, UnsupportedOpError, "class of its own"),
        (int8, X, UnsupportedOpError, "int8"),
        (lambda: Returns(lambda y: None), X, UnsupportedOpError, "returns None"),
        (lambda: Returns(lambda y: y.numpy()), X, UnsupportedOpError, "NumPy arrays"),
        (lambda: Returns(lambda y: y.sum().item()), X, UnsupportedOpError, "makes a number"),
        (RoundedFactor, X, UnsupportedOpError, "root.: round: makes a number.*without item"),
        (lambda: net().to("meta"), X, InputError, "no values .device meta."),
        (net, X.to_sparse(), InputError, "x.to_dense"),
        (lambda: nn.Sequential, X, InputError, "the class Sequential"),
        (lambda: nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2)), X,
         UnsupportedOpError, "lazy layers.*call it once"),
    ],
)  # fmt: skip
def test_what_is_no_network_of_floats_is_refused_in_words(make, x, error, words):
    with pytest.raises(error, match=words):
        converted(make(), x)
    assert torch.distributions.Distribution._validate_args  # as it was


@pytest.mark.parametrize("module", [False, True])
def test_an_exported_program_converts(module):
    exported = torch.export.export(net(), (X,))
    found = converted(exported.module() if module else exported)
    assert torch.equal(found(X), converted(net())(X))


class OfADict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, batch):
        return self.net(batch["x"]) + batch["y"]


def test_a_dict_may_be_the_only_argument():
    model, batch = OfADict(), {"x": X, "y": torch.ones(4, 3)}
    snn = converted(model, batch)
    assert torch.equal(snn(batch), converted(model, (batch,))(batch))


def test_any_integer_is_a_number_of_timesteps():
    assert converted(net(), timesteps=np.int64(8)).config.timesteps == 8


def test_saving_needs_a_path():
    with pytest.raises(InputError, match="path: found BytesIO"):
        snnconvert.save(converted(net()), io.BytesIO())
    with pytest.raises(InputError, match="path: found BytesIO"):
        snnconvert.load(io.BytesIO())


def test_frames_of_torchvision_are_not_those_of_torch():
    site = torch.__file__.removesuffix("/torch/__init__.py")
    text = "\n".join(
        f'  File "{site}/{name}", line {line}, in f'
        for name, line in (("torchvision/ops/boxes.py", 7), ("torch/_tensor.py", 9))
    )
    assert user_line(text) == "boxes.py:7 in f"


class Timed(nn.Module):
    """A denoiser that takes t in the form that `read` reads."""

    def __init__(self, read) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(10, 6) / 4)
        self.embedding = nn.Embedding(10, 6)
        self.first, self.last, self.read = nn.Linear(6, 6), nn.Linear(6, 6), read

    def forward(self, x, t, label=None):
        return self.last((self.first(x) + self.read(self, t)).relu())


FORMS = {
    "0-dimensional": (torch.tensor(3.0), lambda _, t: t / 10),
    "0-dimensional, whole": (torch.tensor(3), lambda _, t: t / 10),
    "one in a list": (torch.tensor([3.0]), lambda _, t: t[:, None] / 10),
    "one in a list, whole": (torch.tensor([3]), lambda m, t: m.embedding(t)),
    "whole": (torch.tensor([3, 3, 3, 3]), lambda _, t: t[:, None] / 10),
    "a column": (torch.full((4, 1), 3.0), lambda _, t: t / 10),
    "an image": (torch.full((4, 1, 1), 3.0), lambda _, t: t[:, 0] / 10),
    "an embedding": (torch.tensor([3, 3, 3, 3]), lambda m, t: m.embedding(t)),
    "a table": (torch.tensor([3, 3, 3, 3]), lambda m, t: m.table[t]),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_solver_may_give_t_in_its_own_form(name):
    """Solvers give one float a sample."""
    torch.manual_seed(0)
    t, read = FORMS[name]
    snn = converted(Timed(read).eval(), (X, t))
    wanted = snn(X, t)
    assert torch.equal(snn(X, torch.full((4,), 3.0)), wanted)
    assert torch.equal(snn(X, torch.full((4,), 3.0), None), wanted)


@pytest.mark.parametrize("name", ["an embedding", "a table"])
def test_a_time_between_two_rows_of_a_table_is_refused_in_words(name):
    t, read = FORMS[name]
    snn = converted(Timed(read).eval(), (X, t))
    with pytest.raises(InputError, match="takes whole numbers"):
        snn(X, torch.full((4,), 2.5))


def test_what_was_captured_as_none_may_be_left_out():
    snn = converted(Timed(lambda _, t: t[:, None]).eval(), (X, torch.ones(4), None))
    assert torch.equal(snn(X, torch.ones(4)), snn(X, torch.ones(4), None))
