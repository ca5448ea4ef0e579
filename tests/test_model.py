"""The prompted model: what is fixed for evaluation, sets of texts, equal names, export."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.model import PromptedCLIP
from caspl.prompts import (
    ImageConditioned,
    Prompts,
    Segment,
    Texts,
    both_towers,
    coop_context,
    coupled_context,
    normal_tokens,
    text_context,
)
from tests.tiny_clip import SIZES, tiny_clip

NAMES = ["cat", "a dog of some kind", "bird"]


def images(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, SIZES.resolution, SIZES.resolution, generator=torch.Generator().manual_seed(seed))


def prompts_of(kind: str) -> Prompts:
    """Those of a published method, on the test CLIP."""
    torch.manual_seed(0)
    clip = tiny_clip()
    if kind == "coop":
        return coop_context(clip.text, 3, "")
    if kind == "cocoop":
        return coop_context(clip.text, 3, "", segment_type=partial(ImageConditioned, embed_dim=SIZES.embed_dim))
    if kind == "maple":
        return coupled_context(clip, text_context(clip.text, 2, 3, "a photo"))
    if kind == "vpt":
        tokens = Segment("adapting", normal_tokens(2, 2, SIZES.vision_width))
        return Prompts(vision=[tokens], templates=("a photo of a {}.", "a {}."))
    return both_towers(clip, (2, 3), (2, 2), "a photo of a")


KINDS = ["coop", "cocoop", "maple", "vpt", "ivlp"]


def model_of(kind: str) -> PromptedCLIP:
    torch.manual_seed(2)
    boosting = both_towers(tiny_clip(), (3, 3), (2, 3), name="boosting")
    return PromptedCLIP.of(tiny_clip(), prompts_of(kind).behind(boosting), NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fixed_classifier_is_what_the_model_was(kind: str) -> None:
    """It neither goes stale nor moves with the model: weights that are loaded later, or edits, do not reach it."""
    model = model_of(kind)
    before = model(images()).logits.detach()
    fixed = model.fixed()
    torch.testing.assert_close(fixed(images()), before, rtol=0, atol=1e-5)
    assert fixed.classnames == NAMES
    assert not any(value.requires_grad for value in fixed.parameters())
    assert (fixed.text_tower is None) == (kind != "cocoop")

    with torch.no_grad():
        for value in model.text.segments.parameters():
            value.mul_(3)
        for value in model.vision.segments.parameters():
            value.mul_(3)
    after = model(images()).logits.detach()
    assert (after - before).abs().max() > 1e-2
    torch.testing.assert_close(fixed(images()), before, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.fixed()(images()), after, rtol=0, atol=1e-5)

    other = model_of(kind)
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model.fixed()(images()), before, rtol=0, atol=1e-5)
    model.set_classes(NAMES[:2])
    assert model.fixed()(images()).shape == (4, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fixed", [True, False], ids=["classifier", "model"])
def test_it_can_be_exported_with_any_batch(kind: str, fixed: bool) -> None:
    model = model_of(kind)
    module = model.fixed() if fixed else model
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(module, (images(3),), dynamic_shapes=({0: batch},))
    for count in (2, 5):
        theirs, mine = exported.module()(images(count)), module(images(count))
        if not fixed:
            theirs, mine = theirs.logits, mine.logits
        torch.testing.assert_close(theirs, mine, rtol=0, atol=1e-4)


def test_many_classes_for_each_image_can_be_exported_too() -> None:
    """The bound on texts in memory asks how many images there are, which a program leaves open."""
    model = PromptedCLIP.of(tiny_clip(), prompts_of("cocoop"), [f"class {number}" for number in range(100)]).fixed()
    batch = torch.export.Dim("batch", min=2, max=128)
    exported = torch.export.export(model, (images(3),), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(exported.module()(images(2)), model(images(2)), rtol=0, atol=1e-4)


def test_text_that_does_not_learn_is_a_value_made_before() -> None:
    model = model_of("vpt")
    for value in model.text.parameters():
        value.requires_grad_(False)
    assert not model.text_learns
    text = model.encode_texts()
    torch.testing.assert_close(model(images(), text).logits, model(images()).logits)
    assert model_of("coop").text_learns


def sets(combine: str) -> Prompts:
    torch.manual_seed(1)
    own, other = (Segment(name, 5 * normal_tokens(2, 2, SIZES.text_width)) for name in ("positive", "negative"))
    return Prompts([own], others={"negative": Texts([other])}, combine=combine)


def test_sets_of_texts_are_kept_apart_each_with_segments_of_its_own() -> None:
    model = PromptedCLIP.of(tiny_clip(), sets("stack"), NAMES)
    assert list(model.segments()) == ["text.positive", "text.negative"]
    output = model(images())
    for name, features in (("positive", output.text), ("negative", output.others["negative"])):
        alone = PromptedCLIP.of(tiny_clip(), Prompts([model.segments()[f"text.{name}"]]), NAMES)
        torch.testing.assert_close(features, alone.encode_text())
    torch.testing.assert_close(output.logits, model.scale * output.image @ output.text.t())
    (output.text.sum() + output.others["negative"].sum()).backward()
    assert all(value.grad is not None for value in model.text.segments.parameters())
    torch.testing.assert_close(model.fixed()(images()), output.logits)


def test_sets_of_texts_are_averaged() -> None:
    model = PromptedCLIP.of(tiny_clip(), sets("mean"), NAMES)
    apart = PromptedCLIP.of(tiny_clip(), sets("stack"), NAMES).encode_texts()
    mean = F.normalize(torch.stack(list(apart.values())).mean(0), dim=-1)
    torch.testing.assert_close(model.encode_text(), mean)
    assert list(model.segments()) == ["text.positive", "text.negative"]
    assert model(images()).others == {}


def test_one_set_may_depend_on_the_image_and_another_not() -> None:
    shifted = ImageConditioned("shifted", normal_tokens(1, 2, SIZES.text_width), SIZES.embed_dim)
    plain = Segment("plain", normal_tokens(1, 2, SIZES.text_width))
    model = PromptedCLIP.of(tiny_clip(), Prompts([shifted], others={"plain": Texts([plain])}), NAMES)
    output = model(images())
    assert output.text.shape == output.others["plain"].shape == (4, len(NAMES), SIZES.embed_dim)
    assert torch.equal(output.others["plain"][0], output.others["plain"][3])
    torch.testing.assert_close(model.fixed()(images()), output.logits)


@pytest.mark.parametrize("tower", ["text", "vision", "sets"])
def test_two_segments_of_one_name_are_refused(tower: str) -> None:
    """One of them would neither train nor be saved."""
    width = SIZES.vision_width if tower == "vision" else SIZES.text_width
    first, second = (Segment("adapting", normal_tokens(1, 2, width)) for _ in range(2))
    prompts = {
        "text": Prompts([first, second]),
        "vision": Prompts(vision=[first, second]),
        "sets": Prompts([first], others={"b": Texts([second])}),
    }[tower]
    for refuse in (prompts.cascade, prompts.describe):
        with pytest.raises(ValueError, match="two segments of a tower are called 'adapting'"):
            refuse()
    shared = Prompts([first], others={"again": Texts([first])})  # the same one is not another
    assert list(shared.cascade()[0].segments) == ["adapting"]
