"""What depends on the diffusion time alone is a table over it, and does not spike."""

from __future__ import annotations

import torch
from torch import nn

import snnconvert
from snnconvert.report.compare import compare
from tests.support.unets import tiny_unet, unet_inputs


class WithTime(nn.Module):
    """A denoiser (x [B, 4], t [B]): both go through activations, and then meet."""

    def __init__(self) -> None:
        super().__init__()
        self.of_t, self.of_x = nn.Linear(1, 8), nn.Linear(4, 8)
        self.mixed, self.out = nn.Linear(8, 8), nn.Linear(8, 4)
        self.act_t, self.act_x, self.act_both = nn.SiLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x, t):
        time = self.mixed(self.act_t(self.of_t(t[:, None] / 1000)))
        return self.out(self.act_both(self.mixed(self.act_x(self.of_x(x))) + time))


def call(batch: int = 16):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(batch, 4, generator=generator), torch.linspace(0, 999, batch)


def layers_of(**options):
    snn = snnconvert.convert(WithTime().eval(), 8, example_inputs=call(), calibration=[call()],
                             **options)  # fmt: skip
    return snn, set(snn.layers.values())


def test_by_default_only_what_x_reaches_spikes():
    torch.manual_seed(0)
    snn, layers = layers_of()
    assert layers == {"act_x", "act_both"}
    run = snn.run(*call(), record="counts")
    assert run.silent and torch.equal(run.output, snn.quantized_ann()(*call()))
    content = compare(snn.quantized_ann(), snn, [call()]).to_dict()
    assert content["neurons"]["functions_of_time"] == ["act_t"]


def test_it_spikes_where_that_is_wanted():
    torch.manual_seed(0)
    snn, layers = layers_of(spiking_time=True)
    assert layers == {"act_x", "act_both", "act_t"}
    run = snn.run(*call(), record="counts")
    assert run.silent and torch.equal(run.output, snn.quantized_ann()(*call()))
    content = compare(snn.quantized_ann(), snn, [call()]).to_dict()
    assert content["neurons"]["functions_of_time"] == []


def test_a_network_of_one_number_inputs_keeps_its_neurons():
    """Where every input is one number a sample, nothing is left out."""

    class Vectors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Linear(1, 8), nn.Linear(8, 1), nn.ReLU()

        def forward(self, x):
            return self.b(self.act(self.a(x[:, None])))

    x = torch.linspace(-1, 1, 16)
    snn = snnconvert.convert(Vectors().eval(), 4, example_inputs=x, calibration=[x])
    assert set(snn.layers.values()) == {"act"}


def test_our_networks_do_not_quantise_their_time():
    network = tiny_unet(levels=4, spike_driven=True, spiking_time=False)
    assert not any("time" in name for name, _ in network.named_parameters() if "ceiling" in name)
    snn = snnconvert.convert(network, 4, example_inputs=unet_inputs())
    assert not any("time" in layer for layer in snn.layers.values())
    assert torch.equal(snn(*unet_inputs()), network(*unet_inputs()))
