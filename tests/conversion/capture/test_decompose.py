"""Operations without a rule are taken apart into those that have one, and nothing else is."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import snnconvert
from snnconvert.conversion.capture.export import capture
from tests.support.layers_around import Around, held

pytestmark = pytest.mark.filterwarnings("ignore")

ALIASES = {
    "concat": lambda h: torch.concat([h, h], 1)[:, 3:9],
    "concatenate": lambda h: torch.concatenate([h, h], 1)[:, 3:9],
    "hstack": lambda h: torch.hstack([h, h])[:, 3:9],
    "vstack": lambda h: torch.vstack([h, h]),
    "column_stack": lambda h: torch.column_stack([h, h])[:, 3:9],
    "multiply": lambda h: torch.multiply(h, torch.multiply(h, 2.0)),
    "divide": lambda h: torch.divide(h, 2),
    "true_divide": lambda h: torch.true_divide(h, h + 1),
    "subtract": lambda h: torch.subtract(h, 1),
    "negative": torch.negative,
    "positive": torch.positive,
    "absolute": lambda h: torch.absolute(h - 1),
    "clip": lambda h: torch.clip(h, 0, 1),
    "clip in place": lambda h: (h - 0.1).clip_(0, 1),
    "moveaxis": lambda h: torch.moveaxis(h, 0, 1).T,
    "ravel": lambda h: h.ravel().view(-1, 6),
    "broadcast_to": lambda h: torch.broadcast_to(h, (2, *h.shape)).sum(0),
    "tensordot": lambda h: torch.tensordot(h, torch.eye(6), 1),
    "expit": torch.special.expit,
    "var_mean": lambda h: h + torch.var_mean(h, -1, keepdim=True)[0],
    "std_mean": lambda h: h + torch.std_mean(h, -1, keepdim=True)[0],
    "rot90": lambda h: torch.rot90(h.unsqueeze(2), 2, [1, 2]).squeeze(2),
    "cross": lambda h: torch.cross(h.view(-1, 2, 3), h.view(-1, 2, 3).flip(1), dim=-1).flatten(1),
    "one_hot": lambda h: h * functional.one_hot(h.argmax(1), 6),
    "bits": lambda h: h * (((h * 4).int() << 1) & 3 | 1 ^ 2).float(),
    "inner": lambda h: torch.inner(h, torch.eye(6)),
    "addmv": lambda h: h + torch.addmv(h[:, 0], h, torch.ones(6))[:, None],
    "logaddexp": lambda h: torch.logaddexp(h, -h),
    "hypot": lambda h: torch.hypot(h, h + 1),
    "diff": lambda h: torch.diff(h, dim=1, prepend=h[:, :1]),
    "cdist": lambda h: torch.cdist(h, torch.eye(6)),
    "bilinear": lambda h: functional.bilinear(h, h, torch.ones(6, 6, 6)),
    "lp_pool": lambda h: functional.lp_pool1d(h.unsqueeze(1) + 0.1, 2.0, 2).flatten(1).repeat(1, 2),
    "index_add": lambda h: h.index_add(1, torch.tensor([0, 1]), h[:, :2]),
    "scatter of a number": lambda h: h.scatter(1, torch.zeros_like(h[:, :1]).long(), 1.0),
    "atleast_3d": lambda h: torch.atleast_3d(h).squeeze(-1),
    "truncated": lambda h: 0.01 * torch.div(h, 0.01, rounding_mode="trunc"),
    "a row of a table": lambda h: functional.embedding(h.argmax(1), torch.eye(6)),
    "bucketize": lambda h: torch.bucketize(h, torch.tensor([0.1, 0.4, 0.9])).float(),
    "scatter_add": lambda h: h.scatter_add(1, h.new_zeros(len(h), 1).long(), h[:, :1]),
}


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_converts_as_what_it_is(name):
    torch.manual_seed(0)
    held(Around(ALIASES[name]), torch.randn(16, 6))


class Mixed(nn.Module):
    """Layers with rules of their own beside an alias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.group, self.last = nn.GroupNorm(2, 4), nn.Linear(4, 5)
        self.layer = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        h = self.group(torch.relu(self.norm(self.conv(x)))).flatten(2).transpose(1, 2)
        h = self.layer(self.attention(h, h, h, need_weights=False)[0])
        return self.last(functional.silu(torch.concat([h, h], -1)[..., :4]))


