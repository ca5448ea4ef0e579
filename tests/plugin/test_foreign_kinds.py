"""Code bases of kinds that break plain hooks: each is right, or refused in one sentence."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.dassl.plugin.stored import STORED_AS
from caspl.errors import CasPLError
from caspl.prompts.templates import template_for
from caspl.towers import tokenize
from tests.conftest import CLASSES
from tests.plugin import standins
from tests.plugin.clip import CLIP, Style, load_clip_to_cpu
from tests.plugin.harness import foreign, logits, train
from tests.plugin.test_equality import batch, config
from tests.tiny_clip import SIZES

TOKENS = SIZES.grid**2 + 1
COOP: dict[str, Any] = {"N_CTX": 4}


def made(trainer: Any, clips: dict[str, str], folder: Path, **hints: Any) -> Any:
    method = next(base.__name__ for base in trainer.__mro__ if base.__name__ in ("CoOp", "VPT", "PromptSRC"))
    options = {"CoOp": COOP, "VPT": {"N_CTX_VISION": 2}, "PromptSRC": {}}[method]
    return foreign(trainer, config(method, options, clips["student"], folder), CLASSES, **hints)


class Around(nn.Module):
    """Around a block, which stays what it is."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block


class Attending(Around):
    """Gives a square of the sequence beside its tokens."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = x.transpose(0, 1)
        return self.block(x), rows @ rows.transpose(1, 2)


def around(tower: Any, wrapper: Any, run: Any) -> None:
    """Wrap every block of a tower, and run them by ``run(blocks, x)`` over (tokens, batch, width)."""
    blocks = tower.transformer.resblocks = nn.ModuleList(wrapper(block) for block in tower.transformer.resblocks)
    tower.transformer.forward = lambda x, deep=(): run(blocks, x.permute(1, 0, 2)).permute(1, 0, 2)


def test_returned_attention_loses_the_tokens_places(clips: dict[str, str], tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Returned(standins.CoOp):
        def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
            def run(blocks: Any, x: Tensor) -> Tensor:
                for block in blocks:
                    rows = x.transpose(0, 1)
                    x, attention = block(x)
                    seen.append((attention - rows @ rows.transpose(1, 2)).abs().max())
                    assert attention.shape == (x.shape[1], x.shape[0], x.shape[0])
                return x

            around(clip.visual, Attending, run)
            return super().assemble(clip, names)

    images = batch(0, 0)["img"]
    usual, other = made(standins.CoOp, clips, tmp_path), made(Returned, clips, tmp_path)
    other.model.prompt_learner.ctx.data.copy_(usual.model.prompt_learner.ctx)
    torch.testing.assert_close(logits(other, images), logits(usual, images), rtol=0, atol=1e-5)
    assert max(seen) < 1e-3  # each patch with each, none with a boosting token


class Biased(Around):
    """Takes a bias between places, added to its attention, as an argument."""

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        self.block.mask = bias  # type: ignore[assignment]
        return self.block(x)  # type: ignore[no-any-return]


def biased(bias: Tensor, tower: str) -> Any:
    class Trainer(standins.CoOp):
        def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
            def run(blocks: Any, x: Tensor) -> Tensor:
                for block in blocks:
                    x = block(x, bias)
                return x

            around(clip if tower == "text" else clip.visual, Biased, run)
            return super().assemble(clip, names)

    return Trainer


def test_a_bias_beside_the_tokens(clips: dict[str, str], tmp_path: Path) -> None:
    images, usual = batch(0, 0)["img"], made(standins.CoOp, clips, tmp_path)
    causal = torch.full((77, 77), float("-inf")).triu(1)
    for bias, tower in ((causal, "text"), (torch.zeros(TOKENS, TOKENS), "image")):
        other = made(biased(bias, tower), clips, tmp_path)
        other.model.prompt_learner.ctx.data.copy_(usual.model.prompt_learner.ctx)
        torch.testing.assert_close(logits(other, images), logits(usual, images), rtol=0, atol=1e-5)
    with pytest.raises(CasPLError, match="a bias between positions that is not the causal mask"):
        logits(made(biased(causal + torch.randn(77, 77), "text"), clips, tmp_path), images)


class Widened(Around):
    """Its causal mask is as wide as the sequence is."""

    def forward(self, x: Tensor) -> Tensor:
        if self.block.mask is not None:
            self.block.mask = torch.full((len(x), len(x)), float("-inf")).triu(1)  # type: ignore[assignment]
        return self.block(x)  # type: ignore[no-any-return]


class Growing(Widened):
    """Puts tokens of its own in behind the first one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x[:1], x.new_ones(2, *x.shape[1:]), x[1:]]))


