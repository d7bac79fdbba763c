"""The Inception Score of a stream of class probabilities (Salimans et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from snnconvert.common.checks import checked_integer
from snnconvert.errors import InputError

SPLITS = 10  # as in the paper; the score depends on it


@dataclass(frozen=True)
class Score:
    """Mean and standard deviation over `splits` parts of the images."""

    mean: float
    std: float
    splits: int


class InceptionScore:
    """exp(E KL(p(y|x) || p(y))) per part, from sums alone.

    Since E KL(p(y|x) || p(y)) = H(p(y)) - E H(p(y|x)), a part needs the sum of its probabilities
    and of its entropies only. Image i of `count` belongs to part i * splits // count.

    Args:
        count: images that will come, in order.
        splits: parts; with fewer images than parts there is one part.
    """

    def __init__(self, count: int, splits: int = SPLITS) -> None:
        self.count = checked_integer("Inception Score: images", count, 1)
        splits = checked_integer("Inception Score: splits", splits, 1)
        self.splits = splits if count >= splits else 1
        self.seen = 0
        self.images = np.zeros(self.splits)
        self.entropy = np.zeros(self.splits)
        self.sums: np.ndarray | None = None

    def add(self, probabilities: ArrayLike) -> None:
        """Take in class probabilities [B, classes] of the next B images."""
        p = np.asarray(probabilities, dtype=np.float64)
        if self.seen + len(p) > self.count:
            raise InputError(f"Inception Score: more than the announced {self.count} images")
        if self.sums is None:
            self.sums = np.zeros((self.splits, p.shape[1]))
        part = (self.seen + np.arange(len(p))) * self.splits // self.count
        np.add.at(self.sums, part, p)
        np.add.at(self.entropy, part, entropy(p))
        np.add.at(self.images, part, 1)
        self.seen += len(p)

    def result(self) -> Score:
        """The score; InputError unless every announced image has come."""
        if self.sums is None or self.seen != self.count:
            raise InputError(f"Inception Score: found {self.seen} of {self.count} images")
        whole = entropy(self.sums / self.images[:, None])
        scores = np.exp(whole - self.entropy / self.images)
        return Score(float(scores.mean()), float(scores.std()), self.splits)


def entropy(p: np.ndarray) -> np.ndarray:
    """-sum p log p over the last axis, with 0 log 0 = 0."""
    result: np.ndarray = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1)
    return result
