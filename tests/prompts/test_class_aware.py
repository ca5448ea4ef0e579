"""Tokens that become each class's own at an inner block."""

from __future__ import annotations

import pytest
import torch

from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.prompts import ClassAware, Prompts, Segment, normal_tokens
from tests.tiny_clip import SIZES, tiny_clip

NAMES = ["cat", "a very long dog", "bird", "fish of prey", "owl"]


def made(names: list[str], layer: int = 1, budget: int = 0) -> PromptedCLIP:
    torch.manual_seed(0)
    tokens = normal_tokens(1, 3, SIZES.text_width)
    segment = ClassAware("adapting", tokens, SIZES.embed_dim, layer, "a photo of a {}.")
    with torch.no_grad():
        segment.meta_net.linear2.bias.normal_()
    boosting = Prompts([Segment("boosting", normal_tokens(2, 2, SIZES.text_width), trainable=False)])
    model = PromptedCLIP.of(tiny_clip(), Prompts([segment]).behind(boosting), names)
    model.text_budget = budget
    return model


def passed(model: PromptedCLIP) -> list[torch.Tensor]:
    features = model.encode_text()
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    (features * weights).sum().backward()
    return [features.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("layer", [1, 2])
def test_in_chunks_the_same(layer: int) -> None:
    """A budget of one byte keeps no class: each runs alone, and twice."""
    for whole, chunked in zip(passed(made(NAMES, layer)), passed(made(NAMES, layer, 1)), strict=True):
        torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)


def test_each_class_has_its_own() -> None:
    whole = made(NAMES).encode_text()
    for row, name in enumerate(NAMES):
        torch.testing.assert_close(made([name]).encode_text()[0], whole[row], rtol=1e-4, atol=1e-5)


def test_described_and_built_again() -> None:
    said = made(NAMES).description
    assert Prompts.of(said).describe() == said


def test_a_block_that_is_not_there_is_refused() -> None:
    with pytest.raises(CasPLError, match="before block 3, but the text tower has blocks 0 to 2"):
        made(NAMES, 3)
    with pytest.raises(CasPLError, match="before block 1 or later, not 0"):
        made(NAMES, 0)
