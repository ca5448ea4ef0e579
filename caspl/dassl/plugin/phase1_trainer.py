"""The boosting trainer ``CasPL`` for code bases that are not ours, on Dassl's own classes alone."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from caspl.checkpoint import ABOUT, SegmentStore
from caspl.dassl.outcome import PHASE_1
from caspl.dassl.phase1 import Phase1
from caspl.dassl.plugin.own_name import require_no_phase
from caspl.dassl.run_folder import keep_settings
from caspl.dassl.section import check_options, require_labels
from caspl.dassl.stepping import Stepping
from caspl.dassl.student import given_pixels, load_student
from caspl.errors import CasPLError
from caspl.files import Claim
from caspl.model import PromptedCLIP
from caspl.runtime import Runtime
from caspl.step import Precision
from dassl.engine import TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer


class CasPL(Phase1, Stepping, TrainerX):
    """Phase 1: the towers, the teacher and the loss are this library's, whatever CLIP the code base has."""

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        require_no_phase(cfg, type(self).__name__)
        check_options(cfg)

    def build_model(self) -> None:
        cfg = self.cfg
        require_labels(self.dm.dataset)
        runtime = Runtime.choose(cfg.USE_CUDA)
        if runtime.world > 1:
            raise CasPLError("phase 1 in another code base trains in one process: start one, or use our train.py")
        self.device = runtime.device
        self.precision = Precision(cfg.TRAINER.CASPL.PREC, self.device)
        clip, self.student_hash = load_student(cfg)
        prompts = self.boosting_segments(clip)
        if not prompts.trainable:
            raise CasPLError("there are no tokens to learn: look at the lengths and depths in TRAINER.CASPL")
        self.model = PromptedCLIP.of(self.precision.place(clip), prompts, self.dm.dataset.classnames)
        pixels = given_pixels(cfg).as_dict()
        segments = _Store(self.model, cfg.MODEL.BACKBONE.NAME, self.student_hash, pixels)
        segments.more = (self._step_state, self._take_step_state)  # the original Dassl saves nothing but models
        self.optim = build_optimizer(segments, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("CasPL", segments, self.optim, self.sched)

    def train(self) -> None:  # type: ignore[override]
        with Claim.within(self.cfg.OUTPUT_DIR, "a run of CasPL"):
            super().train()

    def before_train(self) -> None:
        # Dassl goes on with whatever lies in the folder: never with another run's tokens.
        keep_settings(self.cfg, {"CASPL": PHASE_1})
        self.start()
        super().before_train()

    def _step_state(self) -> dict[str, Any]:
        return self.step.state_dict() if hasattr(self, "step") else {}

    def _take_step_state(self, state: dict[str, Any]) -> None:
        if hasattr(self, "step"):  # evaluation takes no step
            self.step.load_state_dict(state)


class _Store(SegmentStore):
    """Takes checkpoints of version 0.1.0 too, which called the tokens otherwise and said nothing of them."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for tower in ("text", "vision"):
            if prefix + f"{tower}.values" in state_dict:
                state_dict[prefix + f"{tower}.boosting.values"] = state_dict.pop(prefix + f"{tower}.values")
                state_dict.setdefault(prefix + ABOUT, self.get_extra_state() | {"more": {}})
        super()._load_from_state_dict(state_dict, prefix, *args)
