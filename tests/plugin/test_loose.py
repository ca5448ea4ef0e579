"""Models that run the blocks of a CLIP from lists of their own, without OpenAI's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.errors import CasPLError
from tests.conftest import CLASSES
from tests.plugin import standins
from tests.plugin.clip import CLIP
from tests.plugin.harness import foreign, logits, train
from tests.plugin.test_equality import batch, config


class LooseModel(nn.Module):
    """Both towers in pieces."""

    def __init__(self, clip: CLIP, learner: standins.PromptLearner, keep: Any) -> None:
        super().__init__()
        visual = clip.visual
        self.prompt_learner, self.logit_scale = learner, clip.logit_scale
        self.patches, self.first, self.places = visual.conv1, visual.class_embedding, visual.positional_embedding
        self.before, self.after, self.to_both = visual.ln_pre, visual.ln_post, visual.proj
        self.seeing = keep(visual.transformer.resblocks)
        self.text_places, self.end, self.text_to_both = clip.positional_embedding, clip.ln_final, clip.text_projection
        self.reading = keep(clip.transformer.resblocks)

    def image(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = self.before(torch.cat([self.first.expand(len(x), 1, -1), x], dim=1) + self.places).transpose(0, 1)
        for block in self.seeing:
            x = block(x)
        return self.after(x[0]) @ self.to_both

    def text(self, prompts: Tensor, ids: Tensor) -> Tensor:
        x = (prompts + self.text_places).transpose(0, 1)
        for block in self.reading:
            x = block(x)
        x = self.end(x.transpose(0, 1))
        return x[torch.arange(len(x)), ids.argmax(-1)] @ self.text_to_both

    def forward(self, images: Tensor) -> Tensor:
        text = self.text(self.prompt_learner(), self.prompt_learner.tokenized_prompts)
        return self.logit_scale.exp() * F.normalize(self.image(images), dim=-1) @ F.normalize(text, dim=-1).t()


class Loose(standins.CoOp):
    keep: Any = staticmethod(lambda blocks: nn.ModuleList(blocks))

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        return LooseModel(clip, standins.PromptLearner(clip, names, 4, ""), self.keep)


class InALists(Loose):
    """Not registered as parts of the model."""

    keep: Any = staticmethod(list)


class Wrapping(Loose):
    keep: Any = staticmethod(lambda blocks: nn.ModuleList(nn.Sequential(block) for block in blocks))


@pytest.mark.parametrize("trainer", [Loose, InALists, Wrapping])
def test_lists_of_blocks_are_found_by_their_weights(trainer: Any, clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    usual, loose = foreign(standins.CoOp, cfg, CLASSES), foreign(trainer, cfg, CLASSES)
    loose.model.prompt_learner.ctx.data.copy_(usual.model.prompt_learner.ctx)
    assert {insertion.name for insertion in loose._caspl_boosted.insertions} == {
        "the image tower's blocks seeing (LooseModel)",
        "the text tower's blocks reading (LooseModel)",
    }
    images = batch(0, 0)["img"]
    torch.testing.assert_close(logits(loose, images), logits(usual, images), rtol=0, atol=1e-5)
    expected = train(usual, batch, 1, 2)
    assert train(loose, batch, 1, 2) == pytest.approx(expected, abs=1e-5)


class OthersWeights(Loose):
    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        model.seeing[2].mlp.c_proj.bias.data += 1
        return model


class Copied(standins.CoOp):
    """Has a whole image tower beside, but runs blocks of its own that are equal."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        other = LooseModel(standins.load_clip_to_cpu(self.cfg.MODEL.BACKBONE.NAME, self.style), model.prompt_learner,
                           nn.ModuleList)  # fmt: skip
        model.other = other
        model.image_encoder.forward = other.image
        return model


def test_blocks_with_other_weights_are_no_tower(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    with pytest.raises(CasPLError, match="holds no image tower .* or with a list of blocks that have the weights of"):
        foreign(OthersWeights, cfg, CLASSES)


def test_loose_blocks_that_run_in_a_towers_place_are_named(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    sentence = r"did not run the image tower image_encoder .*, but the image tower's blocks other.seeing .*image_tower="
    with pytest.raises(CasPLError, match=sentence + "'other.seeing'"):
        train(foreign(Copied, cfg, CLASSES), batch, 1, 1)
    trainer = foreign(Copied, cfg, CLASSES, image_tower="other.seeing")
    usual = foreign(standins.CoOp, cfg, CLASSES)
    trainer.model.prompt_learner.ctx.data.copy_(usual.model.prompt_learner.ctx)
    images = batch(0, 0)["img"]
    torch.testing.assert_close(logits(trainer, images), logits(usual, images), rtol=0, atol=1e-5)
