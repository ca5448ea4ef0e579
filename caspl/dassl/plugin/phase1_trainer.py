"""The boosting trainer ``CasPL`` for code bases that are not ours, on Dassl's own classes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from caspl.dassl.phase1 import Phase1
from caspl.dassl.run_folder import claim
from caspl.dassl.section import check_options, load_student
from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.step.precision import Precision, best_device
from dassl.engine import TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer


class CasPL(Phase1, TrainerX):
    """Phase 1: the towers, the teacher and the loss are this library's, whatever CLIP the code base has."""

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        check_options(cfg)
        self.precision = Precision(cfg.TRAINER.CASPL.PREC, best_device(cfg.USE_CUDA))

    def build_model(self) -> None:
        cfg = self.cfg
        self.device = self.precision.device
        clip, self.student_hash = load_student(cfg)
        text, vision = self.boosting_segments(clip).cascade()
        self.model = PromptedCLIP(self.precision.place(clip), text, vision, self.dm.dataset.classnames)
        self.model.to(self.device)
        self.scaler = self.precision.scaler()
        segments = nn.ModuleDict({name.split(".")[0]: segment for name, segment in self.model.segments().items()})
        if not segments:
            raise CasPLError("there are no tokens to learn: look at the lengths and depths in TRAINER.CASPL")
        self.make_teacher()
        self.optim = build_optimizer(segments, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("CasPL", segments, self.optim, self.sched)

    def before_train(self) -> None:
        claim(self.cfg, "CASPL")  # Dassl goes on with whatever lies in the folder: never with another run's tokens
        super().before_train()

    def set_model_mode(self, mode: str = "train", names: Any = None) -> None:
        super().set_model_mode(mode, names)
        self.model.train(mode == "train")

    def forward_backward(self, batch: Mapping[str, Any]) -> dict[str, float]:
        images = batch["img"].to(self.device)
        with self.precision.compute():
            output = self.model(images)
            loss = self.divergence(output, images)
        if not torch.isfinite(loss):
            raise CasPLError(f"the loss is {loss.item()} in epoch {self.epoch + 1}: lower OPTIM.LR, or use PREC fp32")
        self.optim.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optim)
        self.scaler.update()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def model_inference(self, input: Tensor) -> Tensor:
        with self.precision.compute():
            return self.model(input).logits

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        super().load_model(directory, epoch)
        self.model.forget_text()
