"""Recurrent layers whose products onnxruntime's quantiser has made integer."""

from __future__ import annotations

from torch import Tensor

from snnconvert.conversion.capture.onnx.operations.quantised import counted, numbers_of
from snnconvert.conversion.capture.onnx.operations.recurrent import Layer, lstm_cell
from snnconvert.conversion.capture.onnx.steps.call import Call
from snnconvert.conversion.capture.onnx.steps.registry import operation


class Dynamic(Layer):
    """A layer with 8-bit weights, of inputs and states that are rounded to 8 bits in every product.

    They are rounded in steps between the extremes of the whole batch, as onnxruntime does.
    """

    def part(self, index: int, role: str, direction: int) -> Tensor | None:
        if index not in (1, 2):
            return super().part(index, role, direction)
        scale, zero = (self.call.host(6 + 2 * index + i)[direction] for i in range(2))

        return self.call.weight(
            index, f"{role}_{direction}", lambda codes: numbers_of(codes[direction], scale, zero).T
        )

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        codes, scale, zero = counted(x)
        return super().product((codes - zero) * scale, weight, bias)


@operation("com.microsoft::DynamicQuantizeLSTM")
def dynamic_lstm(call: Call) -> tuple[Tensor, ...]:
    return Dynamic(call, "LSTM").run(lstm_cell)
