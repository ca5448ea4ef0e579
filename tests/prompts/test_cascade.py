"""Cascades and the shared prefix against a plain computation over all 77 positions: outputs and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.prompts import (
    ImageConditioned,
    Prompts,
    Segment,
    TextCascade,
    VisionCascade,
    Words,
    coop_context,
    normal_tokens,
    text_context,
)
from caspl.towers import tokenize
from caspl.towers.tokenizer import encode
from tests.tiny_clip import SIZES, tiny_clip, tiny_state_dict
from tests.towers import plain

NAMES = ["cat", "annual crop land", "a rather long name of a class", "river", "x", "3D print", "bird (male)"]
CLIP_ = tiny_clip()
STATE = tiny_state_dict()
QUICK = settings(max_examples=25, deadline=None)


def segment(name: str, length: int, depth: int, width: int) -> Segment:
    return Segment(name, 10 * normal_tokens(depth, length, width))


def embed(ids: list[int]) -> Tensor:
    return STATE["token_embedding.weight"][torch.tensor(ids, dtype=torch.long)]


def assemble(rows: list[list[Any]]) -> tuple[Tensor, Tensor]:
    """Rows of ids and token tensors -> padded (n, 77, width) and the index of the end token."""
    sequences, ends = [], []
    for row in rows:
        parts = [piece if isinstance(piece, Tensor) else embed(piece) for piece in row]
        sequence = torch.cat(parts)
        ends.append(len(sequence) - 1)
        sequences.append(torch.cat([sequence, embed([0] * (77 - len(sequence)))]))
    return torch.stack(sequences), torch.tensor(ends)


SOS, EOS = int(tokenize("")[0, 0]), int(tokenize("")[0, 1])


def gradients(output: Tensor, segments: list[Segment]) -> list[Tensor]:
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    return list(torch.autograd.grad((output * weight).sum(), [s.values for s in segments]))


@QUICK
@given(
    lengths=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    depths=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    words=st.sampled_from(["", "of a", "a photo of a"]),
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
)
def test_text_cascade_is_exact(lengths: tuple[int, int], depths: tuple[int, int], words: str, names: list[str]) -> None:
    first = segment("adapting", lengths[0], depths[0], SIZES.text_width)
    second = segment("boosting", lengths[1], depths[1], SIZES.text_width)
    ids = encode(words)
    cascade = TextCascade([first, *([Words(tuple(ids))] if ids else []), second])
    cascade.set_classes(names, CLIP_.text)
    ours = cascade(CLIP_.text)

    rows = [[[SOS], first.values[0], ids, second.values[0], encode(f"{name}."), [EOS]] for name in names]
    fresh = {
        layer: [
            (start, s.values[layer])
            for s, start in ((first, 1), (second, 1 + lengths[0] + len(ids)))
            if layer < s.depth
        ]
        for layer in (1, 2)
    }
    theirs = plain.text_features(*assemble(rows), STATE, 3, fresh)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
    for a, b in zip(gradients(ours, [first, second]), gradients(theirs, [first, second]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@QUICK
@given(
    lengths=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    depths=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    batch=st.integers(1, 3),
)
def test_vision_cascade_is_exact(lengths: tuple[int, int], depths: tuple[int, int], batch: int) -> None:
    first = segment("boosting", lengths[0], depths[0], SIZES.vision_width)
    second = segment("adapting", lengths[1], depths[1], SIZES.vision_width)
    images = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    ours = CLIP_.visual(images, VisionCascade([first, second]).refresh)
    fresh = {
        layer: [(o, s.values[layer]) for s, o in ((first, 0), (second, lengths[0])) if layer < s.depth]
        for layer in range(3)
    }
    theirs = plain.image_features(images, STATE, 3, fresh, sum(lengths))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
    for a, b in zip(gradients(ours, [first, second]), gradients(theirs, [first, second]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("csc", [False, True])
@pytest.mark.parametrize("length", [1, 4, 5])
def test_coop_with_boosting_in_every_position(position: str, csc: bool, length: int) -> None:
    """Boosting stands directly before the name, renewed in every layer, whatever surrounds it."""
    torch.manual_seed(0)
    context = coop_context(CLIP_.text, length, "", len(NAMES) if csc else None, position)
    boosting = segment("boosting", 3, 3, SIZES.text_width)
    text, _ = context.cascade(Prompts(before=[boosting]))
    text.set_classes(NAMES, CLIP_.text)
    ours = text(CLIP_.text)

    context_of = text.segments["adapting"].values[0]
    half = {"end": length, "middle": length // 2, "front": 0}[position]
    rows = []
    for index, name in enumerate(NAMES):
        tokens = context_of[index] if csc else context_of
        whole, bare = encode(f"{name}."), len(encode(name))
        rows.append([[SOS], tokens[:half], boosting.values[0], whole[:bare], tokens[half:], whole[bare:], [EOS]])
    fresh = {layer: [(1 + half, boosting.values[layer])] for layer in (1, 2)}
    theirs = plain.text_features(*assemble(rows), STATE, 3, fresh)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


def test_a_prefix_per_image_equals_one_pass_per_image() -> None:
    shifted, boosting = (
        ImageConditioned("adapting", normal_tokens(1, 4, SIZES.text_width), SIZES.embed_dim),
        segment("boosting", 2, 3, SIZES.text_width),
    )
    model = PromptedCLIP(tiny_clip(), TextCascade([shifted, boosting]), VisionCascade(), NAMES)
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    together = model(images)
    assert together.text.shape == (5, len(NAMES), SIZES.embed_dim)
    for index, image in enumerate(images):
        alone = model(image.unsqueeze(0))
        torch.testing.assert_close(together.logits[index], alone.logits[0], rtol=0, atol=1e-4)


def test_template_words_are_plain_clip() -> None:
    names = ["cat", "annual crop land"]
    cascade, _ = Prompts(templates=("a photo of a {}, a type of pet.",)).cascade()
    cascade.set_classes(names, CLIP_.text)
    expected = CLIP_.encode_text(tokenize([f"a photo of a {name}, a type of pet." for name in names]))
    torch.testing.assert_close(cascade(CLIP_.text), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("template", ["a photo of a {}.", "a {} in a video game.", "{}, seen from above."])
def test_boosting_stands_directly_before_the_name_in_a_template(template: str) -> None:
    """Fixed words keep their order around it: VPT's, and those of an ensemble."""
    boosting = segment("boosting", 3, 3, SIZES.text_width)
    text, _ = Prompts(templates=(template,)).cascade(Prompts(before=[boosting]))
    text.set_classes(NAMES, CLIP_.text)
    head, tail = template.split("{}")
    rows = [[[SOS], encode(head), boosting.values[0], encode(name + tail), [EOS]] for name in NAMES]
    fresh = {layer: [(1 + len(encode(head)), boosting.values[layer])] for layer in (1, 2)}
    theirs = plain.text_features(*assemble(rows), STATE, 3, fresh)
    torch.testing.assert_close(text(CLIP_.text), theirs, rtol=0, atol=2e-5)


