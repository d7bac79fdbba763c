"""A damaged `.snn.pt` is refused when it is read, in one sentence, whatever is wrong with it."""

from __future__ import annotations

import copy

import pytest
import torch

import snnconvert
from examples.networks import FAST, KeywordOnly, PlanarDenoiser
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import CheckpointError
from tests.support.command_line import assert_refused, call_cli
from tests.support.spiking_networks import pair
from tests.support.unets import tiny_unet, unet_inputs


@pytest.fixture(scope="module")
def content():
    return snnconvert.convert(tiny_unet(), 4, example_inputs=unet_inputs()).to_content()


@pytest.fixture(scope="module")
def quantised():
    return snnconvert.quantize(tiny_unet(levels=0), 4, example_inputs=unet_inputs()).to_content()


def instructions_of(content, op: str) -> list:
    """The nodes of an operation, [name, op, args, kwargs, layer] each."""
    return [row for row in content["config"]["program"]["nodes"] if row[1] == op]


def arguments(content, op: str) -> list:
    return instructions_of(content, op)[0][2]["tuple"]


def weight(content, rank: int) -> str:
    return next(name for name, value in content["state"].items() if value.ndim == rank)


def stride_is_text(content):
    arguments(content, "aten.conv2d.default")[3] = "two"


def too_many_arguments(content):
    arguments(content, "aten.cat.default").extend([1, 2, 3])


def another_operation(content):
    instructions_of(content, "aten.conv2d.default")[0][1] = "aten.linear.default"


def unknown_operation(content):
    instructions_of(content, "aten.conv2d.default")[0][1] = "aten.system.default"


def weight_of_another_shape(content):
    name = weight(content, 4)
    content["state"][name] = content["state"][name][:, :1]


def weight_of_another_type(content):
    name = weight(content, 4)
    content["state"][name] = content["state"][name].double()


def weight_without_elements(content):
    name = weight(content, 4)
    content["state"][name] = content["state"][name][..., :0]


def dilation_of_zero(content):
    given = arguments(content, "aten.conv2d.default")
    given.extend([None, 1, 0, 1][len(given) - 2 :])
    given[5] = 0


def threshold_of_another_shape(content):
    content["state"][arguments(content, "neuron")[1]] = torch.ones(5)


def threshold_not_there(content):
    arguments(content, "neuron")[1] = "nowhere"


def threshold_is_a_number(content):
    arguments(content, "neuron")[1] = 1.0


def neuron_without_arguments(content):
    del arguments(content, "neuron")[1:]


def neuron_reads_a_number(content):
    arguments(content, "neuron")[0] = 3


def signature_dropped(content):
    del content["config"]["program"]["signature"]


def signature_of(content) -> dict:
    return dict(content["config"]["program"]["signature"]["dict"])


def input_shape_dropped(content):
    signature_of(content)["shapes"]["dict"].pop()


def input_of_another_shape(content):
    signature_of(content)["shapes"]["dict"][0][1] = {"tuple": [-1, 7]}


def input_shape_is_text(content):
    signature_of(content)["shapes"]["dict"][0][1] = "large"


def argument_dropped(content):
    signature_of(content)["values"]["dict"].pop()


def starts_not_there(content):
    content["config"]["v_init"] = "optimised"


def add_instruction(content, op: str, *args):
    row = ["added", op, {"tuple": [*args]}, {"dict": []}, ""]
    content["config"]["program"]["nodes"].insert(0, row)


def power_without_end(content):
    add_instruction(content, "operator.pow", 10, 10**9)


def list_without_end(content):
    add_instruction(content, "operator.mul", {"list": [0]}, 10**12)


def text_without_end(content):
    add_instruction(content, "operator.mod", "%1000000000000d", 1)


def number_that_is_no_size(content):
    add_instruction(content, "operator.mul", 2**62, 4)


def power_behind_what_depends_on_values(content):
    """Where the trial, which has no values, ends."""
    power_without_end(content)
    name = weight(content, 4)
    row = ["places", "aten.nonzero.default", {"tuple": [{"ref": name}]}, {"dict": []}, ""]
    content["config"]["program"]["nodes"].insert(0, row)


