"""COMMA's image tokens by a plain computation, and a text block's outputs at all positions."""

from __future__ import annotations

import math

import pytest
import torch

from caspl.losses import output_distance
from caspl.model import PromptedCLIP
from caspl.prompts import ClassAware, Generated, Prompts, Segment, normal_tokens, plain_text
from caspl.towers import tokenize
from tests.tiny_clip import SIZES, tiny_clip

NAMES = ["cat", "a very long dog", "bird"]


def made(learned: bool = True) -> tuple[Segment, Generated]:
    torch.manual_seed(0)
    source = Segment("adapting", normal_tokens(3, 2, SIZES.text_width) * 50)
    return source, Generated("adapting", source, SIZES.vision_width, SIZES.vision_layers, learned)


def test_each_layer_is_made_of_the_one_before() -> None:
    source, segment = made()
    weights = segment.state_dict()
    text = source.values.detach()
    image = text[0] @ weights["first.weight"].t() + weights["first.bias"]
    torch.testing.assert_close(segment.tokens(0), image)
    for layer in (1, 2):
        net = {name.removeprefix(f"nets.{layer - 1}."): value for name, value in weights.items()}
        keys = text[layer - 1] @ net["fc.weight"].t() + net["fc.bias"]
        rows = []
        for token in image:
            scores = torch.stack([token @ key / math.sqrt(len(key)) for key in keys]).softmax(0)
            mixed = sum(score * key for score, key in zip(scores, keys, strict=True))
            normed = (mixed - mixed.mean()) / (mixed.var(unbiased=False) + 1e-5).sqrt()
            normed = normed * net["ln.weight"] + net["ln.bias"]
            hidden = (net["mlp.0.weight"] @ normed + net["mlp.0.bias"]).clamp(min=0)
            rows.append(net["mlp.2.weight"] @ hidden + net["mlp.2.bias"])
        image = torch.stack(rows)
        torch.testing.assert_close(segment.tokens(layer), image, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learned", [True, False])
def test_gradients_pass_where_the_nets_learn(learned: bool) -> None:
    source, segment = made(learned)
    model = PromptedCLIP.of(tiny_clip(), Prompts([source], vision=[segment]), NAMES)
    model.encode_image(torch.randn(2, 3, 32, 32)).sum().backward()
    assert source.values.grad is not None
    assert bool(source.values.grad[1].abs().max() > 0) is learned
    assert source.values.grad[0].abs().max() > 0  # layer 0 learns in any case
    assert all((value.grad is not None) is learned for value in segment.nets.parameters())
    assert Prompts.of(model.description).describe() == model.description


def model_of(budget: int, kind: str) -> PromptedCLIP:
    torch.manual_seed(0)
    tokens = normal_tokens(2, 3, SIZES.text_width) * 20
    own: Segment = Segment("adapting", tokens)
    if kind == "class-aware":
        own = ClassAware("adapting", tokens[:1], SIZES.embed_dim, 1, "a photo of a {}.")
    boosting = Prompts([Segment("boosting", normal_tokens(3, 2, SIZES.text_width) * 20, trainable=False)])
    model = PromptedCLIP.of(tiny_clip(), Prompts([own]).behind(boosting), NAMES)
    model.text_budget = budget
    return model


@pytest.mark.parametrize("kind", ["deep", "class-aware"])
def test_outputs_hold_the_features_and_chunks_the_same_gradients(kind: str) -> None:
    found = []
    for budget in (0, 1):
        model = model_of(budget, kind)
        outputs = model.text_outputs()
        assert outputs.shape == (3, SIZES.context_length, SIZES.text_width)
        tower, text = model.clip.text, model.text
        ends = text.name_end + 1 + 3 + 2  # SOS and both segments
        rows = tower.ln_final(outputs[torch.arange(3), ends]) @ tower.text_projection
        torch.testing.assert_close(torch.nn.functional.normalize(rows, dim=-1), model.encode_text())
        (outputs * torch.linspace(-1, 1, outputs.shape[1])[:, None]).sum().backward()
        found.append([value.grad for value in model.parameters() if value.grad is not None])
        some = model.text_outputs(torch.tensor([2, 0]))
        if kind == "deep":
            torch.testing.assert_close(some, outputs[[2, 0]], rtol=1e-4, atol=1e-5)
    for whole, chunked in zip(*found, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)


def test_positions_behind_the_end_are_those_of_a_plain_pass() -> None:
    clip = tiny_clip()
    text = plain_text("a drawing of a {}, small.")
    text.set_classes(NAMES, clip.text)
    ids = tokenize([f"a drawing of a {name}, small." for name in NAMES])
    with torch.no_grad():
        x = clip.text.embed(ids) + clip.text.positional_embedding
        for block in clip.text.transformer:
            x, _ = block(x, mask=clip.text.causal[:, : x.shape[1]])
        torch.testing.assert_close(text.outputs(clip.text), x, rtol=1e-4, atol=1e-5)


def test_the_distance_by_hand() -> None:
    first, second = torch.tensor([[[1.0, 0.0], [2.0, 0.0]]]), torch.tensor([[[3.0, 0.0], [0.0, 5.0]]])
    assert float(output_distance(first, second)) == pytest.approx(0.5)
