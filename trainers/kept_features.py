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

from caspl.checkpoint import SegmentStore
from caspl.dassl.run_folder import keep_settings
from caspl.errors import CasPLError
from caspl.probe import Features, Head, HeadStore, extract
from caspl.prompts import Prompts
from caspl.towers import CLIP
from dassl.data.data_manager import build_data_loader, build_transform
from trainers.base import PromptTrainer, validates_apart

logger = logging.getLogger(__name__)


class KeptFeatures(PromptTrainer):
    """A head on frozen features. A subclass says what it is (:meth:`build_head`) and how it comes about (:meth:`fit`).

    Where parameters of the head learn, it is trained by steps after :meth:`fit`, as all methods are.
    """

    behind = True
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
        return self.model.vision.features(self.model.clip.visual, images).float()

    def training_features(self, views: int = 0) -> Features:
        """Of the training images, in order.

        Args:
            views: random views whose features are averaged; 0: the image as in tests.
        """
        loader = self._loader(self.dm.dataset.train_x, random=views > 0)  # one: each pass of it draws other views
        passes = [extract(self.encode, loader, self.device, "train", self.group) for _ in range(max(views, 1))]
        return Features(torch.stack([found.values for found in passes]).mean(dim=0), passes[0].labels)

    def validation_features(self) -> Features | None:
        """Of the validation images, at most four a class where shots are drawn; None where there are none.

        A data set whose validation images are its test images, as ImageNet's are in CoOp's protocol, has none.
        """
        if self._val is None and validates_apart(self.dm.dataset):
            loader = self._loader(self.dm.dataset.val)
            self._val = extract(self.encode, loader, self.device, "val", self.group)
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

    def kept(self, segments: SegmentStore) -> SegmentStore:
        self.head = self.build_head().to(self.device)
        return HeadStore(segments, self.head)

    def train(self) -> None:  # type: ignore[override]  # as the engine's own trainers
        self.require_images()
        if self.segments.learned():
            super().train()
            return
        self.time_start = time.time()
        self.group.first(lambda: keep_settings(self.cfg, self.sections()))
        with self.recorder.timing("train"), self.precision.compute():
            self.fit()
        self.save_model(0, self.output_dir)
        self.after_train()

    def prepare(self) -> None:
        self.fit()

    def model_inference(self, input: Tensor) -> Tensor:
        """Logits (batch, classes) of normalised images."""
        with self.precision.compute():
            return self.head(self.encode(input))
