"""What the self-check says of what was replaced beside the towers, and of trainers that answer otherwise than most."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.prompts.templates import template_for
from caspl.towers import tokenize
from tests.conftest import CLASSES
from tests.plugin import standins
from tests.plugin.clip import CLIP
from tests.plugin.harness import foreign, logits, train
from tests.plugin.test_equality import DEEP, batch, config

BOOSTED = DEEP | {"GPA_MEAN": 2, "REFERENCE": "boosted"}


class Stacked(standins.PromptSRC):
    """Its reference is a stack of features, (templates, classes, dim), of which the loss takes the mean (CoPrompt)."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        learner = model.prompt_learner
        ori = learner.__dict__.pop("fixed_embeddings")
        learner.ori_embedding = torch.stack([ori, 2 * ori, 3 * ori])
        return model

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        learner = self.model.prompt_learner
        learner.__dict__["fixed_embeddings"] = learner.ori_embedding.mean(0)
        try:
            return super().loss(images, labels)
        finally:
            del learner.__dict__["fixed_embeddings"]


class Copying(standins.PromptSRC):
    """Its loss works on a list that was made of the features while it was built."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        self.rows = [row.clone() for row in model.prompt_learner.fixed_embeddings]
        return model

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        learner = self.model.prompt_learner
        kept, learner.fixed_embeddings = learner.fixed_embeddings, torch.stack(self.rows)
        try:
            return super().loss(images, labels)
        finally:
            learner.fixed_embeddings = kept


def test_a_stack_of_reference_features_is_boosted(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config("PromptSRC", BOOSTED, clips["student"], tmp_path)
    losses = []
    for trainer in (standins.PromptSRC, Stacked):
        torch.manual_seed(0)
        with caplog.at_level(logging.INFO, "caspl"):
            losses.append(train(foreign(trainer, cfg, CLASSES), batch, 1, 2))
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert "PromptLearner.ori_embedding" in caplog.text
    assert caplog.text.count("self-check: passed") == 2
    torch.manual_seed(0)
    with caplog.at_level(logging.INFO, "caspl"):
        plain = train(foreign(Stacked, config("PromptSRC", DEEP, clips["student"], tmp_path), CLASSES), batch, 1, 2)
    assert "of the shape of text features, left as made: PromptLearner.ori_embedding" in caplog.text
    assert abs(plain[0] - losses[1][0]) > 1e-3


def test_a_replacement_on_which_the_loss_does_not_depend_is_said(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config("PromptSRC", BOOSTED, clips["student"], tmp_path)
    with caplog.at_level(logging.INFO, "caspl"):
        train(foreign(Copying, cfg, CLASSES), batch, 1, 1)
    assert "PromptLearner.fixed_embeddings is boosted, but neither the logits nor the loss depend on it" in caplog.text
    assert "self-check: passed" not in caplog.text
    assert "ZS_image_encoder" not in "".join(line for line in caplog.messages if "nor the loss" in line)


class OfTheLoss(standins.VPT):
    """Keeps features for its loss alone."""

    used = True

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        with torch.no_grad():
            model.anchors = clip.encode_text(tokenize([template_for("EuroSAT").format(name) for name in names]))
        return model

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        image = F.normalize(self.model.image_encoder(images), dim=-1)
        anchors = F.normalize(self.model.anchors, dim=-1)[labels]
        return super().loss(images, labels) + (0 if not self.used else (image - anchors).square().sum(-1).mean())


class OfNothing(OfTheLoss):
    used = False


@pytest.mark.parametrize("trainer", [OfTheLoss, OfNothing])
def test_features_that_only_the_loss_uses_are_checked_by_the_loss(
    trainer: Any, clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config("VPT", {"N_CTX_VISION": 2}, clips["student"], tmp_path)
    with caplog.at_level(logging.INFO, "caspl"):
        train(foreign(trainer, cfg, CLASSES), batch, 1, 1)
    assert ("self-check: passed" in caplog.text) is trainer.used
    assert ("VPTModel.anchors is boosted, but neither the logits nor the loss" in caplog.text) is not trainer.used


class Drawing(standins.CoOp):
    """Draws noise in evaluation too (AnchorOPT), and answers with the text features before the logits (TextRefiner)."""

    def model_inference(self, images: Tensor) -> Any:
        image, text = self.model.features(images)
        noisy = image + 0.1 * torch.randn(image.shape)
        return text, 100 * noisy @ text.t(), self.model.logit_scale


class Remembering(standins.CoOp):
    """Keeps its text features from its first evaluation on (MMRL)."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        model.remembered = None
        first = model.features

        def features(images: Tensor) -> tuple[Tensor, Tensor]:
            if model.training or model.remembered is None:
                model.remembered = first(images)[1]
            return F.normalize(model.image_encoder(images), dim=-1), model.remembered

        model.features = features
        return model


