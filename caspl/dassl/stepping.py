"""How a trainer of Dassl's kind trains and evaluates a prompted CLIP: ours, and phase 1 in other code bases."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caspl.classifier import Classifier
from caspl.errors import CasPLError
from caspl.group import Group
from caspl.model import Output, PromptedCLIP
from caspl.step import Batch, Precision, Steering, Step, Terms, accuracy, not_finite
from caspl.step.graph import CudaRecorder, Recorded, Recorder
from caspl.teachers import Encoder, load_encoder

if TYPE_CHECKING:
    from dassl.engine import TrainerX as Base
else:
    Base = object


FEW = 12
"""Batches of a test that are not worth a recording, which takes some of them itself."""
TRAIN: dict[str, Any] = {
    "GRAPH": "auto",  # on a GPU, record steps and tests as CUDA graphs; off: launch each kernel
    "TEXT_MEMORY": 2048,  # MiB for activations of class texts; more are computed twice. 0: no bound
}
"""Keys of ``TRAIN`` beyond Dassl's; 2048 MiB hold a thousand classes in half precision."""


class Stepping(Base):
    """A mixin in front of ``TrainerX``. The trainer below builds ``model``, ``precision`` and ``optim``.

    Class attributes:
        labelled: whether the losses use labels.
    """

    labelled = True
    steering: Steering | None = None  # losses that steer the gradient; set by `prepare`
    clip_norm = 0.0  # largest norm of all gradients together; 0: any. Set by `prepare`

    model: PromptedCLIP
    precision: Precision
    step: Step
    group = Group()  # alone, unless the trainer below joins others
    whole_batch = ""  # a loss that is no mean over images, in words: its batches cannot be shared among processes
    classifier: Classifier | None = None
    _recorded: Recorded | None = None

    def losses(self, output: Output, batch: Batch) -> Terms:
        """Named scalar terms; their sum is minimised."""
        raise NotImplementedError

    @property
    def learner(self) -> PromptedCLIP:
        """The model that steps are taken with: the trainer's, or one of other classes that shares its segments."""
        return self.model

    def chosen_classes(self, batch: Batch) -> Tensor | None:
        """Called before a step's forward pass: numbers of the learner's classes that it is about; None for all."""
        return None

    def prepare(self) -> None:
        """What training needs beside the prompted model: references, teachers. Called once, before training."""

    def frozen_encoder(self, name: str) -> Encoder:
        """A teacher's encoder; of several processes the first one fetches its weights."""
        with self.group.in_turn():
            return load_encoder(name, self.precision)

    def batch_of(self, loaded: Mapping[str, Any]) -> Batch:
        """What a step is given of what the loader has made."""
        return Batch.of(loaded, self.device)

    def draw(self) -> None:
        """Called before each step, outside of what is recorded: what is random in it is written in place, by `dice`."""

    def dice(self) -> torch.Generator:
        """The device's random numbers for the present step: alike in all processes, and again after a resume."""
        seed = self.cfg.SEED if self.cfg.SEED >= 0 else torch.initial_seed()
        place = hashlib.sha256(f"{seed} {self.epoch} {self.batch_idx}".encode()).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(place[:7], "big"))

    def finish_epoch(self) -> None:
        """Called in an epoch's last batch, after its step and before anything is saved or tested."""

    def start(self) -> None:
        """Make ready for steps.

        Raises:
            CasPLError: several processes share batches that this trainer needs whole.
        """
        if self.whole_batch and self.group.world > 1:
            raise self.group.refusal(
                f"{type(self).__name__} needs each batch whole, for {self.whole_batch}: start one process"
            )
        self.model.text_budget = getattr(self.cfg.TRAIN, "TEXT_MEMORY", TRAIN["TEXT_MEMORY"]) * 2**20
        with self.precision.compute():
            self.prepare()
        metrics = accuracy if self.labelled else None
        recorder = self.recorder_of_work()
        self.step = Step(
            self.learner,
            self.losses,
            self.optim,
            self.precision,
            metrics,
            recorder,
            self.group,
            steering=self.steering,
            choose=self.chosen_classes,
            clip_norm=self.clip_norm,
        )

    def recorder_of_work(self) -> Recorder | None:
        """What records steps and tests, so that they are one launch each (``TRAIN.GRAPH``); None where nothing does."""
        wanted = getattr(self.cfg.TRAIN, "GRAPH", TRAIN["GRAPH"])
        return CudaRecorder(self.device) if wanted == "auto" and self.device.type == "cuda" else None

    def forward_backward(self, batch: Mapping[str, Any]) -> Terms:
        """Step; the numbers stay on the device until they are printed."""
        if self.batch_idx == 0:
            self.step.begin_epoch()
        self.draw()
        numbers = self.step(replace(self.batch_of(batch), share=self._share()))
        if self.batch_idx + 1 == self.num_batches:
            self.step.require_finite(self.epoch, self._advice())
            self.update_lr()
            self.finish_epoch()
        return numbers

    def numbers_arrived(self, numbers: list[tuple[int, dict[str, float]]]) -> None:
        """The engine's hook where numbers come to the host, to be printed; the original Dassl has none."""
        for batch, values in numbers:
            if not math.isfinite(values.get("loss", 0.0)):
                raise self.group.refusal(not_finite(self.epoch, batch, self._advice()))

    def set_model_mode(self, mode: str = "train", names: Any = None) -> None:
        super().set_model_mode(mode, names)
        self.model.train(mode == "train")

    def test(self, *args: Any, **kwargs: Any) -> Any:
        """As Dassl's, with the classifier that the model is now."""
        with self.precision.compute():
            self.classifier = self.model.fixed()
        recorder = self.recorder_of_work() if len(self.test_loader or ()) > FEW else None
        if recorder is not None:
            self._recorded = Recorded(self._classify, recorder, "the test", computes=self.precision.computes)
        try:
            return super().test(*args, **kwargs)
        finally:
            self.classifier = self._recorded = None

    def model_inference(self, input: Tensor) -> Tensor:
        """Logits (batch, classes) of normalised images."""
        if self._recorded is not None and not torch.is_grad_enabled():
            return self._recorded(input)[0].clone()
        return self._classify(input)[0]

    def _classify(self, images: Tensor) -> list[Tensor]:
        with self.precision.compute():
            return [(self.classifier or self.model.fixed())(images)]

    def _share(self) -> float:
        """The part of the present batch that this process has of it."""
        if self.group.world == 1:
            return 1.0
        share = getattr(getattr(self.train_loader_x, "batch_sampler", None), "share", None)
        if share is None:
            raise CasPLError(
                f"{type(self).__name__} trains on a loader that gives each process all images: make it with "
                "dassl.data.data_manager.build_data_loader, or start one process"
            )
        return float(share(self.batch_idx))

    def _advice(self) -> str:
        return f"lower OPTIM.LR ({self.cfg.OPTIM.LR:g}), or use PREC fp32"