class Appending(Widened):
    """Puts tokens of its own in behind the last one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x, x.new_ones(2, *x.shape[1:])]))


def growing(tower: str, seen: list[Tensor], where: str = "front") -> Any:
    class Trainer(standins.CoOp):
        def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
            part: Any = clip if tower == "text" else clip.visual
            blocks = part.transformer.resblocks
            grown = [Growing(blocks[1]), *map(Widened, blocks[2:])] if where == "front" else [Appending(blocks[1])]
            part.transformer.resblocks = nn.Sequential(blocks[0], *grown)
            part.transformer.resblocks.register_forward_hook(lambda module, args, x: seen.append(x.detach()))
            return super().assemble(clip, names)

    return Trainer


def test_a_block_that_grows_is_followed_among_patches(clips: dict[str, str], tmp_path: Path) -> None:
    seen: list[Tensor] = []
    trainer, images = made(growing("image", seen), clips, tmp_path, check=False), batch(0, 0)["img"]
    logits(trainer, images)
    # By hand, with the boosting tokens at the very end of the sequence.
    tower, tokens = trainer.model.image_encoder, trainer._caspl_boosted.insertions[0].segment.values
    blocks = [block.block if isinstance(block, Widened) else block for block in tower.transformer.resblocks]
    x = tower.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.expand(len(x), 1, -1), x], dim=1) + tower.positional_embedding
    x = tower.ln_pre(x).transpose(0, 1)
    with torch.no_grad():
        for layer, block in enumerate(blocks):
            if layer == 1:
                x = torch.cat([x[:1], x.new_ones(2, *x.shape[1:]), x[1:]])
            if layer < len(tokens):
                fresh = tower.ln_pre(tokens[layer]) if layer == 0 else tokens[layer]
                x = torch.cat([x[: TOKENS + 2 * (layer > 0)], fresh[:, None].expand(-1, x.shape[1], -1)])
            x = type(block).forward(block, x)
    expected = x[: TOKENS + 2]
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-4)


def test_a_block_that_grows_before_the_class_name_is_followed_in_text(clips: dict[str, str], tmp_path: Path) -> None:
    seen: list[Tensor] = []
    trainer, images = made(growing("text", seen), clips, tmp_path, check=False), batch(0, 0)["img"]
    logits(trainer, images)
    # By hand, over all positions with a mask of their number; the name begins behind SOS and four tokens of context.
    tower, tokens = trainer.model.text_encoder, trainer._caspl_boosted.insertions[1].segment.values
    learner, start, count = trainer.model.prompt_learner, 5, tokens.shape[1]
    x = learner().transpose(0, 1)[: 77 - count]
    x = torch.cat([x[:start], tokens[0][:, None].expand(-1, x.shape[1], -1), x[start:]])
    x = x + tower.positional_embedding[:, None]
    with torch.no_grad():
        for layer, block in enumerate(tower.transformer.resblocks):
            block = block.block if isinstance(block, Widened) else block
            if layer == 1:
                x, start = torch.cat([x[:1], x.new_ones(2, *x.shape[1:]), x[1:]]), start + 2
            if 0 < layer < len(tokens):
                fresh = tokens[layer][:, None].expand(-1, x.shape[1], -1)
                x = torch.cat([x[:start], fresh, x[start + count :]])
            block.mask = torch.full((len(x), len(x)), float("-inf")).triu(1)
            x = type(block).forward(block, x)
    expected = torch.cat([x[:start], x[start + count :]])
    torch.testing.assert_close(seen[0][: len(expected)], expected, rtol=0, atol=1e-4)
    assert len(seen[0]) == 79


def test_a_block_that_grows_elsewhere_is_refused_in_text(clips: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match=r"block 1 of the text tower .* takes 77 tokens and gives 79"):
        logits(made(growing("text", [], "end"), clips, tmp_path), batch(0, 0)["img"])


class TwoTexts(standins.CoOp):
    """Runs a second text through the same tower, in which the name begins elsewhere."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        model.other = standins.PromptLearner(clip, names, 2, "")
        first = model.features

        def features(images: Tensor) -> tuple[Tensor, Tensor]:
            image, text = first(images)
            other = model.text_encoder(model.other(), model.other.tokenized_prompts)
            return image, F.normalize(text + F.normalize(other, dim=-1), dim=-1)

        model.features = features
        return model


def test_each_call_has_the_place_of_its_own_text(clips: dict[str, str], tmp_path: Path) -> None:
    images = batch(0, 0)["img"]
    both = made(TwoTexts, clips, tmp_path)
    alone = [made(standins.CoOp, clips, tmp_path), None]
    cfg = config("CoOp", {"N_CTX": 2}, clips["student"], tmp_path)
    alone[1] = foreign(standins.CoOp, cfg, CLASSES)
    texts = []
    for trainer, learner in zip(alone, (both.model.prompt_learner, both.model.other), strict=True):
        trainer.model.prompt_learner.ctx.data.copy_(learner.ctx)
        texts.append(trainer.model.features(images)[1])
    expected = F.normalize(texts[0] + texts[1], dim=-1)
    torch.testing.assert_close(both.model.features(images)[1], expected, rtol=0, atol=1e-5)