ENDLESS = [
    power_without_end,
    list_without_end,
    text_without_end,
    number_that_is_no_size,
    power_behind_what_depends_on_values,
]
TAMPERED = [
    *ENDLESS,
    stride_is_text,
    too_many_arguments,
    another_operation,
    unknown_operation,
    weight_of_another_shape,
    weight_of_another_type,
    weight_without_elements,
    dilation_of_zero,
    threshold_of_another_shape,
    threshold_not_there,
    threshold_is_a_number,
    neuron_without_arguments,
    neuron_reads_a_number,
    signature_dropped,
    input_shape_dropped,
    input_of_another_shape,
    input_shape_is_text,
    argument_dropped,
    starts_not_there,
]


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda f: f.__name__)
def test_what_cannot_run_is_refused_when_it_is_read(content, tamper):
    damaged = copy.deepcopy(content)
    tamper(damaged)
    with pytest.raises(CheckpointError) as caught:
        SpikingNetwork.from_content(damaged)
    assert "damaged" in str(caught.value) and "\n" not in str(caught.value)


def clip_without_ceiling(content):
    del arguments(content, "snnconvert.quantized_clip.default")[1:]


def clip_of_other_levels(content):
    arguments(content, "snnconvert.quantized_clip.default")[2] = 7


def trains_what_is_not_there(content):
    content["config"]["trainable"].append("nowhere")


def path_is_a_number(content):
    content["config"]["paths"] = dict.fromkeys(content["state"], 3)


def path_without_a_name(content):
    content["config"]["paths"] = dict.fromkeys(content["state"], "a..b")


def neuron_in_place_of_a_clip(content):
    instructions_of(content, "snnconvert.quantized_clip.default")[0][1] = "neuron"


def one_key_too_many(content):
    content["config"]["timesteps"] = 4


@pytest.mark.parametrize("tamper", [
    stride_is_text, too_many_arguments, another_operation, weight_of_another_shape,
    weight_of_another_type, signature_dropped, input_of_another_shape, argument_dropped,
    clip_without_ceiling, clip_of_other_levels, trains_what_is_not_there, path_is_a_number,
    path_without_a_name, neuron_in_place_of_a_clip, one_key_too_many, *ENDLESS,
], ids=lambda f: f.__name__)  # fmt: skip
def test_so_is_a_quantised_network(quantised, tamper):
    damaged = copy.deepcopy(quantised)
    CapturedNetwork.from_content(copy.deepcopy(quantised))
    tamper(damaged)
    with pytest.raises(CheckpointError, match="damaged"):
        CapturedNetwork.from_content(damaged)


@pytest.mark.parametrize(("tamper", "operation"), [
    (stride_is_text, "aten.conv2d.default"), (threshold_of_another_shape, "neuron"),
], ids=["stride", "threshold"])  # fmt: skip
def test_the_command_line_names_the_file_and_the_operation(
    tamper, operation, content, tmp_path, shipped
):
    """In one line, and PyTorch writes none of its own."""
    damaged = copy.deepcopy(content)
    tamper(damaged)
    whole = {**shipped, "stage": "snn", "networks": {"snn": damaged}}
    torch.save(whole, tmp_path / "net.snn.pt")
    result = call_cli("sample", "net.snn.pt", "--steps", "2", cwd=tmp_path)
    assert_refused(result, "net.snn.pt", operation)


@pytest.fixture(scope="module")
def intact():
    """Networks with inputs of several types and structures, and every kind of neuron."""
    cases = [
        (PlanarDenoiser(), (torch.randn(4, 2), torch.rand(4))),
        (KeywordOnly(), {"sample": torch.randn(2, 3, 8, 8), "scale": torch.rand(2)}),
        FAST["LayerNorm over whole images, class-conditional"](),
    ]
    networks = [
        snnconvert.convert(model, 2, example_inputs=x, calibration=[x]) for model, x in cases
    ]
    network, inputs, _ = pair("mlp", 3)
    kinds = [{"neuron": "lif"}, {"v_reset": 0.0}, {"code": "radix", "firing": "deferred"}]
    return [
        *networks,
        *(
            snnconvert.convert(network, 3, example_inputs=inputs, calibration=[inputs], **kind)
            for kind in kinds
        ),
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("typed", [True, False])
def test_intact_networks_come_back(intact, typed):
    """Also where the file does not say the types of its inputs, as older ones do not."""
    for network in intact:
        content = network.to_content()
        if not typed:
            signature_of(content)["dtypes"]["dict"].clear()
        assert SpikingNetwork.from_content(content).config == network.config
