"""The text tower's two parts: chunks that are recomputed give the same features and gradients for less memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from caspl.prompts import ImageConditioned, Segment, TextCascade, normal_tokens
from caspl.towers import text as text_tower
from tests.tiny_clip import SIZES, tiny_clip

CLIP_ = tiny_clip().freeze()
NAMES = [f"class {word}" for word in ("one", "two, longer than others", "three", "four", "five", "six", "seven")]


@contextmanager
def kept_bytes() -> Iterator[dict[int, int]]:
    """What is kept for a backward pass, weights aside: each storage once."""
    weights = {value.untyped_storage().data_ptr() for value in CLIP_.parameters()}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        place = value.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = value.untyped_storage().nbytes()
        return value

    with saved_tensors_hooks(keep, lambda value: value):
        yield kept


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


def features_and_gradients(kind: str, budget: int) -> tuple[Tensor, list[Tensor], int]:
    """Also the bytes that are kept for the backward pass, each storage once."""
    made, condition = cascade(kind)
    with kept_bytes() as kept:
        features = made(CLIP_.text, condition, budget)
    weights = torch.linspace(-1, 1, features.numel()).view_as(features)
    (features * weights).sum().backward()
    return features, [value.grad for value in made.parameters() if value.grad is not None], sum(kept.values())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("kind", ["shared", "class-specific", "per image"])
def test_a_budget_is_kept_and_exact(kind: str, share: float) -> None:
    expected, gradients, kept = features_and_gradients(kind, 0)
    least = features_and_gradients(kind, 1)[2]  # the prefix, and what goes into each class
    budget = 1 + int(share * (kept - least))
    found, again, fewer = features_and_gradients(kind, budget)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert len(again) == len(gradients) > 0
    for mine, theirs in zip(again, gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))
    assert least <= fewer < kept
    assert fewer <= least + 1.1 * budget


def test_a_budget_that_suffices_changes_nothing() -> None:
    expected, _, kept = features_and_gradients("shared", 0)
    found, _, same = features_and_gradients("shared", 3 * kept)
    assert same == kept
    assert torch.equal(found, expected)


def test_the_estimate_of_a_class_is_what_is_kept() -> None:
    """To a quarter: what is kept of more classes, less what is kept of fewer."""
    kept = []
    for count in (100, 200):
        segment = Segment("adapting", normal_tokens(1, 3, SIZES.text_width))
        made = TextCascade([segment])
        made.set_classes([f"class number {number + 100}" for number in range(count)], CLIP_.text)
        with kept_bytes() as seen:
            features = made(CLIP_.text)
        kept.append(sum(seen.values()))
        del features
    own, start = made.name_ids.shape[1], 4
    assert CLIP_.text.bytes_of_class(own, start) == pytest.approx((kept[1] - kept[0]) / 100, rel=0.25)


@pytest.mark.parametrize(
    ("classes", "each", "budget", "kept", "size"),
    [
        (10, 4, 0, 10, 10),
        (10, 4, 40, 10, 10),
        (10, 4, 32, 6, 2),
        (10, 4, 16, 3, 1),
        (10, 4, 3, 0, 1),
        (10, 4, 39, 7, 2),
    ],
)
def test_how_many_are_kept(classes: int, each: int, budget: int, kept: int, size: int) -> None:
    assert CLIP_.text.kept(classes, each, budget) == (kept, size)
    assert kept * each + size * each <= max(budget, each) or kept == classes


def test_texts_of_tests_are_run_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made, condition = cascade("per image")
    with torch.no_grad():
        expected = made(CLIP_.text, condition)
        monkeypatch.setattr(text_tower, "MOST_TEXTS", 4)  # two classes for two images
        torch.testing.assert_close(made(CLIP_.text, condition), expected, rtol=1e-5, atol=1e-6)


def test_without_a_prefix_all_is_the_classes_own() -> None:
    made, _ = cascade("shared")
    ids = torch.tensor([[5, 6, 7, 49407, 0], [5, 8, 49407, 0, 0]])
    embedded = CLIP_.text.embed(ids)
    alone = CLIP_.text.classes(embedded, torch.tensor([3, 2]), [], 0)[0]
    behind = CLIP_.text.prefix(embedded[:1, :1])
    shared = CLIP_.text.classes(embedded[:, 1:], torch.tensor([2, 1]), behind, 1)[0]
    torch.testing.assert_close(alone, shared, rtol=0, atol=1e-5)
    assert CLIP_.text.prefix(embedded[:1, :0]) == []


def test_texts_are_tokenised_without_the_models_of_open_clip() -> None:
    code = (
        "import sys; from caspl.towers import tokenize; first = tokenize('a photo of a cat.').tolist(); "
        "assert 'open_clip' not in sys.modules; import open_clip; "
        "assert open_clip.get_tokenizer('ViT-B-16')(['a photo of a cat.']).tolist() == first"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
