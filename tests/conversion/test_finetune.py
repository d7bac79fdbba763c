"""A converted network trained under its own spikes: what is differentiated is what runs."""

import pytest
import torch

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.measured import images_for
from snnconvert.checkpoint.recipe import recipe_from_dict
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.finetune import finetune, surrogate_output, trained_names
from snnconvert.conversion.spiking.neuron_nodes import place_clips
from snnconvert.errors import DataError, InputError
from snnconvert.images.pictures import save_png
from snnconvert.training.tuning import training_inputs
from tests.support.command_line import assert_refused, call_cli
from tests.support.errors import relative_error
from tests.support.tiny_checkpoint import tiny_content
from tests.support.unets import tiny_unet, unet_inputs


@pytest.fixture(scope="module")
def network():
    return tiny_unet(channel_mult=(1,))


def converted(network, **options):
    return snnconvert.convert(network, 4, example_inputs=unet_inputs(), **options)


@pytest.mark.parametrize("settle", [0, 1, 3])
def test_the_differentiable_pass_is_the_network(network, settle):
    spiking, inputs = converted(network, settle=settle), unet_inputs(seed=5)
    assert torch.equal(surrogate_output(spiking, spiking.constants, list(inputs)), spiking(*inputs))


@pytest.mark.parametrize("options", [{"thresholds_over_t": 3}, {"v_init": "optimised"}])
def test_so_it_is_with_thresholds_and_starts_of_all_kinds(options):
    inputs = unet_inputs(8, seed=5)
    spiking = snnconvert.convert(
        tiny_unet(channel_mult=(1,), levels=0), 4, example_inputs=inputs, calibration=[inputs],
        settle=0, **options,
    )  # fmt: skip
    assert torch.equal(surrogate_output(spiking, spiking.constants, list(inputs)), spiking(*inputs))
    tuned = finetune(spiking, [inputs], steps=1, progress=False)
    assert bool(tuned(*inputs).isfinite().all())


def test_at_silence_the_gradient_is_that_of_the_quantised_ann(network):
    spiking, inputs = converted(network, settle=40), list(unet_inputs(seed=5))
    names, _ = trained_names(spiking)
    quantised = Interpreter(place_clips(spiking.program, spiking.config))
    found = []
    for run in (lambda c: surrogate_output(spiking, c, inputs), lambda c: quantised.run(c, inputs)):
        leaves = {name: spiking.constants[name].clone().requires_grad_() for name in names}
        run({**spiking.constants, **leaves}).square().sum().backward()
        found.append({name: leaf.grad for name, leaf in leaves.items()})
    assert len(names) > 10
    for name in names:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-4, atol=1e-5)


def test_training_under_spikes_closes_the_gap(network):
    spiking = converted(network, settle=0)
    before = {name: value.clone() for name, value in spiking.constants.items()}
    inputs = unet_inputs(8, seed=7)
    tuned = finetune(spiking, [inputs] * 60, steps=60, rate=1e-2, progress=False)
    wanted = spiking.quantized_ann()(*inputs)
    errors = [relative_error(n(*inputs), wanted) for n in (spiking, tuned)]
    assert errors[1] < 0.8 * errors[0]
    assert all(torch.equal(before[name], value) for name, value in spiking.constants.items())
    assert tuned.calibration["finetuned"]["steps"] == 60


def test_a_float_teacher_brings_it_closer_to_the_float_network(network):
    teacher = tiny_unet(channel_mult=(1,), levels=0)
    teacher.load_state_dict(
        {k: v for k, v in network.state_dict().items() if not k.endswith("ceiling")}
    )
    spiking, inputs = converted(network, settle=0), unet_inputs(8, seed=7)
    tuned = finetune(spiking, [inputs] * 60, steps=60, rate=1e-2, teacher=teacher, progress=False)
    wanted = teacher(*inputs)
    errors = [relative_error(n(*inputs), wanted) for n in (spiking, tuned)]
    assert errors[1] < 0.8 * errors[0]


def test_a_teacher_of_another_shape_is_refused(network):
    with pytest.raises(InputError, match="teacher: answers in the shapes"):
        finetune(
            converted(network, settle=0),
            [unet_inputs()],
            steps=1,
            progress=False,
            teacher=lambda x, t: x[:, :1],
        )


