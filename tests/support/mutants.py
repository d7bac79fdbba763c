"""Broken files of every kind that is read: some bytes changed, or one value of what they hold."""

from __future__ import annotations

import io
import json
import random
import tomllib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from torch import nn

import snnconvert
from snnconvert.checkpoint.format import save_checkpoint
from snnconvert.checkpoint.networks import content_of
from snnconvert.models.spiking.unet import SpikingUNet
from tests.support.tiny_checkpoint import tiny_content

ESCAPES = "\x1b[2J\x07\n\u202eevil"
HOSTILE: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 255, 65536, 10**6, 2**31, 2**63, 10**30, -(10**30), 0.5,
    -0.0, 1e-308, 1e308, float("inf"), float("-inf"), float("nan"), "", "x", "aten.system.default",
    "__import__('os').system('touch pwned')", ESCAPES, "9" * 5000, "\ud800", b"bytes", [], {}, (),
    [[]], [None], {"a": 1}, {1: 2}, {"ref": "nowhere"}, {"tuple": []}, [0] * 1000, 1j, {3, 4},
    torch.float16, torch.Size([2, 3]), torch.zeros(0), torch.zeros(()), torch.ones(3, 3),
    torch.full((2, 2), float("nan")), torch.zeros(1).expand(10**9), torch.zeros(2, device="meta"),
    torch.eye(2).to_sparse(), torch.arange(4), torch.zeros(2, dtype=torch.complex64),
    torch.zeros(2, dtype=torch.bool), torch.zeros(2, dtype=torch.float64),
]  # fmt: skip


class RunsCode:
    """Unpickled with code allowed, it leaves a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("pwned"),))


class Small(nn.Module):
    """A denoiser of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x) + t[:, None, None, None] / 1000))


