"""What every trainer has: named models with their optimizers and schedules, checkpoints, the outer loop."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..utils.checkpoint import BEST_NAME, load_to_cpu, resume_from_checkpoint, save_checkpoint
from ..utils.logger import logger
from ..utils.ranks import is_first, wait_for_all
from ..utils.tools import tolist_if_not
from .writer import open_writer

__all__ = ["TrainerBase"]

Names = str | Sequence[str] | None


class TrainerBase:
    """Holds registered models and runs epochs; what an epoch does is left to subclasses."""

    epoch: int
    start_epoch: int
    max_epoch: int

    def __init__(self) -> None:
        self._models: OrderedDict[str, Any] = OrderedDict()
        self._optims: OrderedDict[str, Any] = OrderedDict()
        self._scheds: OrderedDict[str, Any] = OrderedDict()
        self._writer: Any = None

    def register_model(self, name: str = "model", model: Any = None, optim: Any = None, sched: Any = None) -> None:
        """Make a model known by name, to be saved, resumed and updated.

        Args:
            name: its name, also that of its folder of checkpoints.
            model: the module.
            optim: its optimizer, if it learns.
            sched: the schedule of that optimizer.

        Raises:
            AttributeError: ``__init__`` of the base class has not run.
            AssertionError: the name is taken.
        """
        for role, attribute in (("model", "_models"), ("optim", "_optims"), ("sched", "_scheds")):
            if attribute not in self.__dict__:
                raise AttributeError(f"Cannot assign {role} before super().__init__() call")
        if name in self._models:
            raise AssertionError(f'Found duplicate model names: "{name}"')
        self._models[name] = model
        self._optims[name] = optim
        self._scheds[name] = sched

    def get_model_names(self, names: Names = None) -> list[str]:
        """Return the given name or names as a list, all by default; AssertionError for an unknown one."""
        known = list(self._models)
        if names is None:
            return known
        wanted = list(names) if isinstance(names, tuple) else tolist_if_not(names)
        for name in wanted:
            if name not in known:
                raise AssertionError(f'no model is registered as "{name}", only {known}')
        return wanted

    def save_model(
        self, epoch: int, directory: str, is_best: bool = False, val_result: Any = None, model_name: str = ""
    ) -> None:
        """Write a checkpoint of every model into ``directory/<name>/``; of several processes the first one does.

        Args:
            epoch: index of the epoch that has just ended, from 0; files count from 1.
            directory: the output folder of a run.
            is_best: also write a copy named ``model-best.pth.tar``.
            val_result: the validation result to note.
            model_name: the file name; by default ``model.pth.tar-<epoch>``.
        """
        for name in self.get_model_names() if is_first() else ():
            optim, sched = self._optims[name], self._scheds[name]
            state = {
                "state_dict": self._models[name].state_dict(),
                "epoch": epoch + 1,
                "optimizer": None if optim is None else optim.state_dict(),
                "scheduler": None if sched is None else sched.state_dict(),
                "val_result": val_result,
            }
            save_checkpoint(state, os.path.join(directory, name), is_best=is_best, model_name=model_name)
        wait_for_all()  # since all may read it next

    def resume_model_if_exist(self, directory: str) -> int:
        """Resume all models from ``directory`` if each has a checkpoint there.

        Returns:
            The index of the next epoch, 0 if there is nothing to resume.
        """
        folders = {name: os.path.join(directory, name) for name in self.get_model_names()}
        if not folders or not all(os.path.exists(os.path.join(folder, "checkpoint")) for folder in folders.values()):
            logger.info("No checkpoint found, train from scratch")
            return 0
        logger.info("Found checkpoint at %s (will resume training)", directory)
        epoch = 0
        for name, folder in folders.items():
            epoch = resume_from_checkpoint(folder, self._models[name], self._optims[name], self._scheds[name])
        return epoch

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the weights of every model, strictly.

        Args:
            directory: the output folder of a run; empty skips the loading.
            epoch: which checkpoint, counted from 1; the best one by default.

        Raises:
            FileNotFoundError: a model has no such checkpoint.
        """
        if not directory:
            logger.info("Note that load_model() is skipped as no pretrained model is given")
            return
        model_file = BEST_NAME if epoch is None else f"model.pth.tar-{epoch}"
        for name in self.get_model_names():
            path = os.path.join(directory, name, model_file)
            if not os.path.exists(path):
                raise FileNotFoundError(f"No model at {path}")
            checkpoint = load_to_cpu(path)
            result = checkpoint.get("val_result")
            shown = "none" if result is None else f"{result:.1f}"
            logger.info("Load %s to %s (epoch=%s, val_result=%s)", path, name, checkpoint.get("epoch"), shown)
            self._models[name].load_state_dict(checkpoint["state_dict"])

    def set_model_mode(self, mode: str = "train", names: Names = None) -> None:
        """Put models into "train" mode, or into "test" or "eval" mode; KeyError for another word."""
        if mode not in ("train", "test", "eval"):
            raise KeyError(f'mode must be "train", "test" or "eval", but got "{mode}"')
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    def update_lr(self, names: Names = None) -> None:
        """Move schedules on by one epoch. Nobody but the method itself calls this."""
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def detect_anomaly(self, loss: Tensor) -> None:
        """Raise FloatingPointError unless the loss is finite."""
        if not torch.isfinite(loss).all():
            raise FloatingPointError("Loss is infinite or NaN!")

    def model_zero_grad(self, names: Names = None) -> None:
        """Clear gradients."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].zero_grad()

    def model_backward(self, loss: Tensor) -> None:
        """Compute gradients of a finite loss."""
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names: Names = None) -> None:
        """Step the optimizers."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].step()

    def model_backward_and_update(self, loss: Tensor, names: Names = None) -> None:
        """Clear gradients, compute them and step."""
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)

    def prograd_backward_and_update(
        self, loss_a: Tensor, loss_b: Tensor, lambda_: float = 1, names: Names = None
    ) -> None:
        """Step down one loss, but not against another (ProGrad, Zhu et al. 2023, equation 4).

        Of the gradient of each parameter the part along that of ``loss_b`` is taken off, ``lambda_`` times, where it
        goes the other way. Parameters that only one of the losses depends on keep their own gradient.

        Args:
            loss_a: what is minimised.
            loss_b: what is not to grow.
            lambda_: how much of the part is taken off.
            names: of the models.
        """
        known = self.get_model_names(names)
        learned = [p for name in known for p in self._models[name].parameters() if p.requires_grad]
        self.detect_anomaly(loss_b)
        general = torch.autograd.grad(loss_b, learned, retain_graph=True, allow_unused=True)
        self.model_zero_grad(known)
        self.model_backward(loss_a)
        for parameter, other in zip(learned, general, strict=True):
            if parameter.grad is not None and other is not None:
                direction = torch.nn.functional.normalize(other.flatten(), dim=0)
                along = (parameter.grad.flatten() @ direction).clamp(max=0)
                parameter.grad -= lambda_ * along * direction.view_as(other)
        self.model_update(known)

    def init_writer(self, log_dir: str) -> None:
        """Open event files for tensorboard, once; without tensorboard, go on without them."""
        if self._writer is None:
            logger.info("Initialize tensorboard (log_dir=%s)", log_dir)
            self._writer = open_writer(log_dir)

    def close_writer(self) -> None:
        """Close the event files."""
        if self._writer is not None:
            self._writer.close()

    def write_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None) -> None:
        """Add a number to the event files, if there are any."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """Run the epochs from ``start_epoch`` up to ``max_epoch``; ``before_train`` may move the start."""
        self.start_epoch = start_epoch
        self.max_epoch = max_epoch
        self.before_train()
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self._epoch_begins()
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
            self._epoch_done()
        self.after_train()

    def before_train(self) -> None:
        """Hook."""

    def after_train(self) -> None:
        """Hook."""

    def before_epoch(self) -> None:
        """Hook."""

    def after_epoch(self) -> None:
        """Hook."""

    def _epoch_begins(self) -> None:
        """Run before the hooks of an epoch."""

    def _epoch_done(self) -> None:
        """Run when the hooks of an epoch have run too."""

    def run_epoch(self) -> None:
        """Train one epoch."""
        raise NotImplementedError

    def test(self) -> Any:
        """Evaluate."""
        raise NotImplementedError

    def parse_batch_train(self, *args: Any, **kwargs: Any) -> Any:
        """Take a training batch apart."""
        raise NotImplementedError

    def parse_batch_test(self, batch: Any) -> Any:
        """Take a test batch apart."""
        raise NotImplementedError

    def forward_backward(self, *args: Any, **kwargs: Any) -> Any:
        """Train on one batch; return a dictionary of numbers to report, or None."""
        raise NotImplementedError

    def model_inference(self, input: Any) -> Any:
        """Compute logits."""
        raise NotImplementedError
