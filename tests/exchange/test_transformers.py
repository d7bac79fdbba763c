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


def bert_without_words():
    """The same of vectors in place of words, which it takes by name alone."""
    model, call = bert()
    vectors = torch.randn(16, 12, 32, generator=torch.Generator().manual_seed(0))
    return model, {"inputs_embeds": vectors, "attention_mask": call["attention_mask"]}


def roberta():
    """Places are counted from what is no padding, and two sentences are told apart."""
    _, call = bert()
    config = transformers.RobertaConfig(vocab_size=100, pad_token_id=1, **SMALL)
    model = transformers.RobertaForSequenceClassification(config)
    return model, call | {"token_type_ids": torch.zeros(16, 12, dtype=torch.int64)}


def distilbert():
    config = transformers.DistilBertConfig(vocab_size=100, dim=32, n_layers=2, n_heads=4,
                                           hidden_dim=64)  # fmt: skip
    return transformers.DistilBertModel(config), bert()[1]


def deit():
    config = transformers.DeiTConfig(image_size=32, patch_size=8, **SMALL)
    return transformers.DeiTModel(config), vit()[1]


def vit():
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)
    return transformers.ViTForImageClassification(config), {"pixel_values": images}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("make", [bert, bert_without_words, roberta, distilbert, vit, deit])
@torch.no_grad()
def test_an_encoder_converts(make, attention):
    torch.manual_seed(0)
    model, call = make()
    model.eval().set_attn_implementation(attention)
    snn = snnconvert.convert(
        model, 8, code="radix", simulate="counts", example_inputs=call, calibration=[call]
    )
    found, wanted = leaves(snn(**call)), leaves(model(**call))
    assert len(found) == len(wanted)
    assert all(float((a - b).norm() / b.norm()) < 0.01 for a, b in zip(found, wanted, strict=True))
    assert all(map(torch.equal, found, leaves(snn.quantized_ann()(**call))))
