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
from ..data.repeatable import repeats
from ..evaluation.build import build_evaluator
from ..utils.checkpoint import BEST_NAME, read_noted_epoch
from ..utils.device import configured_device
from ..utils.logger import logger
from ..utils.ranks import is_first, rank_and_world, wait_for_all
from .base import Names, TrainerBase
from .best import bring_best, read_best_result
from .snapshot import (
    State,
    find_snapshot,
    load_random_state,
    random_state,
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
        self.device = self.choose_device(cfg)
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

    def choose_device(self, cfg: CfgNode) -> torch.device:
        """Hook: return the device to compute on: CUDA's if it is wanted and there, else the CPU.

        Nothing is built yet. Loaders pin their memory, or do not, by the configuration alone.
        """
        return configured_device(cfg)

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
        """Open the event files and resume, if there is anything to resume.

        Raises:
            RuntimeError: no model is registered.
            ValueError: the best model is wanted, but there are no validation images to tell which one that is.
        """
        if not self._models:
            raise RuntimeError(
                f"{type(self).__name__} has registered no model, so there is nothing to train: "
                "evaluate it (--eval-only), or call register_model() in build_model()"
            )
        if self._keeps_best() and self.val_loader is None:
            raise ValueError(
                "TEST.FINAL_MODEL best_val chooses a model by validation images, of which "
                f"{self.cfg.DATASET.NAME} has none, and test images must not choose it: "
                "set TEST.FINAL_MODEL last_step, or give the data set validation images"
            )
        if is_first():
            writer_dir = os.path.join(self.output_dir, "tensorboard")
            os.makedirs(writer_dir, exist_ok=True)
            self.init_writer(writer_dir)
        # After all that may draw: a snapshot brings the states of the generators along.
        self.resume()
        # Remember the starting time (for computing the elapsed time).
        self.time_start = time.time()

    def resume(self) -> None:
        """Go on from an earlier run, if there is one: from its snapshot, else from its checkpoints.

        Snapshots are looked for in the output folder and then in RESUME, checkpoints in RESUME if it is set, else in
        the output folder. A best model in RESUME is copied into the output folder, where the end of training expects
        it. ``before_train`` reads earlier runs here only, so that a subclass can wrap it to say what a broken file
        means. No random number is drawn.

        Raises:
            ValueError: a snapshot is of other models.
            Exception: a file is missing or broken; each reader has its own exceptions.
        """
        folders = [folder for folder in (self.output_dir, self.cfg.RESUME) if folder and self.rolling_resume]
        found = find_snapshot(folders)
        if found is not None:
            folder, state = found
            self.load_resume_state(state)
            logger.info("Found snapshot in %s (will resume at epoch %d)", folder, self.start_epoch + 1)
        else:
            folder = self.cfg.RESUME or self.output_dir
            if self.rolling_resume and not self.cfg.RESUME and self._was_in_its_first_epoch():
                logger.info("The run in %s was ended within its first epoch: it begins anew", folder)
            else:
                self.start_epoch = self.resume_model_if_exist(folder)
        if self.start_epoch == 0 or not self._keeps_best():
            return
        names = self.get_model_names()
        if found is None:
            best_result = read_best_result(folder, names)
            self.best_result = self.best_result if best_result is None else best_result
        if is_first():
            bring_best(folder, self.output_dir, names)

    def _was_in_its_first_epoch(self) -> bool:
        """Whether a run that writes snapshots was ended between its first checkpoint and its first snapshot.

        Its checkpoint alone would go on with other random numbers.
        """
        folders = [os.path.join(self.output_dir, name) for name in self.get_model_names()]
        last = [os.path.join(folder, f"model.pth.tar-{self.max_epoch}") for folder in folders]
        if all(os.path.exists(path) for path in last):
            return False
        seen = [read_noted_epoch(folder) for folder in folders]
        return 1 in seen and all(epoch in (None, 1) for epoch in seen)

    def numbers_arrived(self, numbers: list[tuple[int, dict[str, float]]]) -> None:
        """Hook: look at what ``forward_backward`` returned for the batches since the last call, before it is reported.

        Called when a line is due and when an epoch ends, since only then are tensors brought to the host.

        Args:
            numbers: index of a batch in its epoch and its numbers by name, in the order of the batches.
        """

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
        if self._keeps_best():
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(self.epoch, self.output_dir, val_result=result, model_name=BEST_NAME)
        if last_epoch or (frequency > 0 and (self.epoch + 1) % frequency == 0):
            self.save_model(self.epoch, self.output_dir)

    def _keeps_best(self) -> bool:
        return not self.cfg.TEST.NO_TEST and self.cfg.TEST.FINAL_MODEL == "best_val"

    def _epoch_begins(self) -> None:
        if not repeats(self.cfg):
            return
        for name in ("train_loader_x", "train_loader_u"):
            # Where batches are composed by hand, the loader's own sampler is none that is used.
            loader = getattr(self, name, None)
            batches = getattr(loader, "batch_sampler", None)
            sampler = getattr(loader if batches is None else batches, "sampler", None)
            set_epoch = getattr(sampler, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self.epoch)

    def _epoch_done(self) -> None:
        if self.rolling_resume and is_first():
            self._keep_snapshot()
        wait_for_all()  # nobody reads, or goes on far ahead, while the first process writes

    def _keep_snapshot(self) -> None:
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
    def test(self, split: str | None = None, **anything: Any) -> float:
        """Evaluate on a split and leave the models in eval mode.

        Args:
            split: "val", if there is such a loader; anything else is "test". By default TEST.SPLIT.
            **anything: what a code base passes to a ``test`` of its own; nothing here.

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
        for batch in tqdm(loader, disable=None if is_first() else True):
            input, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(input), label)
        if rank_and_world()[1] > 1:
            self.evaluator.gather()
        self.test_results = results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def model_inference(self, input: Any) -> Any:
        """Return the model's output for an input batch: logits, (batch, classes)."""
        return self.model(input)

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return images (batch, 3, height, width) and labels (batch,) on the trainer's device."""
        return first_view(batch["img"]).to(self.device), batch["label"].to(self.device)

    def get_current_lr(self, names: Names = None) -> float:
        """Return the learning rate of the first named model that learns, nan if none does."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                return self._optims[name].param_groups[0]["lr"]
        return float("nan")


def first_view(images: Any) -> Any:
    """The images of a batch; of several views of each (DATALOADER.K_TRANSFORMS) the first."""
    return images[0] if isinstance(images, list | tuple) else images


def _states(objects: dict[str, Any]) -> State:
    return {name: None if item is None else item.state_dict() for name, item in objects.items()}
