"""What no spike reaches needs no rule; and what a file may name by that is harmless."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import snnconvert
from snnconvert.conversion.rules import function_of, rule_of
from snnconvert.errors import InputError, UnsupportedOpError
from tests.support.layers_around import Around, held

pytestmark = pytest.mark.filterwarnings("ignore")

INPUT_SIDE = {
    "mask": lambda x: x * ((x > 0) & (x < 1)),
    "exclusive or": lambda x: x * torch.logical_xor(x > 0, x < 1),
    "sort": lambda x: x.sort(1)[0],
    "topk": lambda x: x.topk(6)[0],
    "argsort": lambda x: x.gather(1, x.argsort(1)),
    "fft": lambda x: torch.fft.irfft(torch.fft.rfft(x), n=6),
    "stft": lambda x: torch.stft(
        x.repeat(1, 10), 10, window=torch.hann_window(10), return_complex=True
    ).abs()[:, :6, 0],
    "median": lambda x: x - x.median(1, keepdim=True)[0],
    "median of all": lambda x: x - x.median(),
    "quantile": lambda x: x - x.quantile(0.5, 1, keepdim=True),
    "inverse": lambda x: x @ torch.inverse(torch.eye(6) * 2),
    "inverse of the input": lambda x: x @ torch.linalg.inv(torch.eye(6) * 20 + x.T @ x),
    "solve": lambda x: torch.linalg.solve(torch.eye(6) * 2, x.T).T,
    "qr": lambda x: x @ torch.linalg.qr(torch.eye(6) * 2)[0],
    "mode": lambda x: x - x.round().mode(1, keepdim=True)[0],
    "bucketize": lambda x: x + torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0])),
    "histogram": lambda x: x + torch.histc(x, 6),
    "unique": lambda x: x + torch.unique(torch.tensor([1, 2, 2])).sum(),
    "nonzero": lambda x: x + torch.nonzero(torch.tensor([1, 0, 1])).sum(),
    "lgamma": lambda x: x + torch.lgamma(x.abs() + 1),
    "polar": lambda x: torch.polar(x.abs(), x).real,
    "masked_scatter": lambda x: x.masked_scatter(x > 0, x),
}


@pytest.mark.parametrize("name", INPUT_SIDE)
def test_what_no_spike_reaches_needs_no_rule(name):
    torch.manual_seed(0)
    held(Around(lambda h: h, INPUT_SIDE[name]), torch.randn(16, 6))


@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
def test_an_orthogonal_layer_converts(kind):
    torch.manual_seed(0)
    model = Around(lambda h: h)
    parametrizations.orthogonal(model.first, orthogonal_map=kind)
    held(model, torch.randn(16, 6))


def test_a_bag_of_embeddings_converts():
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.rest = nn.EmbeddingBag(10, 6), Around(lambda h: h)

        def forward(self, words):
            return self.rest(self.bag(words))

    torch.manual_seed(0)
    held(Bag(), torch.randint(10, (16, 4)))


def test_a_pointwise_function_needs_no_rule():
    torch.manual_seed(0)
    held(Around(torch.special.bessel_j0), torch.randn(16, 6))


def never_read():
    raise AssertionError("calibration was read before the refusal")
    yield


@pytest.mark.parametrize(
    ("between", "op"),
    [(lambda h: h.mode(1, keepdim=True)[0] + h, "aten.mode.default"),
     (lambda h: torch.linalg.qr(h)[0], "aten.linalg_qr.default")],
)  # fmt: skip
def test_an_unknown_operation_behind_spikes_is_refused_before_calibration(between, op):
    with pytest.raises(UnsupportedOpError, match=f"{op}: has no conversion rule; replace the"):
        snnconvert.convert(
            Around(between), 4, example_inputs=torch.randn(8, 6), calibration=never_read()
        )


def test_what_the_output_alone_reads_needs_no_rule():
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Around(lambda h: h)

        def forward(self, x):
            y = self.inner(x)
            return y - y.round().mode(1, keepdim=True)[0]

    torch.manual_seed(0)
    held(Last(), torch.randn(16, 6))


def test_dropout_and_noise_stay_refused():
    model = Around(lambda h: h, lambda x: functional.dropout(x, 0.5, True) + torch.rand_like(x))
    assert [problem.op for problem in snnconvert.check(model, torch.randn(4, 6))] == [
        "aten.dropout.default", "aten.rand_like.default"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "op",
    ["aten.from_file.default", "aten.empty.names", "aten.new_empty.default", "aten.rand.default",
     "aten.bernoulli.p", "aten.add_.Tensor", "aten.sort.values", "aten.set_.source_Tensor",
     "aten.resize_.default", "aten._unsafe_index.Tensor", "aten.item.default",
     "aten._sparse_coo_tensor_unsafe.default", "aten.record_stream.default",
     "aten.randperm.default",
     "aten.__init__.default", "aten.sort.__class__", "profiler._record_function_enter.default",
     "os.system.default", "builtins.eval.default", "aten.sort", "sort", "", "aten..default",
     "aten.conv2d.default.x", "aten.embedding_backward.default", "aten.as_strided.default",
     "aten.save.default", "prims.device_put.default"],
)  # fmt: skip
def test_a_file_cannot_name_what_draws_writes_or_reaches_beyond_its_arguments(op):
    rule = rule_of(op)
    assert rule is None or not rule.converts
    with pytest.raises((InputError, UnsupportedOpError)):
        function_of(op)