def write_seeds(folder: Path) -> list[Path]:
    """Sound files of every kind that is read."""
    torch.manual_seed(0)
    save_checkpoint(folder / "net.pt", tiny_content())
    spiking = SpikingUNet(2, channels=4, channel_mult=(1,), blocks=1, in_channels=1,
                          diffusion_steps=20)  # fmt: skip
    save_checkpoint(folder / "native.pt", content_of(spiking))
    model, inputs = Small().eval(), (torch.randn(4, 1, 4, 4), torch.rand(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snn = snnconvert.convert(model, 2, example_inputs=inputs, calibration=[inputs])
    snnconvert.save(snn, folder / "net.snn.pt")
    batch = {0: torch.export.Dim("batch", min=2, max=64)}
    torch.export.save(torch.export.export(model, inputs, dynamic_shapes=(batch, batch)),
                      folder / "net.pt2")  # fmt: skip
    np.savez(folder / "images.npz", samples=np.zeros((5, 4, 4, 1), dtype=np.uint8))
    np.savez(folder / "stats.npz", mu=np.zeros(64), sigma=np.eye(64))
    (folder / "recipe.toml").write_text(tomli_w.dumps(tiny_content()["recipe"]))
    names = ("net.pt", "native.pt", "net.snn.pt", "net.pt2", "images.npz", "stats.npz",
             "recipe.toml")  # fmt: skip
    return [folder / name for name in names]


def mutant(seed: Path, rng: random.Random) -> bytes:
    """`seed` broken at random."""
    change = rng.choice([changed_bytes, *[STRUCTURED[seed.suffix]] * 3])
    return change(seed.read_bytes(), rng)


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """A few bytes flipped, cut, doubled, or put in."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        at, size = rng.randrange(len(data) + 1), rng.choice([1, 1, 4, 100, 5000])
        kind = rng.randrange(5)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        elif kind == 3:
            data[at:at] = rng.randbytes(size)
        else:
            del data[at:]
    return bytes(data)


def changed_value(value: Any, rng: random.Random, pool: list[Any] = HOSTILE) -> Any:
    """`value`, which is changed in place, with one item somewhere inside replaced or gone."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[key]
        kind = rng.randrange(12)
        if isinstance(inner, dict | list) and kind > 1:
            value[key] = changed_value(inner, rng, pool)
        elif kind == 0:
            del value[key]
        elif kind == 1 and isinstance(value, dict):
            value[rng.choice(["extra", ESCAPES, "config", "", 5])] = inner
        elif kind == 1:
            value.append(inner)
        else:
            value[key] = changed_leaf(inner, rng, pool)
        return value
    return rng.choice(pool)


def changed_leaf(value: Any, rng: random.Random, pool: list[Any]) -> Any:
    """One value in place of another, near to it or not."""
    plain = isinstance(value, torch.Tensor) and value.layout == torch.strided
    if plain and not value.is_meta and value.numel() < 10**8 and rng.random() < 0.6:
        changes: list[Callable[[], Any]] = [
            lambda: value[:1] if value.ndim else value,
            lambda: value[None],
            lambda: value.double(),
            lambda: value.to(torch.int64),
            lambda: torch.full_like(value, rng.choice([1, 0, 7])),
            lambda: (value.float() * rng.choice([float("nan"), float("inf"), 1e38, -1.0])).to(
                torch.float32
            ),
            lambda: value.transpose(0, -1) if value.ndim else value,
        ]
        return rng.choice(changes)()
    if type(value) in (int, float) and rng.random() < 0.5:
        return rng.choice([value + 1, value - 1, -value, value * 1000, value * 10**12])
    if isinstance(value, str) and value and rng.random() < 0.5:
        return rng.choice([value[:-1], value + value, value.upper(), value + ESCAPES])
    return rng.choice(pool)


def changed_checkpoint(content: bytes, rng: random.Random) -> bytes:
    held = torch.load(io.BytesIO(content), weights_only=True)
    held = dict(held)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        held = changed_value(held, rng, [*HOSTILE, RunsCode()] if rng.random() < 0.1 else HOSTILE)
        if not isinstance(held, dict | list):
            break
    saved = io.BytesIO()
    torch.save(held, saved)
    return saved.getvalue()


PLAIN = [value for value in HOSTILE if isinstance(value, bool | int | float | str | None)]


def changed_archive(content: bytes, rng: random.Random) -> bytes:
    """A zip with one member changed: of a JSON one value, else some bytes; sums stay right."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        chosen = rng.choice([n for n in names if n.endswith(".json")] * 3 + names)
        for name in names:
            data = old.read(name)
            if name == chosen:
                if rng.random() < 0.05:
                    continue
                data = changed_json(data, rng) if name.endswith(".json") else changed(data, rng)
            new.writestr(name, data)
    return made.getvalue()


def changed(data: bytes, rng: random.Random) -> bytes:
    return changed_bytes(data, rng) if data else rng.randbytes(3)


def changed_json(data: bytes, rng: random.Random) -> bytes:
    held = json.loads(data)
    for _ in range(rng.choice([1, 1, 2])):
        held = changed_value(held, rng, [*PLAIN, [], {}])
    try:
        return json.dumps(held).encode()
    except UnicodeEncodeError:
        return data[:-1]


def changed_npz(content: bytes, rng: random.Random) -> bytes:
    """Another type, shape or name of an array, or a member changed."""
    if rng.random() < 0.5:
        return changed_archive(content, rng)
    with np.load(io.BytesIO(content)) as held:
        arrays = dict(held)
    name = rng.choice(list(arrays))
    array = arrays[name]
    changes: list[Callable[[], Any]] = [
        lambda: array.astype(rng.choice([np.float64, np.int8, np.complex64, np.bool_, "U3"])),
        lambda: array.reshape(-1), lambda: array[None], lambda: array[:0], lambda: array.T,
        lambda: np.array([{}, None], dtype=object), lambda: array[..., :-1],
        lambda: array * np.array(rng.choice([np.nan, np.inf, -1, 1e300])),
    ]  # fmt: skip
    arrays[rng.choice([name, name, "samples", "mu", "other"])] = rng.choice(changes)()
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


def changed_toml(content: bytes, rng: random.Random) -> bytes:
    held = tomllib.loads(content.decode())
    for _ in range(rng.choice([1, 1, 2, 3])):
        held = changed_value(held, rng, [v for v in PLAIN if v is not None] + [[], [1], {}])
    try:
        return tomli_w.dumps(held).encode()
    except (AttributeError, TypeError, UnicodeEncodeError, ValueError):
        return b"= \x00" + content[: rng.randrange(len(content))]


STRUCTURED = {".pt": changed_checkpoint, ".pt2": changed_archive, ".npz": changed_npz,
              ".toml": changed_toml}  # fmt: skip
