"""A network whose code fixes the batch serves batches of any size, where rows stand alone."""

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore")
BATCH = 4
GENERATOR = torch.Generator().manual_seed(3)
X, T = torch.randn(90, 2, generator=GENERATOR), torch.randint(1000, (90,), generator=GENERATOR)


class Fixed(nn.Module):
    """eps of points in the plane, for exactly four of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 16), nn.Linear(16, 2)

    def forward(self, x, t):
        h = torch.cat([x, t.view(BATCH, 1) / 1000], 1)
        return self.last(self.first(h).relu())


class Mixing(Fixed):
    def forward(self, x, t):
        return super().forward(x - x.mean(0), t)


def converted(kind=Fixed, rows=90, **options):
    torch.manual_seed(0)
    model = kind().eval()
    calibration = [(X[:rows], T[:rows])]
    example = (X[:BATCH], T[:BATCH])
    snn = snnconvert.convert(model, 8, example_inputs=example, calibration=calibration, **options)
    return model, snn


@pytest.mark.parametrize("options", [{}, {"firing": "deferred"}, {"code": "radix"}])
def test_batches_of_other_sizes_give_each_row_what_its_own_batch_gives(options):
    model, snn = converted(**options)
    assert snn.program.fixed_batch == BATCH
    whole = torch.cat([snn(X[i : i + 4], T[i : i + 4]) for i in range(0, 12, 4)])
    for rows in (1, 3, 4, 5, 11):
        found = snn(X[:rows], T[:rows])
        assert torch.equal(found, whole[:rows])
        assert torch.equal(found, snn.quantized_ann()(X[:rows], T[:rows]))
        assert torch.equal(snn(x=X[:rows], t=T[:rows]), found)
    assert (whole[:4] - model(X[:4], T[:4])).norm() < 0.3 * whole[:4].norm()


def test_files_keep_that(tmp_path):
    _, snn = converted()
    file = tmp_path / "fixed.snn.pt"
    snnconvert.save(snn, file)
    assert torch.equal(snnconvert.load(file)(X[:6], T[:6]), snn(X[:6], T[:6]))


@pytest.mark.parametrize(("rows", "counted"), [(90, 92), (8, 8), (3, 4)])
def test_calibration_counts_inputs_and_not_calls(rows, counted):
    _, snn = converted(rows=rows)
    assert snn.calibration["inputs"] == counted  # the last call is filled up


def test_reports_and_solvers_take_any_number():
    model, snn = converted()
    report = snnconvert.compare(model, snn, [(X[:10], T[:10])]).to_dict()
    assert report["images"] == 12 and report["output"]["bit_equal"]
    few, more = (snnconvert.sample(snn, shape=[n, 2], solver="ddim", steps=5, grid="uniform")
                 for n in (3, 9))  # fmt: skip
    assert torch.equal(few, more[:3])
    _, along = converted(
        path=snnconvert.SolverPath(prediction="x0", samples=6, steps=4, grid="uniform")
    )
    assert along.calibration["path"]["visited"] > 0


def test_moments_take_any_number():
    _, snn = converted()
    curve, same = (
        snnconvert.eps_second_moment(snn, [X[:rows]], times=3, seed=0) for rows in (8, 10)
    )
    assert all(float(v) > 0 for v in torch.as_tensor(curve).flatten())
    assert not torch.equal(torch.as_tensor(curve), torch.as_tensor(same))


def test_rows_that_depend_on_each_other_are_not_torn_apart():
    _, snn = converted(Mixing)
    assert snn(X[:4], T[:4]).shape == (4, 2)
    for rows in (1, 3, 8):
        with pytest.raises(InputError, match="captured for"):
            snn(X[:rows], T[:rows])
        with pytest.raises(InputError, match="captured for"):
            snn.quantized_ann()(X[:rows], T[:rows])


def test_no_rows_are_refused():
    with pytest.raises(InputError):
        converted()[1](X[:0], T[:0])


class Scaled(nn.Module):
    """(x [B, 3], a number) -> [B, 2]"""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)


class Timed(Scaled):
    def forward(self, x, t):
        return self.last(torch.relu(self.first(x) + t))


class Amplified(Scaled):
    def forward(self, x, gain):
        return self.last(torch.relu(self.first(x * gain)))


def one_number(kind):
    """A converted network captured with its number as [1], and three samples."""
    torch.manual_seed(0)
    call = torch.randn(32, 3), torch.ones(1)
    snn = snnconvert.convert(kind().eval(), 128, example_inputs=call, calibration=[call])
    return snn, call[0][:3]


def test_a_time_that_was_one_number_takes_one_a_sample():
    snn, x = one_number(Timed)
    t = torch.tensor([0.2, 1.0, 3.0])
    each = torch.cat([snn(x[i : i + 1], t[i : i + 1]) for i in range(3)])
    assert torch.equal(snn(x, t), each) and torch.equal(snn(x, t[:, None]), each)
    with pytest.raises(InputError, match="different sizes"):
        snn(x, t[:2])


def test_any_other_number_takes_none():
    """[3] beside [B, 3] are features to the module, and no number a sample."""
    snn, x = one_number(Amplified)
    with pytest.raises(InputError, match=r"gain.*found shape \[3\].*captured for \[1\]"):
        snn(x, torch.tensor([0.2, 1.0, 3.0]))


def test_a_batch_of_one_is_no_number():
    class One(Scaled):
        def forward(self, x):
            return self.last(torch.relu(self.first(x.reshape(1, 1).expand(1, 3))))

    x = torch.rand(1, 1)
    network = snnconvert.quantize(One(), 4, example_inputs=x, calibration=[x]).train()
    with pytest.raises(InputError, match=r"found shape \[4, 1\]"):
        network(torch.full((4, 1), 0.3))
