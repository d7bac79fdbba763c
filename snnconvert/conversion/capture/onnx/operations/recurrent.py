"""RNN, GRU and LSTM, unrolled into cells over a fixed length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import SYMBOLIC, Call
from snnconvert.conversion.capture.onnx.steps.registry import operation

Function = Callable[[Tensor], Tensor]
LONGEST = 2048  # steps
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
ALPHAS = {"LeakyRelu": 0.01, "Elu": 1.0, "HardSigmoid": 0.2, "ThresholdedRelu": 1.0}


def function(name: str, alpha: float | None, beta: float | None) -> Function:
    """An activation of a cell."""
    a = ALPHAS.get(name, 1.0) if alpha is None else alpha
    b = (0.5 if name == "HardSigmoid" else 0.0) if beta is None else beta
    return {
        "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Relu": torch.relu,
        "Softsign": F.softsign, "Softplus": F.softplus,
        "LeakyRelu": lambda x: F.leaky_relu(x, a), "Elu": lambda x: F.elu(x, a),
        "HardSigmoid": lambda x: (a * x + b).clamp(0, 1), "Affine": lambda x: a * x + b,
        "ScaledTanh": lambda x: a * torch.tanh(b * x),
        "ThresholdedRelu": lambda x: F.threshold(x, a, 0.0),
    }[name]  # fmt: skip


class Layer:
    """What the directions of one layer share."""

    def __init__(self, call: Call, kind: str) -> None:
        self.call = call
        self.kind = kind
        x = call.tensor(0)
        self.x = x.transpose(0, 1) if call.attribute("layout", 0) else x
        self.length = self.x.shape[0]
        if isinstance(self.length, SYMBOLIC) or self.length > LONGEST:
            call.refuse(
                f"its length is {'not fixed' if isinstance(self.length, SYMBOLIC) else self.length}"
                f", it can be unrolled where that is fixed, at most {LONGEST}",
                "export the network for sequences of one length",
            )
        self.direction = call.attribute("direction", "forward")
        self.directions = 2 if self.direction == "bidirectional" else 1
        self.hidden = call.attribute("hidden_size") or int(call.value(2).shape[-1])
        self.limit = call.attribute("clip")
        self._check_lengths()

    def _check_lengths(self) -> None:
        if self.call.has(4) and (self.call.host(4) != self.length).any():
            self.call.refuse("its sequences have lengths of their own", "pad them to one length")

    def functions(self, direction: int) -> list[Function]:
        usual = DEFAULTS[self.kind]
        names = self.call.attribute("activations") or usual * self.directions
        alphas = list(self.call.attribute("activation_alpha") or [])
        betas = list(self.call.attribute("activation_beta") or [])
        found = []
        for name in names:
            alpha = alphas.pop(0) if alphas and name in (*ALPHAS, "Affine", "ScaledTanh") else None
            takes_beta = name in ("HardSigmoid", "Affine", "ScaledTanh")
            beta = betas.pop(0) if betas and takes_beta else None
            found.append(self._clipped(function(name, alpha, beta)))
        return found[direction * len(usual) : (direction + 1) * len(usual)]

    def _clipped(self, inner: Function) -> Function:
        limit = self.limit
        return inner if not limit else lambda x: inner(x.clamp(-limit, limit))

    def part(self, index: int, role: str, direction: int) -> Tensor | None:
        """One direction's share of a weight."""
        if not self.call.has(index):
            return None
        name = f"{role}_{direction}" if self.directions > 1 else role
        if self.call.is_constant(index):
            return self.call.weight(index, name, lambda array: array[direction])
        return self.call.tensor(index)[direction]

    def state(self, index: int, direction: int) -> Tensor:
        if self.call.has(index):
            states = self.call.tensor(index)
            return states[:, direction] if self.call.attribute("layout", 0) else states[direction]
        return self.x.new_zeros([self.x.shape[1], self.hidden])

    def run(self, cell: Callable[[Layer, int], Any]) -> tuple[Tensor, ...]:
        """All outputs: of every step, and the last states."""
        rows, lasts = [], []
        for direction in range(self.directions):
            backwards = self.direction == "reverse" or direction == 1
            step, states = cell(self, direction)
            found: list[Any] = [None] * self.length
            order = reversed(range(self.length)) if backwards else range(self.length)
            for at in order:
                states = step(at, *states)
                found[at] = states[0]
            rows.append(torch.stack(found))
            lasts.append(states)
        first_batch = bool(self.call.attribute("layout", 0))
        every = torch.stack(rows, 1)
        every = every.permute(2, 0, 1, 3) if first_batch else every
        ends = [torch.stack(list(e), 1 if first_batch else 0) for e in zip(*lasts, strict=True)]
        return every, *ends

    def weights(self, direction: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """What multiplies the inputs, what the state, and both biases."""
        weight, recurrent = (
            self.part(1, "weight", direction), self.part(2, "recurrent", direction)
        )  # fmt: skip
        if weight is None or recurrent is None:
            self.call.refuse("has no weights", "repair the file")
        return weight, recurrent, self.part(3, "bias", direction)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Of inputs or of a state with a weight."""
        return F.linear(x, weight, bias)


@operation("RNN")
def rnn(call: Call) -> tuple[Tensor, ...]:
    return Layer(call, "RNN").run(_rnn_cell)


def _rnn_cell(layer: Layer, direction: int) -> Any:
    weight, recurrent, biases = layer.weights(direction)
    bias = None if biases is None else biases[: layer.hidden] + biases[layer.hidden :]
    (activation,) = layer.functions(direction)
    fed = layer.product(layer.x, weight, bias)

    def step(at: int, h: Tensor) -> tuple[Tensor]:
        return (activation(fed[at] + layer.product(h, recurrent)),)

    return step, (layer.state(5, direction),)


@operation("GRU")
def gru(call: Call) -> tuple[Tensor, ...]:
    return Layer(call, "GRU").run(_gru_cell)


def _gru_cell(layer: Layer, direction: int) -> Any:
    """Gates z, r, h; the reset gate acts before or behind the recurrent product."""
    weight, recurrent, biases = layer.weights(direction)
    size = layer.hidden
    fed_bias = None if biases is None else biases[: 3 * size]
    own = torch.zeros(3 * size) if biases is None else biases[3 * size :]
    gate, activation = layer.functions(direction)
    fed = layer.product(layer.x, weight, fed_bias)
    behind = layer.call.attribute("linear_before_reset", 0)
    gates, last = recurrent[: 2 * size], recurrent[2 * size :]

    def step(at: int, h: Tensor) -> tuple[Tensor]:
        x = fed[at]
        z, r = gate(x[:, : 2 * size] + layer.product(h, gates, own[: 2 * size])).chunk(2, 1)
        if behind:
            inner = r * layer.product(h, last, own[2 * size :])
        else:
            inner = F.linear(r * h, last, own[2 * size :])
        new = activation(x[:, 2 * size :] + inner)
        return ((1 - z) * new + z * h,)

    return step, (layer.state(5, direction),)


@operation("LSTM")
def lstm(call: Call) -> tuple[Tensor, ...]:
    return Layer(call, "LSTM").run(lstm_cell)


def lstm_cell(layer: Layer, direction: int) -> Any:
    """Gates i, o, f, c; peepholes i, o, f."""
    weight, recurrent, biases = layer.weights(direction)
    size = layer.hidden
    bias = None if biases is None else biases[: 4 * size] + biases[4 * size :]
    peep = layer.part(7, "peephole", direction)
    gate, activation, outer = layer.functions(direction)
    fed = layer.product(layer.x, weight, bias)
    coupled = layer.call.attribute("input_forget", 0)

    def step(at: int, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, o, f, new = (fed[at] + layer.product(h, recurrent)).split(size, 1)
        if peep is not None:
            i, f = i + peep[:size] * c, f + peep[2 * size :] * c
        i = gate(i)
        f = 1 - i if coupled else gate(f)
        c = f * c + i * activation(new)
        o = o if peep is None else o + peep[size : 2 * size] * c
        return gate(o) * outer(c), c

    return step, (layer.state(5, direction), layer.state(6, direction))