def test_words_that_are_not_learned_stay() -> None:
    pieces = text_context(CLIP_.text, 2, 3, "a photo of a", "adapting")
    assert isinstance(pieces[0], Segment)
    assert pieces[1] == Words(tuple(encode("of a")))
    torch.testing.assert_close(pieces[0].values[0], embed(encode("a photo")))


@pytest.mark.parametrize(("length", "depth"), [(0, 3), (2, 0)])
def test_without_tokens_all_words_stay(length: int, depth: int) -> None:
    assert text_context(CLIP_.text, length, depth, "a photo of a", "adapting") == [Words(tuple(encode("a photo of a")))]


def test_a_name_that_does_not_fit_is_named() -> None:
    cascade = TextCascade([segment("adapting", 70, 1, SIZES.text_width)])
    with pytest.raises(CasPLError, match="a rather long name of a class"):
        cascade.set_classes(NAMES, CLIP_.text)


def test_class_specific_tokens_refuse_other_classes() -> None:
    text, _ = coop_context(CLIP_.text, 4, "", 3, "end").cascade()
    text.set_classes(["a", "b"], CLIP_.text)
    with pytest.raises(CasPLError, match="made for 3 classes"):
        text(CLIP_.text)


def test_frozen_towers_stay_in_evaluation_mode() -> None:
    model = PromptedCLIP(tiny_clip(), TextCascade(), VisionCascade(), NAMES).train()
    assert not model.clip.training
    assert not any(parameter.requires_grad for parameter in model.clip.parameters())


@pytest.mark.parametrize("shape", [(3, 4), (2, 5, 4, 8), (0, 4, 8)])
def test_segments_refuse_odd_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="adapting"):
        Segment("adapting", torch.zeros(shape))


def test_only_cuts_to_named_segments() -> None:
    adapting, boosting = segment("adapting", 2, 1, 64), segment("boosting", 3, 1, 64)
    cascade = VisionCascade([boosting, adapting]).only(["boosting"])
    assert list(cascade.segments) == ["boosting"]
    assert cascade.segments["boosting"] is boosting
