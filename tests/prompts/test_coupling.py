"""Tokens made from other tokens or from the image, against their plain description."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.prompts import (
    Coupled,
    ImageConditioned,
    Prompts,
    Segment,
    TextCascade,
    VisionCascade,
    coop_context,
    normal_tokens,
)
from caspl.towers import text as text_tower
from caspl.towers import tokenize
from tests.tiny_clip import SIZES, tiny_clip, tiny_state_dict
from tests.towers import plain

CLIP_ = tiny_clip()
STATE = tiny_state_dict()
NAMES = ["cat", "annual crop land", "river"]
LAYERS, PATCHES = SIZES.vision_layers, SIZES.grid**2


def tokens(depth: int, length: int, width: int) -> Tensor:
    return 10 * normal_tokens(depth, length, width)


def plain_mpl(images: Tensor, coupled: Coupled, source: Segment, boosting: Segment) -> Tensor:
    """MPL's three operations on lists of rows, with boosting tokens between patches and adapting tokens."""
    weight = STATE["visual.conv1.weight"]
    x = F.conv2d(images, weight, stride=weight.shape[-1]).flatten(2).transpose(1, 2)
    cls = STATE["visual.class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([cls, x], 1) + STATE["visual.positional_embedding"]
    front = list(x.unbind(1))
    boosts: list[Tensor] = []
    rows: list[Tensor] = []
    for layer in range(LAYERS):
        if layer == 0:
            rows = [row.expand(len(x), -1) for row in coupled.first(source.values[0])]
        elif layer < coupled.depth:
            for _ in range(coupled.remove):
                (rows or front).pop()
            for images_of in coupled.deep:
                rows += [row.expand(len(x), -1) for row in images_of[layer - 1](source.values[layer])]
        if layer < boosting.depth:
            boosts = [row.expand(len(x), -1) for row in boosting.values[layer]]
        whole = torch.stack(front + boosts + rows, 1)
        if layer == 0:
            whole = plain.layer_norm(whole, STATE, "visual.ln_pre")
        parts = list(plain.block(whole, STATE, f"visual.transformer.resblocks.{layer}", None).unbind(1))
        front, boosts, rows = (
            parts[: len(front)],
            parts[len(front) : len(front) + len(boosts)],
            parts[len(front) + len(boosts) :],
        )
    return plain.layer_norm(front[0], STATE, "visual.ln_post") @ STATE["visual.proj"]


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 3),
    add=st.integers(1, 3),
    remove=st.integers(0, 9),
    depths=st.tuples(st.integers(1, 4), st.integers(1, 3)),
)
def test_coupled_tokens_are_exact(length: int, add: int, remove: int, depths: tuple[int, int]) -> None:
    """Whatever is added, carried and removed, patches included, beside boosting tokens that stay whole."""
    source = Segment("adapting", tokens(depths[0], length, SIZES.text_width))
    remove = min(remove, add * length)
    coupled = Coupled("adapting", source, SIZES.vision_width, LAYERS, add, remove)
    for parameter in coupled.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    boosting = Segment("boosting", tokens(depths[1], 2, SIZES.vision_width))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    learned = [source.values, *coupled.parameters()]
    ours = CLIP_.visual(images, VisionCascade([boosting, coupled]).refresh)
    theirs = plain_mpl(images, coupled, source, boosting)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-5)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
    pairs = [torch.autograd.grad((out * weight).sum(), learned) for out in (ours, theirs)]
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_deep_projections_start_equal_and_the_first_differs() -> None:
    source = Segment("adapting", tokens(4, 2, SIZES.text_width))
    coupled = Coupled("adapting", source, SIZES.vision_width, 6, add=2, remove=1)
    weights = [layer.weight for images in coupled.deep for layer in images]
    assert len(weights) == 2 * 3
    assert all(torch.equal(weights[0], weight) for weight in weights)
    assert not torch.equal(coupled.first.weight, weights[0])
    assert [coupled.length_at(layer) for layer in range(6)] == [2, 5, 8, 11, 11, 11]
    assert not any(name.startswith("_source") for name in coupled.state_dict())


@pytest.mark.parametrize(("add", "remove"), [(0, 0), (1, 3), (1, -1)])
def test_impossible_operations_are_refused(add: int, remove: int) -> None:
    source = Segment("adapting", tokens(2, 2, SIZES.text_width))
    with pytest.raises(CasPLError, match="remove no more than are added"):
        Coupled("adapting", source, SIZES.vision_width, LAYERS, add, remove)


def test_removing_all_patches_is_refused() -> None:
    source = Segment("adapting", tokens(2, 1, SIZES.text_width))
    coupled = Coupled("adapting", source, SIZES.vision_width, LAYERS, PATCHES + 2, PATCHES + 2)
    with pytest.raises(CasPLError, match=f"the image has {PATCHES}"):
        CLIP_.visual(torch.randn(1, 3, 32, 32), VisionCascade([coupled]).refresh)


