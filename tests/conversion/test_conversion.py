"""Losslessness on small networks of every kind, and the converter's manners."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snnconvert
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import CheckpointError, InputError, UnsupportedOpError
from snnconvert.operators.clip import QuantizedClip
from tests.support.unets import tiny_unet, unet_inputs

KINDS = {
    "plain": {},
    "batch norm": {"norm": "batch"},
    "attention": {"attention": (1,)},
    "patch": {"patch": 2},
    "deep": {"channel_mult": (1, 2, 2), "blocks": 2},
    "per channel": {"per_channel": True},
    "weight bits": {"weight_bits": 4},
    "one level": {"levels": 1},
    "seven levels": {"levels": 7},
}
MODES = {
    "immediate": {},
    "deferred": {"firing": "deferred"},
    "immediate by counts": {"simulate": "counts"},
    "deferred by counts": {"firing": "deferred", "simulate": "counts"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_spiking_network_is_its_quantised_ann(kind):
    qann = tiny_unet(**KINDS[kind])
    inputs = unet_inputs()
    with torch.no_grad():
        wanted = qann(*inputs)
    levels = qann.config.levels
    snn = snnconvert.convert(qann, levels, example_inputs=inputs)
    for mode, options in MODES.items():
        found = snn.with_config(**options)(*inputs)
        assert torch.equal(found, wanted), mode


def test_any_batch_size_and_image_size():
    qann = tiny_unet()
    snn = snnconvert.convert(qann, 4, example_inputs=unet_inputs(batch=1))
    for batch in (1, 2, 7):
        inputs = unet_inputs(batch=batch, seed=batch)
        with torch.no_grad():
            assert torch.equal(snn(*inputs), qann(*inputs))


@pytest.mark.parametrize("size", [7, 12])
def test_odd_sizes_convert(size):
    qann = tiny_unet(channel_mult=(1, 2, 2))
    inputs = unet_inputs(size=size)
    snn = snnconvert.convert(qann, 4, example_inputs=inputs)
    with torch.no_grad():
        assert torch.equal(snn(*inputs), qann(*inputs))


class Mixed(nn.Module):
    """Signed activations, a product of two spike-driven tensors, softmax, max pool, layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.signed = QuantizedClip(5, 4, signed=True)
        self.plain = QuantizedClip(5)
        self.gate = QuantizedClip(5)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        h = self.signed(self.first(x))
        h = nn.functional.max_pool2d(self.plain(self.second(h)) * h, 2)
        h = self.norm(h.mean((2, 3)))
        scores = self.head(self.gate(h)).softmax(-1)
        return {"scores": scores, "features": (h, scores * 2)}


@pytest.mark.parametrize("mode", MODES)
def test_signed_products_and_structured_outputs(mode):
    model = Mixed().eval()
    for clip in (model.signed, model.plain, model.gate):
        clip.ceiling.data.mul_(0.2)
    x = torch.randn(4, 1, 8, 8)
    snn = snnconvert.convert(model, 5, example_inputs=(x,), **MODES[mode])
    with torch.no_grad():
        wanted = model(x)
    found = snn(x)
    assert torch.equal(found["scores"], wanted["scores"])
    assert torch.equal(found["features"][0], wanted["features"][0])
    assert found["scores"].std() > 0


def test_a_broken_input_disturbs_no_other_in_its_batch():
    qann = tiny_unet()
    x, t = unet_inputs()
    with torch.no_grad():
        wanted = qann(x, t)
    x[0, 0, 0, 0] = float("nan")
    for options in MODES.values():
        found = snnconvert.convert(qann, 4, example_inputs=unet_inputs(), **options)(x, t)
        assert torch.equal(found[1:], wanted[1:])


def test_every_call_starts_anew():
    snn = snnconvert.convert(tiny_unet(), 4, example_inputs=unet_inputs(), settle=0)
    a, b = unet_inputs(seed=5), unet_inputs(seed=6)
    first = snn(*a)
    snn(*b)
    assert torch.equal(snn(*a), first)


@given(settle=st.integers(0, 3), signed=st.booleans(), timesteps=st.integers(1, 6))
@settings(deadline=None, max_examples=6)
def test_fixed_settle_takes_the_steps_it_says(settle, signed, timesteps):
    inputs = unet_inputs(batch=2)
    snn = snnconvert.convert(
        tiny_unet(), timesteps, example_inputs=inputs, settle=settle, signed=signed
    )
    run = snn.run(*inputs, record="spikes")
    assert run.steps == timesteps + settle == snn.latency_steps
    assert torch.equal(snn(*inputs), run.output)  # which keeps no books and reuses memory
    for name, train in run.trains.items():
        assert train.shape[0] == run.steps
        assert set(train.unique().tolist()) <= ({-1, 0, 1} if signed else {0, 1})
        assert torch.equal(train.sum(0).float(), run.counts[name])
        assert torch.equal(train.abs().sum(0).float(), run.emitted[name])
        assert run.counts[name].min() >= 0 and run.counts[name].max() <= timesteps
        partial = train.cumsum(0)
        assert partial.min() >= 0 and partial.max() <= timesteps