def test_what_has_a_rule_stays_one_operation():
    ops = {node.op for node in capture(Mixed(), torch.randn(2, 3, 4, 4)).program.nodes}
    assert "aten.concat.default" not in ops
    assert ops >= {
        "aten.cat.default", "aten.conv2d.default", "aten.batch_norm.default",
        "aten.group_norm.default", "aten.layer_norm.default", "aten.silu.default",
        "aten.scaled_dot_product_attention.default", "aten.linear.default",
    }  # fmt: skip


def test_a_batch_norm_beside_an_alias_is_folded_all_the_same():
    x = torch.randn(8, 3, 4, 4)
    snn = snnconvert.convert(Mixed().eval(), 4, example_inputs=x, calibration=[x])
    assert not any("norm" in node.op and "batch" in node.op for node in snn.program.nodes)


class Recurrent(nn.Module):
    """A recurrent layer over five steps, read at the last one."""

    def __init__(self, kind, **options) -> None:
        super().__init__()
        self.cells = kind(6, 5, batch_first=True, **options)
        width = 5 * (2 if options.get("bidirectional") else 1)
        self.middle, self.last = nn.Linear(width, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.middle(self.cells(x)[0][:, -1]).relu())


class Cells(nn.Module):
    """A cell stepped by hand."""

    def __init__(self, kind) -> None:
        super().__init__()
        self.cell, self.last = kind(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.last(state[0] if isinstance(state, tuple) else state)


RECURRENT = {
    "lstm": lambda: Recurrent(nn.LSTM),
    "lstm of two layers, both ways": lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
    "gru": lambda: Recurrent(nn.GRU),
    "rnn": lambda: Recurrent(nn.RNN),
    "rnn of ReLUs": lambda: Recurrent(nn.RNN, nonlinearity="relu"),
    "lstm cell": lambda: Cells(nn.LSTMCell),
    "gru cell": lambda: Cells(nn.GRUCell),
    "rnn cell": lambda: Cells(nn.RNNCell),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_layer_of_fixed_length_converts(name):
    torch.manual_seed(0)
    held(RECURRENT[name](), torch.randn(8, 5, 6), close=0.05)


def from_file(model, x, path):
    """`model` as a file holds it, with a batch of any size."""
    batch = {0: torch.export.Dim("B", max=24)}  # `cdist` does something else with more than 25
    exported = torch.export.export(model.eval(), (x,), dynamic_shapes=(batch,))
    torch.export.save(exported, path)
    return snnconvert.load(path)


# `scatter_add` fixes the batch where it is exported; a few layers stand for all recurrent ones
IN_FILES = [*(name for name in ALIASES if name != "scatter_add"), "lstm", "gru", "lstm cell"]


@pytest.mark.parametrize("name", IN_FILES)
def test_a_file_is_taken_apart_too(name, tmp_path):
    if name == "lstm" and torch.__version__ < "2.14":
        pytest.skip("PyTorch 2.12 does not take an LSTM of a file apart")
    torch.manual_seed(0)
    alias = name in ALIASES
    model = Around(ALIASES[name]) if alias else RECURRENT[name]()
    x = torch.randn(16, 6) if alias else torch.randn(8, 5, 6)
    read = from_file(model, x, tmp_path / "net.pt2")
    torch.testing.assert_close(read(x), model(x))
    torch.testing.assert_close(read(x[:3]), model(x[:3]))
    held(read, x, close=0.05)
    assert {node.layer for node in read.program.nodes if "__" in node.name} <= {"", "cell", "cells"}
