"""What trainers on kept image features share: the head behind the tower, its images, its checkpoint, its test.

No token learns here; those of a cascade are as frozen as CLIP.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

from caspl.checkpoint import read_checkpoint
from caspl.dassl.run_folder import keep_settings
from caspl.errors import CasPLError
from caspl.probe import Features, Head, HeadStore, extract
from caspl.prompts import Prompts
from caspl.towers import CLIP
from dassl.data.data_manager import build_data_loader, build_transform
from dassl.optim import build_lr_scheduler, build_optimizer
from trainers.base import PromptTrainer, validates_apart

logger = logging.getLogger(__name__)


class KeptFeatures(PromptTrainer):
    """A head on frozen features. A subclass says what it is (:meth:`build_head`) and how it comes about (:meth:`fit`).

    Where parameters of the head learn, it is trained by steps after :meth:`fit`, as all methods are.
    """

    head: Head
    _val: Features | None = None

    def build_head(self) -> Head:
        """The head as it is before it has seen an image."""
        raise NotImplementedError

    def fit(self) -> None:
        """Make the head of what images show; ``recorder.extra`` says what was chosen."""
        raise NotImplementedError

    # What a method needs --------------------------------------------------------------------------------------

    def encode(self, images: Tensor) -> Tensor:
        """Normalised pixels (batch, 3, resolution, resolution) -> features (batch, embed_dim), not normalised."""
        return self.model.clip.visual(images, self.model.vision.refresh).float()

    def training_features(self, views: int = 0) -> Features:
        """Of the training images, in order.

        Args:
            views: random views whose features are averaged; 0: the image as in tests.
        """
        loader = self._loader(self.dm.dataset.train_x, random=views > 0)  # one: each pass of it draws other views
        passes = [extract(self.encode, loader, self.device, "train") for _ in range(max(views, 1))]
        return Features(torch.stack([found.values for found in passes]).mean(dim=0), passes[0].labels)

    def validation_features(self) -> Features | None:
        """Of the validation images, at most four a class where shots are drawn; None where there are none.

        A data set whose validation images are its test images, as ImageNet's are in CoOp's protocol, has none.
        """
        if self._val is None and validates_apart(self.dm.dataset):
            self._val = extract(self.encode, self._loader(self.dm.dataset.val), self.device, "val")
        return self._val

    def _loader(self, images: Any, random: bool = False) -> Any:
        """Of some images, in order: as in tests, or in random views."""
        return build_data_loader(
            self.cfg,
            data_source=images,
            batch_size=self.cfg.DATALOADER.TEST.BATCH_SIZE,
            tfm=build_transform(self.cfg, is_train=random),
            is_train=False,  # none is left out
            role="kept",
        )

    # What it shares with all trainers -------------------------------------------------------------------------

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        if self.boosted and cfg.TRAINER.CASPL.TRAINABLE:
            raise CasPLError(f"{type(self).__name__} keeps features, which no token may change: no CASPL.TRAINABLE")

    def prompts(self, clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        return Prompts()

    def build_model(self) -> None:
        self.learns = False  # type: ignore[misc]  # no tokens; yet there is a run to be evaluated
        super().build_model()
        self.head = self.build_head().to(self.device)
        self.segments = HeadStore(self.segments, self.head)
        learned = list(self.segments.learned().values())
        self.optim = build_optimizer(learned, self.cfg.OPTIM) if learned else None
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM) if learned else None
        self._models.clear()
        self.register_model(self.saved_as, self.segments, self.optim, self.sched)

    def trained_on(self) -> dict[str, Any]:
        data, split = self.cfg.DATASET, getattr(self.dm.dataset, "split_digest", "")
        images = {"dataset": data.NAME, "classes": data.SUBSAMPLE_CLASSES, "shots": data.NUM_SHOTS}
        return images | {"seed": self.cfg.SEED, "split": split}

    def train(self) -> None:  # type: ignore[override]  # as the engine's own trainers
        if getattr(self.dm.dataset, "test_only", False):
            raise CasPLError(f"{self.cfg.DATASET.NAME} has test images only: train elsewhere, --eval-only here")
        if self.segments.learned():
            super().train()
            return
        self.time_start = time.time()
        keep_settings(self.cfg, self.sections())
        with self.recorder.timing("train"), self.precision.compute():
            self.fit()
        self.save_model(0, self.output_dir)
        self.after_train()

    def prepare(self) -> None:
        self.fit()

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        path = self.find_run(self.cfg, directory, epoch)
        self.loaded, checkpoint = path, read_checkpoint(path)
        self.segments.load(checkpoint, type(self).__name__)
        self.recorder.trained_on = dict(checkpoint.trained_on)

    def model_inference(self, input: Tensor) -> Tensor:
        """Logits (batch, classes) of normalised images."""
        with self.precision.compute():
            return self.head(self.encode(input))