def test_silence_is_reached_wherever_the_theorem_holds():
    inputs = unet_inputs()
    qann = tiny_unet()
    snn = snnconvert.convert(qann, 4, example_inputs=inputs)
    run = snn.run(*inputs, record="counts")
    assert run.silent
    assert run.by_step[-1][1] > 0  # the silent step itself is not run ...
    longer = snn.with_config(settle=run.steps - 4 + 2).run(*inputs, record="counts")
    assert [spikes for _, spikes in longer.by_step[-2:]] == [0, 0]  # ... but it would be silent
    assert torch.equal(longer.output, run.output)
    error = [float((output - run.output).abs().max()) for output, _ in run.by_step]
    assert error[0] > 0 and error[-1] == 0


def test_the_last_spikes_of_an_input_are_those_of_a_run_of_its_own():
    x, t = unet_inputs(batch=4)
    snn = snnconvert.convert(tiny_unet(), 4, example_inputs=(x, t))
    together = snn.run(x, t, record="counts")
    alone = [snn.run(x[i : i + 1], t[i : i + 1], record="counts").steps for i in range(4)]
    assert together.last_spikes.clamp(min=4).tolist() == alone
    assert together.steps == max(alone) > min(alone)


def test_unsigned_spikes_cannot_be_repaired():
    inputs = unet_inputs()
    qann = tiny_unet()
    with torch.no_grad():
        wanted = qann(*inputs)
    snn = snnconvert.convert(qann, 4, example_inputs=inputs, signed=False)
    assert not torch.equal(snn(*inputs), wanted)


def test_the_ann_is_left_as_it_was():
    qann = tiny_unet().train()
    before = {k: v.clone() for k, v in qann.state_dict().items()}
    snnconvert.convert(qann, 4, example_inputs=unet_inputs())
    assert qann.training
    assert all(torch.equal(before[k], v) for k, v in qann.state_dict().items())


def test_round_trip_through_a_file_without_pickle(tmp_path):
    inputs = unet_inputs()
    for options in MODES.values():
        snn = snnconvert.convert(tiny_unet(), 4, example_inputs=inputs, **options)
        path = tmp_path / "net.snn.pt"
        snnconvert.save(snn, path)
        torch.load(path, weights_only=True)  # plain tensors and values only
        again = snnconvert.load(path)
        assert isinstance(again, SpikingNetwork)
        assert again.config == snn.config
        assert torch.equal(again(*inputs), snn(*inputs))


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        self.clip, self.last = QuantizedClip(4), nn.Linear(100, 2)

    def forward(self, x):
        return self.last(torch.histc(self.clip(torch.linalg.qr(self.deep(x))[1])))


def test_check_names_every_problem_at_once():
    problems = snnconvert.check(Unknown(), (torch.randn(2, 4),))
    text = "\n".join(map(str, problems))
    assert "qr" in text and "histc" in text
    with pytest.raises(UnsupportedOpError) as error:
        snnconvert.convert(Unknown(), 4, example_inputs=(torch.randn(2, 4),))
    assert "qr" in str(error.value) and "histc" in str(error.value)
    assert snnconvert.check(tiny_unet(), unet_inputs()) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"timesteps": 0}, "timesteps"),
        ({"timesteps": 2.0}, "timesteps"),
        ({"firing": "later"}, "firing"),
        ({"settle": -1}, "settle"),
        ({"settle": "soon"}, "settle"),
        ({"simulate": "guess"}, "simulate"),
        ({"simulate": "counts", "settle": 1}, "exact"),
        ({"simulate": "counts", "signed": False}, "exact"),
        ({"norm": "per_step", "firing": "deferred"}, "per_step"),
        ({"norm": "per_step", "settle": 3}, "per_step"),
    ],
)
def test_impossible_options_are_refused(options, word):
    with pytest.raises(InputError, match=word):
        snnconvert.convert(
            tiny_unet(), **{"timesteps": 4, "example_inputs": unet_inputs(), **options}
        )


def test_wrong_number_of_inputs_is_refused():
    snn = snnconvert.convert(tiny_unet(), 4, example_inputs=unet_inputs())
    with pytest.raises(InputError, match="inputs"):
        snn(unet_inputs()[0])


def test_another_image_size_is_refused():
    snn = snnconvert.convert(tiny_unet(), 4, example_inputs=unet_inputs(size=8))
    with pytest.raises(InputError, match=r"\[3, 2, 16, 16\].*\[B, 2, 8, 8\]"):
        snn(*unet_inputs(size=16))


@pytest.mark.parametrize("where", ["node", "output"])
def test_a_tampered_program_is_refused_when_it_is_read(where):
    content = snnconvert.convert(tiny_unet(), 4, example_inputs=unet_inputs()).to_content()
    nodes = content["config"]["program"]["nodes"]
    if where == "output":
        nodes.pop()
    else:
        del nodes[len(nodes) // 2]
    with pytest.raises(CheckpointError, match="is not there"):
        SpikingNetwork.from_content(content)
