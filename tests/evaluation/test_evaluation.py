"""Laws of the evaluation's numbers and sources; no Inception is needed here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from snnconvert.errors import DataError, InputError
from snnconvert.evaluation.metrics.accuracy import accuracy
from snnconvert.evaluation.metrics.fid import frechet_distance
from snnconvert.evaluation.metrics.gaussian import Statistics, holds_statistics, load_statistics
from snnconvert.evaluation.metrics.inception_score import InceptionScore
from snnconvert.evaluation.metrics.running_gaussian import RunningGaussian
from snnconvert.images.sources import open_source


def random_statistics(dims: int, count: int, seed: int, shift: float = 0.0) -> Statistics:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, dims)) @ rng.normal(size=(dims, dims)) + shift
    return Statistics(rows.mean(0), np.cov(rows, rowvar=False), count, f"seed {seed}")


# ---- moments


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(lambda s: sum(s) >= 2),
    dims=st.integers(1, 6),
    offset=st.sampled_from([0.0, 1.0, 1e6]),
    seed=st.integers(0, 1000),
)
def test_streaming_moments_equal_numpys_for_any_batching(sizes, dims, offset, seed):
    rows = np.random.default_rng(seed).normal(size=(sum(sizes), dims)) + offset
    moments = RunningGaussian(dims)
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        moments.add(part)
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-12, atol=1e-12)
    wanted = np.cov(rows, rowvar=False).reshape(dims, dims)
    np.testing.assert_allclose(moments.covariance(), wanted, rtol=1e-7, atol=1e-9)


def test_a_large_mean_does_not_cancel_the_covariance():
    rows = np.random.default_rng(0).normal(size=(1000, 3)) * 1e-3 + 1e5
    moments = RunningGaussian(3)
    for part in np.split(rows, 10):
        moments.add(part)
    np.testing.assert_allclose(moments.covariance(), np.cov(rows.T), rtol=1e-5, atol=1e-11)


def test_moments_refuse_other_shapes_and_single_vectors():
    moments = RunningGaussian(3)
    with pytest.raises(InputError, match=r"found shape \(2, 4\)"):
        moments.add(np.zeros((2, 4)))
    moments.add(np.zeros((1, 3)))
    with pytest.raises(InputError, match="at least 2"):
        moments.covariance()


# ---- Fréchet distance


@pytest.mark.parametrize(("dims", "count"), [(1, 20), (8, 100), (64, 200), (64, 10)])
def test_distance_of_equal_statistics_is_zero_even_where_singular(dims, count):
    if dims == 1:
        one = Statistics(np.zeros(1), np.ones((1, 1)))
    else:
        one = random_statistics(dims, count, seed=1, shift=3.0)
    assert frechet_distance(one, one) <= 1e-10 * np.trace(one.covariance)


@pytest.mark.parametrize("count", [500, 6])
def test_distance_is_symmetric_and_not_negative(count):
    first, second = random_statistics(16, count, 1), random_statistics(16, count, 2, 0.5)
    there, back = frechet_distance(first, second), frechet_distance(second, first)
    assert there == pytest.approx(back, rel=1e-10)
    assert there > 0


def test_distance_of_gaussians_in_closed_form():
    """Diagonal covariances commute: |m1 - m2|^2 + sum (s1 - s2)^2, also rotated."""
    rng = np.random.default_rng(3)
    m1, m2, s1, s2 = rng.normal(size=(4, 12))
    s1[:3] = 0  # singular
    turn, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    first = Statistics(turn @ m1, (turn * s1**2) @ turn.T)
    second = Statistics(turn @ m2, (turn * s2**2) @ turn.T)
    wanted = ((m1 - m2) ** 2).sum() + ((abs(s1) - abs(s2)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [400, 33])
def test_distance_agrees_with_pytorch_fid(count):
    other = pytest.importorskip("pytorch_fid.fid_score")
    first, second = random_statistics(32, count, 5), random_statistics(32, count, 6, 0.3)
    wanted = other.calculate_frechet_distance(
        first.mean, first.covariance, second.mean, second.covariance
    )
    assert frechet_distance(first, second) == pytest.approx(wanted, rel=1e-6)


def test_distance_refuses_other_feature_sizes():
    with pytest.raises(InputError, match=r"8 features .* 9"):
        frechet_distance(random_statistics(8, 20, 0), random_statistics(9, 20, 0))


# ---- statistics files


def test_statistics_round_trip_through_both_readers(tmp_path):
    other = pytest.importorskip("pytorch_fid.fid_score")
    ours = Statistics(
        *(lambda s: (s.mean, s.covariance))(random_statistics(64, 100, 0)),
        count=100,
        source="où",
        image_size=(28, 32),
        weights="ab12",
    )
    path = tmp_path / "ours.npz"
    ours.save(path)
    assert holds_statistics(path)
    mean, covariance = other.compute_statistics_of_path(str(path), None, 1, 64, "cpu")
    assert np.array_equal(mean, ours.mean) and np.array_equal(covariance, ours.covariance)
    back = load_statistics(path)
    assert np.array_equal(back.covariance, ours.covariance)
    assert (back.count, back.source, back.image_size, back.weights) == (100, "où", (28, 32), "ab12")
    np.savez_compressed(tmp_path / "theirs.npz", mu=mean, sigma=covariance)  # as its save_fid_stats
    theirs = load_statistics(tmp_path / "theirs.npz")
    assert theirs.dims == 64 and theirs.count == 0 and not theirs.singular
    assert frechet_distance(ours, theirs) < 1e-9


def test_damaged_or_foreign_statistics_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    good, nan = np.eye(3), np.full((3, 3), np.nan)
    for keys, message in [
        ({"samples": np.zeros(3)}, "keys mu and sigma"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"shape \(3,\)"),
        ({"mu": np.zeros(3), "sigma": nan}, "NaN"),
        ({"mu": np.zeros(3), "sigma": np.triu(np.ones((3, 3)))}, "not symmetric"),
        ({"mu": np.zeros(3), "sigma": good, "image_size": np.zeros(5)}, "damaged"),
        ({"mu": np.array([object()], dtype=object), "sigma": good}, "no readable"),
    ]:
        np.savez(path, **keys)
        with pytest.raises(DataError, match=message):
            load_statistics(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="no readable"):
        load_statistics(path)
    with pytest.raises(DataError, match="no readable"):
        load_statistics(tmp_path / "absent.npz")
    assert not holds_statistics(tmp_path / "absent.npz")


# ---- Inception Score


def scored(p: np.ndarray, batch: int, splits: int):
    score = InceptionScore(len(p), splits)
    for first in range(0, len(p), batch):
        score.add(p[first : first + batch])
    return score.result()


def test_score_of_certain_balanced_answers_is_the_number_of_classes():
    assert scored(np.tile(np.eye(5), (8, 1)), 3, 1).mean == pytest.approx(5)
    assert scored(np.full((40, 5), 0.2), 7, 4).mean == pytest.approx(1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(count=st.integers(1, 40), batch=st.integers(1, 41), splits=st.integers(1, 10))
def test_score_equals_its_definition_for_any_batching(count, batch, splits):
    p = np.random.default_rng(count).dirichlet(np.full(6, 0.3), size=count)
    found = scored(p, batch, splits)
    assert found.splits == (splits if count >= splits else 1)
    parts = np.array_split(p, found.splits) if count % found.splits == 0 else None
    if parts is not None:
        wanted = [np.exp((q * np.log((q + 1e-300) / q.mean(0))).sum(1).mean()) for q in parts]
        assert found.mean == pytest.approx(np.mean(wanted), rel=1e-9)
        assert found.std == pytest.approx(np.std(wanted), rel=1e-6, abs=1e-9)


def test_score_wants_exactly_the_announced_images():
    score = InceptionScore(4)
    score.add(np.full((3, 2), 0.5))
    with pytest.raises(InputError, match="3 of 4"):
        score.result()
    with pytest.raises(InputError, match="more than"):
        score.add(np.full((2, 2), 0.5))


# ---- accuracy


def test_accuracy_counts_right_answers_and_restores_the_mode():
    network = nn.Sequential(nn.Dropout(0.9), nn.Identity()).train()
    logits = torch.tensor([[3.0, 1, 2], [0, 1, 2], [5, 4, 3], [1, 2, 3]])
    labels = torch.tensor([0, 2, 1, 0])
    batches = [(logits[:3], labels[:3]), (logits[3:], labels[3:])]
    assert accuracy(network, batches) == 0.5
    assert accuracy(network, batches, top=2) == 0.75
    assert accuracy(network, batches, top=3) == 1
    assert network.training


@pytest.mark.parametrize(
    ("logits", "labels", "top", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), 1, "needed are"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), 1, "labels must be"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), 1, "labels must be"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), 4, "top: found 4, allowed are integers 1"),
        (torch.full((2, 3), torch.nan), torch.tensor([0, 1]), 1, "NaN"),
    ],
)
def test_accuracy_refuses_what_does_not_fit(logits, labels, top, message):
    with pytest.raises(InputError, match=message):
        accuracy(lambda x: x, [(logits, labels)], top)
    with pytest.raises(InputError, match="no images"):
        accuracy(lambda x: x, [])


# ---- sources


def write_images(folder, sizes, mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{number:03}.png")


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_folder_yields_every_image_unchanged_in_order(tmp_path, batch):
    write_images(tmp_path / "a", [(6, 4)] * 5)
    source = open_source(str(tmp_path / "a"), tmp_path)
    assert len(source) == 5 and source.image_size == (4, 6)
    calls: list[int] = []
    found = torch.cat(list(source.batches(batch, 5, calls.append)))
    assert not calls  # stored images take no network
    wanted = [np.array(Image.open(f)) for f in sorted((tmp_path / "a").iterdir())]
    assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), np.stack(wanted))


def test_mixed_sizes_need_a_size(tmp_path):
    write_images(tmp_path, [(6, 4), (8, 8)])
    with pytest.raises(DataError, match=r"6 x 4: 000.png; 8 x 8: 001.png.*--image-size"):
        open_source(str(tmp_path), tmp_path)
    source = open_source(str(tmp_path), tmp_path, 5)
    assert torch.cat(list(source.batches(1, 2))).shape == (2, 3, 5, 5)


def test_unusable_folders_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        open_source(str(tmp_path / "empty"), tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a.png: not a readable image"):
        open_source(str(tmp_path / "broken"), tmp_path)
    with pytest.raises(DataError, match="did you mean 'cifar10'"):
        open_source("cifra10", tmp_path)
    with pytest.raises(InputError, match="cifar10:train and cifar10:test"):
        open_source("cifar10:valid", tmp_path)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "shape", [(7, 4, 5), (7, 4, 5, 1), (7, 4, 5, 3), (7, 1, 4, 5), (7, 3, 4, 5)]
)
def test_archive_streams_every_layout(tmp_path, shape, compressed):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "s.npz", samples=pixels)
    source = open_source(str(tmp_path / "s.npz"), tmp_path)
    assert len(source) == 7 and source.image_size == (4, 5)
    found = torch.cat(list(source.batches(3, 7))).numpy()
    assert found.shape == (7, source.channels, 4, 5)
    if len(shape) == 3:
        pixels = pixels[:, None]
    elif shape[-1] in (1, 3):
        pixels = pixels.transpose(0, 3, 1, 2)
    assert np.array_equal(found, pixels)
    assert np.array_equal(torch.cat(list(source.batches(2, 3))).numpy(), pixels[:3])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"images": np.zeros((2, 4, 4, 3), np.uint8)}, "expected under the key samples"),
        ({"mu": np.zeros(3)}, "these are statistics"),
        ({"samples": np.zeros((2, 4, 4, 3), np.float32)}, "needed are uint8"),
        ({"samples": np.zeros((2, 4, 4, 2), np.uint8)}, "needed are uint8"),
        ({"samples": np.zeros((0, 4, 4, 3), np.uint8)}, "N from 1 up"),
        ({"samples": np.asfortranarray(np.zeros((2, 4, 4, 3), np.uint8))}, "C order"),
    ],
)
def test_archives_of_something_else_are_refused(tmp_path, keys, message):
    np.savez(tmp_path / "s.npz", **keys)
    with pytest.raises(DataError, match=message):
        open_source(str(tmp_path / "s.npz"), tmp_path)


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "s.npz"
    rng = np.random.default_rng(0)
    np.savez_compressed(path, samples=rng.integers(0, 256, (9, 8, 8, 3), dtype=np.uint8))
    whole = bytearray(path.read_bytes())
    path.write_bytes(whole[:100])
    with pytest.raises(DataError, match="no readable"):
        open_source(str(path), tmp_path)
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(DataError, match="damaged"):
        list(open_source(str(path), tmp_path).batches(2, 9))


def test_identity_changes_with_the_images(tmp_path):
    folder = tmp_path / "a"
    write_images(folder, [(6, 6)] * 3)
    before = open_source(str(folder), tmp_path).identity()
    assert open_source(str(folder), tmp_path).identity() == before
    assert open_source(str(folder), tmp_path, 6).identity() != before
    write_images(folder, [(6, 6)] * 4)
    assert open_source(str(folder), tmp_path).identity() != before
