"""The trainer that all methods share: everything but a method's segments and losses is written here, once.

A method is a subclass that states its config section, builds its :class:`~caspl.prompts.Prompts` and, if
cross-entropy is not all, its losses. What trains follows from the segments; what is saved are the segments.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from yacs.config import CfgNode

from caspl.dassl.run_folder import claim, require_same_method
from caspl.dassl.section import check_options, load_student
from caspl.errors import CasPLError, first_line
from caspl.model import Output, PromptedCLIP
from caspl.prompts import Prompts
from caspl.step.precision import Precision, best_device
from caspl.towers import CLIP
from caspl.towers.tokenizer import encode
from dassl.engine import TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from trainers.boosted import boosting_prompts
from trainers.checkpoint import SegmentStore, load_segments
from trainers.recorder import RunRecorder

logger = logging.getLogger(__name__)


class PromptTrainer(TrainerX):
    """Few-shot training of prompt segments in a frozen CLIP.

    Class attributes:
        section: the method's section under ``TRAINER``.
        defaults: that section's keys and defaults, as published.
        saved_as: folder of the method's checkpoints, as published.
        cascades: whether ``CasPL_<name>`` makes sense.
        learns: whether it has tokens of its own to learn; zero-shot has none.
        labelled: whether the losses use labels.
        training_only: keys of the section that mean nothing for a trained run; PREC always is one.
        boosted: set by the registration on ``CasPL_<name>``.
    """

    section: ClassVar[str]
    defaults: ClassVar[dict[str, Any]]
    saved_as: ClassVar[str] = "prompt_learner"
    cascades: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    labelled: ClassVar[bool] = True
    training_only: ClassVar[tuple[str, ...]] = ()
    boosted: ClassVar[bool] = False
    rolling_resume = True  # a killed run goes on from its last epoch, bit for bit

    # What a method states ------------------------------------------------------------------------------------

    def prompts(self, clip: CLIP) -> Prompts:
        """The method's segments and words."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What training needs beside the prompted model: references, teachers. Called once, before training."""

    def losses(self, output: Output, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Named scalar terms; their sum is minimised."""
        return {"ce": F.cross_entropy(output.logits, labels)}

    def finish_epoch(self) -> None:
        """Called in an epoch's last batch, after its step and before anything is saved or tested."""

    # What all methods share ----------------------------------------------------------------------------------

    @property
    def options(self) -> CfgNode:
        """The method's config section."""
        return self.cfg.TRAINER[self.section]

    def check_cfg(self, cfg: CfgNode) -> None:
        check_options(cfg)
        self.precision = Precision(cfg.TRAINER[self.section].PREC, best_device(cfg.USE_CUDA))

    def build_model(self) -> None:
        cfg = self.cfg
        self.device = self.precision.device  # MPS too, which the engine does not look for
        student = cfg.MODEL.BACKBONE.NAME
        clip, self.student_hash = load_student(cfg)
        classnames = self.dm.dataset.classnames
        unknown = [name for name in classnames if not clip.text.knows(encode(name))]
        if len(unknown) > 1:
            logger.warning("%s knows no word of %s: these classes look alike to it", student, ", ".join(unknown[:3]))
        boosting = boosting_prompts(cfg, clip, self.student_hash, classnames) if self.boosted else None
        prompts = self.prompts(clip)
        if self.learns and not prompts.trainable:
            raise CasPLError(f"there are no tokens to learn: look at the lengths and depths in TRAINER.{self.section}")
        text, vision = prompts.cascade(boosting)
        self.model = PromptedCLIP(self.precision.place(clip), text, vision, classnames)
        self.model.to(self.device)
        self.segments = SegmentStore(self.model, student, self.student_hash)
        self.scaler = self.precision.scaler()
        self.recorder = RunRecorder(cfg)
        learned = list(self.segments.learned().values())
        self.optim = build_optimizer(learned, cfg.OPTIM) if learned else None
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM) if learned else None
        self.register_model(self.saved_as, self.segments, self.optim, self.sched)

    def before_train(self) -> None:
        claim(self.cfg, self.section)
        self.prepare()
        try:
            super().before_train()
        except CasPLError:
            raise
        except Exception as error:  # every reader has its own exceptions for a broken file
            raise CasPLError(
                f"the run in {self.output_dir} cannot be continued ({first_line(error)}); use another --output-dir"
            ) from error

    def forward_backward(self, batch: Mapping[str, Any]) -> dict[str, float]:
        images, labels = self.parse_batch_train(batch)
        with self.precision.compute():
            output = self.model(images)
            terms = self.losses(output, images, labels)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        if not torch.isfinite(loss):
            raise CasPLError(
                f"the loss is {loss.item()} in epoch {self.epoch + 1}, batch {self.batch_idx + 1}; "
                "lower OPTIM.LR, or use PREC fp32"
            )
        self.optim.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optim)
        self.scaler.update()
        summary = {"loss": loss.item()}
        if self.labelled:
            summary["acc"] = compute_accuracy(output.logits, labels)[0].item()
        if len(terms) > 1:
            summary |= {name: term.item() for name, term in terms.items()}
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
            self.finish_epoch()
        return summary

    def parse_batch_train(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def model_inference(self, input: Tensor) -> Tensor:
        with self.precision.compute():
            return self.model(input).logits

    def set_model_mode(self, mode: str = "train", names: Any = None) -> None:
        super().set_model_mode(mode, names)
        self.model.train(mode == "train")

    def train(self) -> None:  # type: ignore[override]  # as the engine's own trainers
        if not self.segments.learned():
            self.test()  # nothing to learn: zero-shot
            return
        test_only = getattr(self.dm.dataset, "test_only", False)
        if test_only and self.train_loader_x is self.dm.train_loader_x:  # phase 1 can be given other images
            raise CasPLError(f"{self.cfg.DATASET.NAME} has test images only: train elsewhere and use --eval-only here")
        with self.recorder.timing("train"):
            super().train()
        self.recorder.write()  # once more, with the time of the training

    def test(self, split: str | None = None) -> float:
        with self.recorder.timing("test"):
            accuracy = super().test(split)
        if (split or self.cfg.TEST.SPLIT) == "test":
            self.recorder.write(type(self).__name__, self.test_results, len(self.dm.dataset.test))
        return accuracy

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        if not self.segments.learned():
            return  # zero-shot, or boosting alone: all there is has been built
        if not directory:
            raise CasPLError(f"nothing to evaluate: {type(self).__name__} needs --model-dir, the folder of its run")
        require_same_method(self.cfg, self.section, Path(directory), ("PREC", *self.training_only))
        load_segments(Path(directory) / self.saved_as, epoch, self.segments, type(self).__name__)
        self.model.forget_text()

    def resume_state(self) -> dict[str, Any]:
        return super().resume_state() | {"scaler": self.scaler.state_dict(), "seconds": self.recorder.so_far()}

    def load_resume_state(self, state: dict[str, Any]) -> None:
        super().load_resume_state(state)
        self.scaler.load_state_dict(state["scaler"])
        self.recorder.seconds = state["seconds"]
