"""A trainer with data, a device, checkpoints and evaluation; its model is a method's business."""

from __future__ import annotations

import datetime
import os
import time
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm
from yacs.config import CfgNode

from ..data.data_manager import DataManager
from ..data.transforms.kit import on_tensors
from ..evaluation.build import build_evaluator
from ..utils.logger import logger
from .base import Names, TrainerBase
from .snapshot import (
    State,
    load_random_state,
    random_state,
    read_snapshot,
    remove_snapshot,
    snapshot_path,
    write_snapshot,
)

__all__ = ["SimpleNet", "SimpleTrainer"]


class SimpleNet(nn.Module):
    """Kept as a name only: the backbones that it was made of are not part of this package."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("SimpleNet needs dassl.modeling, which is left out; build a module of your own")


class SimpleTrainer(TrainerBase):
    """Builds everything from a configuration, in a fixed order, and evaluates.

    ``rolling_resume``, off by default, makes a run survive being killed: after each epoch the file
    ``OUTPUT_DIR/resume.pt`` is replaced by :meth:`resume_state`, and the same command goes on from there,
    with the same random numbers as if it had not been interrupted. The file goes away with the last epoch.

    Args:
        cfg: the configuration.
    """

    rolling_resume = False

    model: Any
    optim: Any
    sched: Any
    dm: Any

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.check_cfg(cfg)
        use_cuda = torch.cuda.is_available() and cfg.USE_CUDA
        self.device = torch.device("cuda" if use_cuda else "cpu")
        self.start_epoch = self.epoch = 0
        self.max_epoch: int = cfg.OPTIM.MAX_EPOCH
        self.output_dir: str = cfg.OUTPUT_DIR
        self.cfg = cfg
        # The order decides which random numbers each part sees.
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)
        self.best_result = float("-inf")

    def check_cfg(self, cfg: CfgNode) -> None:
        """Hook: refuse a configuration that the method cannot work with. Nothing is built yet."""

    def build_data_loader(self) -> None:
        """Build the data manager and take its loaders over."""
        dm = DataManager(self.cfg)
        self.train_loader_x = dm.train_loader_x
        self.train_loader_u = dm.train_loader_u
        self.val_loader = dm.val_loader
        self.test_loader = dm.test_loader
        self.num_classes = dm.num_classes
        self.num_source_domains = dm.num_source_domains
        self.lab2cname = dm.lab2cname
        self.dm = dm

    def build_model(self) -> None:
        """Build the model and register it."""
        raise NotImplementedError(
            f"{type(self).__name__} must override build_model(), and register_model() what it builds"
        )

    def train(self) -> None:  # type: ignore[override]
        """Train from where an earlier run in the same output folder ended, and evaluate."""
        super().train(self.start_epoch, self.max_epoch)

    def before_train(self) -> None:
        """Resume, if there is anything to resume, and open the event files.

        Raises:
            RuntimeError: no model is registered.
        """
        if not self._models:
            raise RuntimeError(
                f"{type(self).__name__} has registered no model, so there is nothing to train: "
                "evaluate it (--eval-only), or call register_model() in build_model()"
            )
        snapshot = self._snapshot()
        if snapshot is None:
            self.start_epoch = self.resume_model_if_exist(self.cfg.RESUME or self.output_dir)
        writer_dir = os.path.join(self.output_dir, "tensorboard")
        os.makedirs(writer_dir, exist_ok=True)
        self.init_writer(writer_dir)
        if snapshot is not None:
            self.load_resume_state(snapshot)
            logger.info("Found snapshot in %s (will resume at epoch %d)", self.output_dir, self.start_epoch + 1)
        # Remember the starting time (for computing the elapsed time).
        self.time_start = time.time()

    def after_train(self) -> None:
        """Evaluate the last model, or the one that was best in validation."""
        # The parse scripts of the field wait for the one or for the other.
        logger.info("Finish training")
        logger.info("Finished training")
        if not self.cfg.TEST.NO_TEST:
            if self.cfg.TEST.FINAL_MODEL == "best_val":
                logger.info("Deploy the model with the best val performance")
                self.load_model(self.output_dir)
            else:
                logger.info("Deploy the last-epoch model")
            self.test()
        elapsed = datetime.timedelta(seconds=round(time.time() - self.time_start))
        logger.info("Elapsed: %s", elapsed)
        self.close_writer()

    def after_epoch(self) -> None:
        """Keep the best model by validation, if wanted, and write checkpoints."""
        last_epoch = self.epoch + 1 == self.max_epoch
        frequency = self.cfg.TRAIN.CHECKPOINT_FREQ
        if not self.cfg.TEST.NO_TEST and self.cfg.TEST.FINAL_MODEL == "best_val":
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(self.epoch, self.output_dir, val_result=result, model_name="model-best.pth.tar")
        if last_epoch or (frequency > 0 and (self.epoch + 1) % frequency == 0):
            self.save_model(self.epoch, self.output_dir)

    def _snapshot(self) -> State | None:
        """Return the snapshot to go on from: this run's own, else that of the run in RESUME."""
        if not self.rolling_resume:
            return None
        folders = [folder for folder in (self.output_dir, self.cfg.RESUME) if folder]
        found = (read_snapshot(snapshot_path(folder)) for folder in folders)
        return next((snapshot for snapshot in found if snapshot is not None), None)

    def _epoch_begins(self) -> None:
        if not on_tensors(self.cfg):
            return
        for name in ("train_loader_x", "train_loader_u"):
            sampler = getattr(getattr(self, name, None), "sampler", None)
            set_epoch = getattr(sampler, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self.epoch)

    def _epoch_done(self) -> None:
        if not self.rolling_resume:
            return
        path = snapshot_path(self.output_dir)
        if self.epoch + 1 == self.max_epoch:
            remove_snapshot(path)
        else:
            os.makedirs(self.output_dir, exist_ok=True)
            write_snapshot(path, self.resume_state())

    def resume_state(self) -> State:
        """Return what the next epoch depends on, as tensors and plain values.

        A subclass with further state (averages of weights, a gradient scaler) adds keys to the dictionary.
        """
        return {
            "epoch": self.epoch + 1,
            "best_result": self.best_result,
            "models": _states(self._models),
            "optims": _states(self._optims),
            "scheds": _states(self._scheds),
            "random": random_state(),
        }

    def load_resume_state(self, state: State) -> None:
        """Take over what :meth:`resume_state` returned. A subclass must draw no random number afterwards.

        Raises:
            ValueError: the snapshot is of other models.
        """
        if list(state["models"]) != self.get_model_names():
            raise ValueError(
                f"{snapshot_path(self.output_dir)} holds models {list(state['models'])}, but this trainer "
                f"has {self.get_model_names()}: remove the file or choose another OUTPUT_DIR"
            )
        for kind, targets in (("models", self._models), ("optims", self._optims), ("scheds", self._scheds)):
            for name, target in targets.items():
                if target is not None:
                    target.load_state_dict(state[kind][name])
        self.start_epoch = state["epoch"]
        self.best_result = state["best_result"]
        load_random_state(state["random"])

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on a split and leave the models in eval mode.

        Args:
            split: "val", if there is such a loader; anything else is "test". By default TEST.SPLIT.

        Returns:
            The first metric of the evaluator: the accuracy, in percent.
        """
        self.set_model_mode("eval")
        self.evaluator.reset()
        if split is None:
            split = self.cfg.TEST.SPLIT
        use_val = split == "val" and self.val_loader is not None
        split, loader = ("val", self.val_loader) if use_val else ("test", self.test_loader)
        logger.info("Evaluate on the *%s* set", split)
        # disable=None: no bar where stderr is no terminal.
        for batch in tqdm(loader, disable=None):
            input, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(input), label)
        self.test_results = results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def model_inference(self, input: Any) -> Any:
        """Return the model's output for an input batch: logits, (batch, classes)."""
        return self.model(input)

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return images (batch, 3, height, width) and labels (batch,) on the trainer's device."""
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def get_current_lr(self, names: Names = None) -> float:
        """Return the learning rate of the first named model that learns, nan if none does."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                return self._optims[name].param_groups[0]["lr"]
        return float("nan")


def _states(objects: dict[str, Any]) -> State:
    return {name: None if item is None else item.state_dict() for name, item in objects.items()}