class InSteps(standins.CoOp):
    """Keeps counts, changes its buffers and draws in each step, before it takes the gradient."""

    steps = 0

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        self.steps += 1
        self.model.prompt_learner.ctx.data += 0.01 * torch.randn(self.model.prompt_learner.ctx.shape)
        return super().loss(images, labels)


@pytest.mark.parametrize("trainer", [Drawing, Remembering, InSteps])
def test_answers_of_other_kinds_pass_and_leave_no_trace(
    trainer: Any, clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    losses = []
    for check in (True, False):
        torch.manual_seed(3)
        made = foreign(trainer, config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path), CLASSES, check=check)
        with caplog.at_level(logging.INFO, "caspl"):
            losses.append(train(made, batch, 1, 2))
        assert vars(made).get("steps", 2) == 2
    assert losses[0] == losses[1]
    assert caplog.text.count("self-check: passed") == 1


class OnFeatures(standins.CoOp):
    """Trains on features that it has computed once (CLAP)."""

    def forward_backward(self, features: Tensor, labels: Tensor) -> dict[str, float]:  # type: ignore[override]
        text = self.model.features(self.images)[1]
        loss = F.cross_entropy(100 * features @ text.t(), labels)
        self.model_backward_and_update(loss)
        return {"loss": loss.item()}


@pytest.mark.parametrize("views", [False, True])
def test_a_trainer_whose_steps_get_no_images_is_checked_on_some(
    views: bool, clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = foreign(OnFeatures, config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path), CLASSES)
    given = batch(0, 0)
    trainer.images = given["img"]
    items = [{"img": [image, image] if views else image} for image in given["img"]]
    trainer.train_loader_x = SimpleNamespace(dataset=items)
    features = trainer.model.features(given["img"])[0].detach()
    with caplog.at_level(logging.INFO, "caspl"):
        trainer.forward_backward(features, given["label"])
    assert "self-check: passed" in caplog.text


def test_one_without_any_images_says_that_it_is_not_checked(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = foreign(OnFeatures, config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path), CLASSES)
    trainer.images = batch(0, 0)["img"]
    with caplog.at_level(logging.INFO, "caspl"):
        trainer.forward_backward(trainer.model.features(trainer.images)[0].detach(), batch(0, 0)["label"])
    assert "self-check: not done, the steps of CasPL_OnFeatures get no images" in caplog.text


class TwoViews(standins.CoOp):
    """As with K_TRANSFORMS: 2, of which it takes the second."""

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        return super().forward_backward(batch | {"img": batch["img"][1]})


def test_a_batch_of_several_views_is_checked_by_the_first(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = foreign(TwoViews, config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path), CLASSES)

    def views(epoch: int, index: int) -> Any:
        given = batch(epoch, index)
        return given | {"img": [given["img"], given["img"].flip(-1)]}

    with caplog.at_level(logging.INFO, "caspl"):
        train(trainer, views, 1, 1)
    assert "self-check: passed" in caplog.text


class ProGrad(standins.CoOp):
    """Asks every parameter that it has registered for its gradient, in a loop of its own."""

    def forward_backward(self, batch: dict[str, Tensor]) -> dict[str, float]:
        output = self.model(batch["img"])
        first, second = F.cross_entropy(output, batch["label"]), output.logsumexp(-1).mean()
        (learner,) = self._models.values()
        self.model_zero_grad()
        second.backward(retain_graph=True)
        general = [p.grad.clone() for p in learner.parameters()]
        self.model_zero_grad()
        first.backward()
        for p, other in zip(learner.parameters(), general, strict=True):
            own, unit = p.grad.clone(), other / other.norm()
            if (own * unit).sum() < 0:
                p.grad = own - (own * unit).sum() * unit
        self.model_update()
        return {"loss": first.item()}


class EnginesProGrad(ProGrad):
    def forward_backward(self, batch: dict[str, Tensor]) -> dict[str, float]:
        output = self.model(batch["img"])
        first, second = F.cross_entropy(output, batch["label"]), output.logsumexp(-1).mean()
        self.prograd_backward_and_update(first, second, 1)
        return {"loss": first.item()}


def test_a_loop_over_the_gradients_of_all_parameters_and_the_engines_own_agree(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    losses, images = [], batch(9, 9)["img"]
    answers = []
    for trainer in (ProGrad, EnginesProGrad):
        torch.manual_seed(0)
        made = foreign(trainer, config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path), CLASSES)
        with caplog.at_level(logging.INFO, "caspl"):
            losses.append(train(made, batch, 2, 2))
        answers.append(logits(made, images))
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-3)
    assert caplog.text.count("self-check: passed") == 2