def test_arguments_come_back_from_a_programs_inputs():
    from examples.networks import KeywordOnly

    given = {
        "sample": torch.randn(2, 3, 8, 8),
        "scale": torch.rand(2),
        "extras": [torch.randn(2, 8, 6, 6)],
    }
    program = snnconvert.convert(
        KeywordOnly(), 4, example_inputs=given, calibration=[given]
    ).program
    for positional in (0, 1):
        args, kwargs = program.unbind(program.bind((), given), positional)
        assert len(args) == positional and len(kwargs) == 3 - positional
        assert all(map(torch.equal, program.bind(args, kwargs), program.bind((), given)))
        assert KeywordOnly()(*args, **kwargs).sample.shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "loses nothing"),
        ({"firing": "deferred"}, "loses nothing"),
        ({"settle": 0, "norm": "per_step"}, "per_step"),
    ],
)
def test_what_cannot_be_tuned_is_refused(network, options, words):
    with pytest.raises(InputError, match=words):
        finetune(converted(network, **options), [unet_inputs()], steps=1)


def test_too_few_batches_are_refused(network):
    with pytest.raises(InputError, match="only 1 batches"):
        finetune(converted(network, settle=0), [unet_inputs()], steps=2, progress=False)


def test_the_command_refuses_what_is_not_converted(tmp_path, shipped):
    from tests.support.paths import SHIPPED

    result = call_cli("finetune", SHIPPED, "-o", "x.pt", cwd=tmp_path)
    assert_refused(result, "fashion-unet.pt", "converted")
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_an_exact_network_before_it_fetches_images(tmp_path, shipped):
    exact = snnconvert.convert(tiny_unet(in_channels=1), 4, example_inputs=unet_inputs(channels=1))
    snnconvert.save(exact, tmp_path / "a.snn.pt", like=shipped)
    result = call_cli("finetune", "a.snn.pt", "--data-root", "nowhere", cwd=tmp_path)
    assert_refused(result, "loses nothing")


def test_a_rate_that_ends_in_no_number_is_refused(network):
    with pytest.raises(InputError, match=r"rate: found 1e\+\d+, .* ran away at step \d"):
        finetune(converted(network, settle=0), [unet_inputs(8)] * 6, steps=6, rate=1e30,
                 progress=False)  # fmt: skip


def test_what_is_known_of_a_denoiser_stays(network):
    spiking = converted(network, settle=0)
    spiking.prediction, spiking.t_range = "v", (0.0, 1.0)
    tuned = finetune(spiking, [unet_inputs(8)], steps=1, progress=False)
    assert (tuned.prediction, tuned.t_range) == ("v", (0.0, 1.0))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_in_the_shape_that_the_network_takes(tmp_path, channels):
    for number, image in enumerate(torch.rand(40, 3, 8, 8)):
        save_png(tmp_path / f"{number:02}.png", image)
    recipe = recipe_from_dict({"dataset": "folder", "data_root": str(tmp_path), "image_size": 8},
                              "test")  # fmt: skip
    how = {"batch_size": 4, "data_root": tmp_path}
    x, t = next(iter(training_inputs(recipe, 1, shape=(channels, 8, 8), **how)))
    assert x.shape == (4, channels, 8, 8) and t.shape == (4,)
    for wrong in ((2, 8, 8), (channels, 8, 16)):
        with pytest.raises(DataError, match=r"gives images of \[\d, 8, 8\], the network takes"):
            training_inputs(recipe, 1, shape=wrong, **how)


def test_moments_of_a_recipes_images_come_in_the_networks_channels(tmp_path):
    for number, image in enumerate(torch.rand(40, 3, 8, 8)):
        save_png(tmp_path / f"{number:02}.png", image)
    content = tiny_content(1)
    checkpoint = Checkpoint({**content, "recipe": {**content["recipe"], "dataset": "folder"}}, "x")
    images = images_for(checkpoint, checkpoint.network(), data_root=tmp_path)
    assert next(iter(images.batches(4, 4))).shape == (4, 1, 8, 8)
    two = Checkpoint({**tiny_content(2), "recipe": checkpoint.content["recipe"]}, "x")
    with pytest.raises(InputError, match=r"folder of the recipe: found images of \[3, 8, 8\]"):
        images_for(two, two.network(), data_root=tmp_path)
