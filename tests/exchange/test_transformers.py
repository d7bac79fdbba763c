"""Encoders of Hugging Face's transformers convert as they are, by keyword and as dataclasses."""

from __future__ import annotations

import pytest
import torch

import snnconvert
from snnconvert.conversion.graph.values import leaves

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "intermediate_size": 64}  # fmt: skip


def bert():
    """16 sentences of 12 words, the last of them masked."""
    mask = torch.ones(16, 12, dtype=torch.int64)
    mask[:, 9:] = 0
    words = torch.randint(0, 100, (16, 12), generator=torch.Generator().manual_seed(0))
    config = transformers.BertConfig(vocab_size=100, **SMALL)
    return transformers.BertModel(config), {"input_ids": words, "attention_mask": mask}


def vit():
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)
    return transformers.ViTForImageClassification(config), {"pixel_values": images}


@pytest.mark.parametrize("make", [bert, vit])
@torch.no_grad()
def test_an_encoder_converts(make):
    torch.manual_seed(0)
    model, call = make()
    model.eval()
    snn = snnconvert.convert(
        model, 8, code="radix", simulate="counts", example_inputs=call, calibration=[call]
    )
    found, wanted = leaves(snn(**call)), leaves(model(**call))
    assert len(found) == len(wanted)
    assert all(float((a - b).norm() / b.norm()) < 0.01 for a, b in zip(found, wanted, strict=True))
    assert all(map(torch.equal, found, leaves(snn.quantized_ann()(**call))))