class Prototypes(standins.VPT):
    """Copies its text features, which are not normalised, into a parameter, and keeps a stack of them."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        with torch.no_grad():
            text = 21.8 * F.normalize(clip.encode_text(tokenize([template_for("EuroSAT").format(n) for n in names])))
        model: Any = super().assemble(clip, names)
        model.embeddings.fixed_embeddings = text
        model.prompt_learner = nn.Module()
        model.prompt_learner.prototypes = nn.Parameter(text.clone())
        model.prompt_learner.residual = nn.Parameter(torch.zeros_like(text))
        model.every = text.clone()[:, None]
        model.forward = lambda images: (
            model.logit_scale.exp()
            * F.normalize(model.image_encoder(images), dim=-1)
            @ F.normalize(model.prompt_learner.prototypes, dim=-1).t()
        )
        return model


def test_copies_of_kept_features_are_replaced_with_their_norms(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "caspl"):
        trainer = made(Prototypes, clips, tmp_path)
    model, learner = trainer.model, trainer.model.prompt_learner
    torch.testing.assert_close(learner.prototypes.norm(dim=-1), torch.full((len(CLASSES),), 21.8))
    assert torch.equal(learner.prototypes, model.embeddings.fixed_embeddings)
    assert torch.equal(learner.prototypes, model.every[:, 0])
    assert not learner.residual.any()
    plain = made(Prototypes, clips, tmp_path, text=False).model.prompt_learner.prototypes
    assert F.cosine_similarity(plain, learner.prototypes).max() < 0.999
    for name in ("Module.prototypes", "FixedText.fixed_embeddings", "VPTModel.every"):
        assert name in caplog.text
    train(trainer, batch, 1, 1)
    learned = learner.prototypes.detach().clone()
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(learner.prototypes, learned)  # what has been trained stays


def test_a_tower_of_the_same_blocks_is_said_to_be_boosted(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Shared(standins.CoOp):
        def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
            model: Any = super().assemble(clip, names)
            reference = load_clip_to_cpu(self.cfg.MODEL.BACKBONE.NAME, Style())
            reference.visual.transformer.resblocks = clip.visual.transformer.resblocks
            model.prompt_learner.reference = reference
            return model

    with caplog.at_level(logging.INFO, "caspl"):
        made(Shared, clips, tmp_path)
    assert "since its blocks are the same: the image tower prompt_learner.reference.visual" in caplog.text
    assert "left plain: the text tower prompt_learner.reference" in caplog.text


def test_every_parameter_has_a_gradient_while_the_tokens_are_frozen(clips: dict[str, str], tmp_path: Path) -> None:
    """As ProGrad's loop wants it."""
    trainer = made(standins.CoOp, clips, tmp_path)
    train(trainer, batch, 1, 1)
    learner = trainer.model.prompt_learner
    assert all(value.grad is not None for value in learner.parameters())
    assert f"{STORED_AS}.text.values" in learner.state_dict()


class Dropping(standins.CoOp):
    """Keeps CLS and the first patches alone, from its second block on."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        block: Any = clip.visual.transformer.resblocks[1]
        before = block.forward
        block.forward = lambda x: torch.cat([before(x[:4]), x[4:]])
        return super().assemble(clip, names)


class Counting(standins.CoOp):
    """Weighs patches by their number."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        block: Any = clip.visual.transformer.resblocks[1]
        before = block.forward
        block.forward = lambda x: before(x * torch.linspace(1, 3, len(x))[:, None, None])
        return super().assemble(clip, names)


class Elsewhere(standins.CoOp):
    """Evaluates on images that its tower has not seen."""

    def model_inference(self, images: Tensor) -> Tensor:
        self.model.image_encoder(images)
        return images.flatten(1) @ torch.ones(images[0].numel(), 8)


@pytest.mark.parametrize(
    ("trainer", "sentence"),
    [
        (Dropping, r"self-check: boosting token 0 of layer 1 does not reach the logits of CasPL_Dropping"),
        (Counting, "depend on the place of the boosting tokens among the patches"),
        (Elsewhere, "are the same with and without the boosting tokens"),
    ],
)
def test_the_self_check_refuses(trainer: Any, sentence: str, clips: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match=sentence):
        train(made(trainer, clips, tmp_path), batch, 1, 1)


def test_the_self_check_leaves_no_trace(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    losses = []
    for check in (True, False):
        torch.manual_seed(3)
        trainer = made(standins.CoOp, clips, tmp_path, check=check)
        with caplog.at_level(logging.INFO, "caspl"):
            losses.append(train(trainer, batch, 2, 2))
    assert losses[0] == losses[1]
    assert caplog.text.count("self-check: passed") == 1
