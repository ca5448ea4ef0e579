"""Token ids that a model does not hold, but makes in its forward pass, and that are of several texts a class."""

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


class InForward(standins.CoOp):
    """Several contexts of four tokens; their texts run as one call, class by class or context by context."""

    contexts = 1
    by_class = False
    hidden = False

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        learners = [standins.PromptLearner(clip, names, 4, "") for _ in range(self.contexts)]
        texts = [learner.__dict__.pop("tokenized_prompts") for learner in learners]
        model.prompt_learner, model.learners = learners[0], nn.ModuleList(learners)
        axis = 1 if self.by_class else 0

        def features(images: Tensor) -> tuple[Tensor, Tensor]:
            ids = torch.stack([text.clone() for text in texts], dim=axis).flatten(0, 1)
            prompts = torch.stack([learner() for learner in learners], dim=axis).flatten(0, 1)
            found = F.normalize(model.text_encoder(prompts, ids.float() if self.hidden else ids), dim=-1)
            mean = found.unflatten(0, (len(names), -1) if self.by_class else (-1, len(names))).mean(axis)
            return F.normalize(model.image_encoder(images), dim=-1), F.normalize(mean, dim=-1)

        model.features = features
        return model


class Several(InForward):
    contexts = 3


class SeveralByClass(Several):
    by_class = True


class Hidden(InForward):
    hidden = True


@pytest.mark.parametrize("trainer", [InForward, Several, SeveralByClass])
def test_the_place_is_read_from_the_call(trainer: Any, clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    images, usual = batch(0, 0)["img"], foreign(standins.CoOp, cfg, CLASSES)
    other = foreign(trainer, cfg, CLASSES)
    found = other.model.features(images)[1]
    texts = []
    for learner in other.model.learners:
        usual.model.prompt_learner.ctx.data.copy_(learner.ctx)
        texts.append(usual.model.features(images)[1])
    expected = F.normalize(torch.stack(texts).mean(0), dim=-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    train(other, batch, 1, 1)


def test_ids_that_are_nowhere_are_missed(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    with pytest.raises(CasPLError, match="holds no token ids of its 8 classes, .* and passes none to its text tower"):
        logits(foreign(Hidden, cfg, CLASSES), batch(0, 0)["img"])


def test_texts_of_something_else_are_refused(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    trainer = foreign(InForward, cfg, CLASSES)
    trainer.dm.dataset.classnames[:] = CLASSES
    ids = standins.tokenize(["a photo of a cat."] * 3)
    with pytest.raises(CasPLError, match="gets 3 texts in which the 8 class names are not found at one place"):
        trainer.model.text_encoder(torch.zeros(3, 77, 128), ids)
