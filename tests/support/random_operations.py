"""Random calls of the operations of the rule table: their arguments, from their schemas.

An operation of the table, an own one too, is called with what its schema asks for; whether the
arguments fit is found out by trying. What needs weights of matching shapes is in `random_layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.rules import RULES
from snnconvert.conversion.rules.registry import function_of
from tests.support.rule_cases import JUMPS, unary

# not small where their argument is (1/x, tan): the error need not fall with T there
STEEP = (
    "reciprocal rsqrt tan log log2 log10 acos asin atanh acosh atan2 hardshrink threshold "
    "cosine_similarity sqrt addcdiv"
)
SHARP = {*JUMPS, *unary(STEEP)} | {
    "aten.div.Tensor", "aten.pow.Tensor_Tensor", "aten.where.self", "aten.norm.Scalar",
    "aten.masked_fill.Tensor", "aten.gather.default",
}  # fmt: skip
ELSEWHERE = {  # made by layers, or of no floats: by name, why
    "aten.fake_quantize_per_tensor_affine.default": "levels of its own",
    "aten.fake_quantize_per_tensor_affine.tensor_qparams": "levels of its own",
    "aten.fake_quantize_per_channel_affine.default": "levels of its own",
    "snnconvert.quantized_clip.default": "levels of its own",
    "aten.getitem": "what reads operations of several results",
    "aten.lift_fresh_copy.default": "of constants",
}


# read what their arguments say without looking whether it is there
TRUSTING = ("aten._", "aten.native_", "aten.batch_norm.", "aten.instance_norm.")


class Batch:
    """Stands for the size of the batch among the sizes of a call."""

    def __repr__(self) -> str:
        return "B"


BATCH = Batch()


@dataclass(frozen=True)
class Reads:
    """Stands for one of the values that a call reads."""

    index: int


@dataclass(frozen=True)
class Call:
    """One operation with its arguments, some of which stand for values and the batch."""

    op: str
    args: tuple[Any, ...]
    reads: int

    def __call__(self, *values: Tensor) -> Any:
        def real(argument: Any) -> Any:
            if isinstance(argument, list):
                return [real(item) for item in argument]
            if isinstance(argument, Reads):
                return values[argument.index]
            return values[0].shape[0] if argument is BATCH else argument

        return function_of(self.op)(*map(real, self.args))


def callable_operations() -> list[str]:
    """Operations of the table that a spike may reach and that a schema describes."""
    found = [op for op, rule in RULES.items() if rule.kind not in ("static", "refused")]
    public = [op for op in found if not op.startswith(TRUSTING)]
    return sorted(op for op in public if op not in ELSEWHERE)


def factors(size: int, random: Random) -> list[int]:
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    first = random.choice(divisors)
    return [first, size // first]


def axis(random: Random, value: Tensor) -> int:
    found = random.randrange(1, max(2, value.ndim))
    return found - value.ndim if random.random() < 0.3 else found


def integer(name: str, value: Tensor, random: Random) -> int:
    if name in ("dim", "dim0", "dim1", "dim2", "axis", "axis0", "axis1", "dimension", "source",
                "destination"):  # fmt: skip
        return axis(random, value)
    if name in ("upscale_factor", "downscale_factor", "groups", "sections", "chunks", "repeats"):
        return 2
    return random.randrange(1, 3)


def integers(op: str, name: str, value: Tensor, random: Random) -> list[Any] | None:
    spatial = max(1, value.ndim - 2)
    tail = list(value.shape[1:])
    if name in ("kernel_size", "output_size", "dilation"):
        count = next((int(d) for d in "123" if f"{d}d" in op), 2)
        return [random.randrange(1, 4) if name != "dilation" else 1 for _ in range(count)]
    if name in ("pad", "padding"):
        if "pad" in op.split(".")[1]:
            count = next((int(d) for d in "123" if f"{d}d" in op), random.randrange(1, spatial + 1))
            return [random.randrange(0, 2) for _ in range(2 * count)]
        return [0] * spatial
    if name in ("dim", "dims"):
        if op in ("aten.permute.default",):
            order = list(range(1, value.ndim))
            random.shuffle(order)
            return [0, *order]
        return sorted({axis(random, value) for _ in range(random.randrange(1, 3))})
    if name in ("shape", "size", "sizes", "split_sizes"):
        if "split" in op or "unflatten" in op:
            return None
        if op == "aten.expand.default":
            return [BATCH, *tail]
        rest = int(torch.Size(tail).numel())
        return random.choice([[BATCH, -1], [BATCH, *factors(rest, random)], [BATCH, *tail[::-1]]])
    if name == "repeats" or (name == "dims" and "tile" in op):
        return [1, *(random.randrange(1, 3) for _ in tail)]
    if name == "normalized_shape":
        return tail[-random.randrange(1, len(tail) + 1):] if tail else None  # fmt: skip
    if name == "shifts":
        return [random.randrange(1, 3)]
    return [random.randrange(1, 3)] * spatial


def sized_integers(op: str, name: str, value: Tensor, dim: int) -> list[int] | None:
    """Sizes that must add up or multiply to that of an axis."""
    size = value.shape[dim]
    if "unflatten" in op:
        return [2, size // 2] if size % 2 == 0 else [1, size]
    return [1, size - 1] if size > 1 else None


def tensor(
    op: str, name: str, value: Tensor, random: Random, other: Callable[[], Reads]
) -> Any | None:
    """A tensor argument beside the first: a constant, or another value."""
    g = torch.Generator().manual_seed(random.randrange(1 << 30))
    if name in ("mask", "condition") or ("where" in op and name == "self"):
        return torch.rand(value.shape[1:], generator=g) > 0.5
    if name in ("index", "indices"):
        dim = 1 if value.ndim > 1 else 0
        if op in ("aten.gather.default", "aten.scatter_add.default", "aten.scatter.src"):
            return None
        return torch.randint(value.shape[dim], (random.randrange(1, 4),), generator=g)
    if name in ("exponent",):
        return torch.rand(value.shape[1:], generator=g).to(value.dtype) + 0.5
    if random.random() < 0.3:
        return (torch.rand(value.shape[1:], generator=g) + 0.3).to(value.dtype)
    return other()


def number(name: str, random: Random) -> float:
    if name == "p":
        return 2.0
    return random.choice([0.5, 2.0, 0.3, 1.0, -0.7]) if name not in ("beta",) else 1.0


def random_call(op: str, values: Sequence[Tensor], random: Random) -> tuple[Call, list[int]] | None:
    """A call of `op`, whose first tensor is the first of `values`, and which of them it reads."""
    value = values[0]
    schema = getattr(function_of(op), "_schema", None)
    if schema is None:
        return None
    reads = [0]
    alike = [i for i, v in enumerate(values) if v.shape == value.shape and v.dtype == value.dtype]

    def other() -> Reads:
        reads.append(random.choice(alike))
        return Reads(len(reads) - 1)

    args: list[Any] = []
    for position, argument in enumerate(schema.arguments):
        kind, name = str(argument.type), argument.name
        if argument.kwarg_only:
            break
        if (
            position
            and argument.has_default_value()
            and "scale" not in name
            and random.random() < 0.8
        ):
            break
        scaled = op.endswith(".vec") and name == "output_size"
        made = None if scaled else made_argument(op, kind, name, value, random, args, other)
        if made is None and not kind.startswith("Optional"):
            return None
        args.append(made)
    return Call(op, tuple(args), len(reads)), reads


def made_argument(
    op: str, kind: str, name: str, value: Tensor, random: Random, before: list[Any],
    other: Callable[[], Reads],
) -> Any:  # fmt: skip
    """An argument of `kind` and `name`; None where nothing is known."""
    bare = kind.removeprefix("Optional[").rstrip("]") if kind.startswith("Optional") else kind
    if bare == "Tensor":
        first = not any(isinstance(a, Reads) for a in before)
        if first and not ("where" in op and name == "condition"):
            return Reads(0)
        return tensor(op, name, value, random, other)
    if bare == "List[Tensor]" or bare == "List[Optional[Tensor]]" or bare == "List[Tensor":
        if "index" in op:
            return [None, tensor(op, "index", value, random, other)]
        return [Reads(0), *(other() for _ in range(random.randrange(1, 3)))]
    if bare in ("List[int]", "List[int"):
        if name in ("sizes", "split_sizes", "split_size") or "unflatten" in op:
            dims = [a for a in before if isinstance(a, int)]
            return sized_integers(op, name, value, dims[0] if dims else 0)
        return integers(op, name, value, random)
    if bare in ("List[float]", "List[float"):
        return [random.choice([1.5, 2.0])] * max(1, value.ndim - 2)
    if bare == "int":
        if "dtype" in name:
            return value.dtype
        return integer(name, value, random)
    if bare in ("float", "number"):
        return number(name, random)
    if bare == "bool":
        return random.random() < 0.5
    return None