def conditioned_model(length: int = 3) -> PromptedCLIP:
    def segment_type(name: str, values: Tensor) -> Segment:
        return ImageConditioned(name, values, SIZES.embed_dim)

    boosting = Prompts(before=[Segment("boosting", tokens(3, 2, SIZES.text_width))])
    text, vision = coop_context(CLIP_.text, length, "", segment_type=segment_type).cascade(boosting)
    return PromptedCLIP(tiny_clip(), text, vision, NAMES).eval()


def test_image_conditioned_tokens_are_exact() -> None:
    """One plain text pass an image, its tokens shifted by the net of its normalised feature."""
    torch.manual_seed(0)
    model = conditioned_model()
    images = torch.randn(3, 3, 32, 32)
    ours = model(images)
    segment = model.text.segments["adapting"]
    boosting = model.text.segments["boosting"]
    for row, image in enumerate(images):
        feature = F.normalize(CLIP_.visual(image[None]), dim=-1)
        shift = segment.meta_net(feature)[0]  # type: ignore[operator]
        ids = tokenize([f"{name}." for name in NAMES])
        embedded = STATE["token_embedding.weight"][ids]
        inner = torch.cat([segment.values[0] + shift, boosting.values[0]]).expand(len(NAMES), -1, -1)
        whole = torch.cat([embedded[:, :1], inner, embedded[:, 1:]], 1)[:, :77]
        fresh = {layer: [(4, boosting.values[layer])] for layer in (1, 2)}
        text = F.normalize(plain.text_features(whole, ids.argmax(-1) + 5, STATE, 3, fresh), dim=-1)
        expected = model.scale * feature @ text.t()
        torch.testing.assert_close(ours.logits[row], expected[0], rtol=0, atol=1e-3)


def test_many_images_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = conditioned_model(), torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        whole = model(images)
        monkeypatch.setattr(text_tower, "MOST_TEXTS", 2 * len(NAMES))
        in_parts = model(images)
    assert in_parts.text.shape == (5, len(NAMES), SIZES.embed_dim)
    torch.testing.assert_close(in_parts.logits, whole.logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("position", ["middle", "front"])
def test_conditioned_tokens_stand_before_the_name(position: str) -> None:
    """Behind it, or behind class-specific ones, every image would need every class's tokens anew."""

    def segment_type(name: str, values: Tensor) -> Segment:
        return ImageConditioned(name, values, SIZES.embed_dim)

    with pytest.raises(ValueError, match="must stand before the class name"):
        coop_context(CLIP_.text, 4, "", position=position, segment_type=segment_type).cascade()
    with pytest.raises(ValueError, match="cannot be class-specific too"):
        coop_context(CLIP_.text, 4, "", classes=3, segment_type=segment_type)
    own = Segment("own", 0.02 * torch.randn(1, 3, 2, SIZES.text_width))
    with pytest.raises(ValueError, match="before class-specific tokens"):
        TextCascade([own, segment_type("adapting", tokens(1, 2, SIZES.text_width))])


def test_conditioned_tokens_need_the_image() -> None:
    segment = ImageConditioned("adapting", tokens(1, 2, SIZES.text_width), SIZES.embed_dim)
    cascade = TextCascade([segment])
    cascade.set_classes(NAMES, CLIP_.text)
    with pytest.raises(ValueError, match="depends on the image"):
        cascade(CLIP_.text)


def test_an_ensemble_averages_normalised_features() -> None:
    """CLIP's way: normalise, mean, normalise; with boosting, each text has it directly before the name."""
    templates = ("a photo of a {}.", "a {} in a video game.", "{}, seen from above.")
    model = PromptedCLIP(tiny_clip(), *Prompts(templates=templates).cascade(), NAMES)
    texts = [F.normalize(CLIP_.encode_text(tokenize([t.format(name) for name in NAMES])), dim=-1) for t in templates]
    torch.testing.assert_close(model.encode_text(), F.normalize(torch.stack(texts).mean(0), dim=-1))

    boosting = Prompts(before=[Segment("boosting", tokens(2, 3, SIZES.text_width))])
    boosted = PromptedCLIP(tiny_clip(), *Prompts(templates=templates).cascade(boosting), NAMES)
    alone = [PromptedCLIP(tiny_clip(), *Prompts(templates=(t,)).cascade(boosting), NAMES) for t in templates]
    mean = torch.stack([one.encode_text() for one in alone]).mean(0)
    torch.testing.assert_close(boosted.encode_text(), F.normalize(mean, dim=-1))
    assert list(boosted.segments()) == ["text.boosting"]
