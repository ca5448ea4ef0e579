"""The text tower's two parts: chunks that are recomputed give the same features and gradients for less memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from caspl.prompts import ImageConditioned, Segment, TextCascade, normal_tokens
from caspl.towers import text as text_tower
from tests.tiny_clip import SIZES, tiny_clip

CLIP_ = tiny_clip().freeze()
NAMES = [f"class {word}" for word in ("one", "two, longer than others", "three", "four", "five", "six", "seven")]


def cascade(kind: str) -> tuple[TextCascade, Tensor | None]:
    """Shared tokens; class-specific ones in front of deep ones; a prefix for each image."""
    torch.manual_seed(0)
    deep = Segment("boosting", normal_tokens(3, 2, SIZES.text_width))
    condition = None
    if kind == "shared":
        first = Segment("adapting", normal_tokens(2, 3, SIZES.text_width))
    elif kind == "class-specific":
        first = Segment("adapting", normal_tokens(1, len(NAMES), 3, SIZES.text_width))
    else:
        first = ImageConditioned("adapting", normal_tokens(1, 3, SIZES.text_width), SIZES.embed_dim)
        condition = torch.nn.functional.normalize(torch.randn(2, SIZES.embed_dim), dim=-1)
    made = TextCascade([first, deep])
    made.set_classes(NAMES, CLIP_.text)
    return made, condition


def features_and_gradients(kind: str, recomputed: int) -> tuple[Tensor, list[Tensor], int]:
    """Also the bytes that are kept for the backward pass, each storage once."""
    made, condition = cascade(kind)
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with saved_tensors_hooks(keep, lambda value: value):
        features = made(CLIP_.text, condition, recomputed)
    weights = torch.linspace(-1, 1, features.numel()).view_as(features)
    (features * weights).sum().backward()
    return features, [value.grad for value in made.parameters() if value.grad is not None], sum(kept.values())


@pytest.mark.parametrize("recomputed", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("kind", ["shared", "class-specific", "per image"])
def test_recomputed_chunks_are_exact(kind: str, recomputed: int) -> None:
    expected, gradients, kept = features_and_gradients(kind, 0)
    found, again, fewer = features_and_gradients(kind, recomputed)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert len(again) == len(gradients) > 0
    for mine, theirs in zip(again, gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))
    assert fewer < 0.6 * kept  # the prefix is kept whole


def test_most_texts_bounds_training_too(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _, kept = features_and_gradients("per image", 0)
    monkeypatch.setattr(text_tower, "MOST_TEXTS", 4)  # two classes for two images
    found, _, fewer = features_and_gradients("per image", 0)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert fewer < kept / 2


def test_without_a_prefix_all_is_the_classes_own() -> None:
    made, _ = cascade("shared")
    ids = torch.tensor([[5, 6, 7, 49407, 0], [5, 8, 49407, 0, 0]])
    embedded = CLIP_.text.embed(ids)
    alone = CLIP_.text.classes(embedded, torch.tensor([3, 2]), [], 0)[0]
    behind = CLIP_.text.prefix(embedded[:1, :1])
    shared = CLIP_.text.classes(embedded[:, 1:], torch.tensor([2, 1]), behind, 1)[0]
    torch.testing.assert_close(alone, shared, rtol=0, atol=1e-5)
    assert CLIP_.text.prefix(embedded[:1, :0]) == []
