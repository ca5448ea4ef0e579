"""Tip-Adapter (arXiv 2111.03930): a cache of the training images' features beside zero-shot CLIP.

Training-free, and with keys that are fine-tuned.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F
from yacs.config import CfgNode

from caspl.dassl.section import dataset_template, zero_shot_prompts
from caspl.model import Output
from caspl.probe import Cache, Head
from caspl.probe.cache import search_factors
from caspl.prompts import Prompts
from caspl.prompts.templates import SELECTED
from caspl.step import Batch, Terms
from caspl.step import accuracy as batch_accuracy
from caspl.towers import CLIP
from trainers.kept_features import KeptFeatures
from trainers.registry import register

logger = logging.getLogger(__name__)


@register
class TipAdapter(KeptFeatures):
    """The cache as it is; its factors are chosen on validation images."""

    section = "TIPADAPTER"
    saved_as = "tip_adapter"
    defaults = {
        "ALPHA": 1.0,
        "BETA": 5.5,
        "VIEWS": 10,  # random views of each image whose mean is its key
        "SEARCH": True,  # both factors on validation images; where there are none, they stay as given
        "SEARCH_SCALE": (7.0, 3.0),  # ends of the grids of beta and alpha
        "SEARCH_STEP": (200, 20),
        "EPS": 1e-4,  # of the fine-tuning's AdamW
        "PREC": "fp32",
    }
    training_only = tuple(defaults)  # the checkpoint holds what came out of them
    fine_tuned = False
    head: Cache

    def prompts(self, clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        if self.boosted:
            return Prompts()
        own = SELECTED if self.cfg.DATASET.NAME == "ImageNet" else (dataset_template(self.cfg),)
        return zero_shot_prompts(self.cfg, own)

    def build_head(self) -> Head:
        data = self.dm.dataset
        sizes = len(data.train_x), len(data.classnames), self.model.clip.sizes.embed_dim
        return Cache(*sizes, float(self.model.scale), self.options.ALPHA, self.options.BETA, self.fine_tuned)

    def fit(self) -> None:
        self.keep()
        self.choose()

    def keep(self) -> None:
        """Fill the cache."""
        found = self.training_features(self.options.VIEWS)
        with torch.no_grad():
            self.head.fill(F.normalize(found.values, dim=-1), found.labels, self.model.encode_text())

    def choose(self) -> None:
        """Choose both factors by the validation images."""
        options, val = self.options, self.validation_features() if self.options.SEARCH else None
        alpha, beta = options.ALPHA, options.BETA
        if val is not None:
            grid = tuple(options.SEARCH_SCALE), tuple(options.SEARCH_STEP)
            alpha, beta, accuracy = search_factors(self.head, val, *grid)
            chosen = "alpha %.4g and beta %.4g: %.2f %% of %d validation images"
            logger.info(chosen, alpha, beta, accuracy, len(val.labels))
        elif options.SEARCH:
            logger.warning(
                "%s has no validation images to choose by: TRAINER.TIPADAPTER.ALPHA %g and BETA %g are taken",
                *(self.cfg.DATASET.NAME, alpha, beta),
            )
        self.head.alpha.fill_(alpha)
        self.head.beta.fill_(beta)

    def test(self, split: str | None = None, **anything: Any) -> float:
        for name in ("alpha", "beta"):  # those of the checkpoint, where one was loaded
            self.recorder.extra[name] = round(float(getattr(self.head, name)), 6)
        return super().test(split)


@register
class TipAdapterF(TipAdapter):
    """The keys learn, at the factors as given; then the factors are chosen."""

    fine_tuned = True

    def build_model(self) -> None:
        super().build_model()
        for group in self.optim.param_groups:
            if "eps" in group:
                group["eps"] = self.options.EPS

    def fit(self) -> None:
        self.keep()
        if self.options.SEARCH:
            self.validation_features()  # now, so that steps alone draw random numbers

    def start(self) -> None:
        super().start()
        self.step.metrics = lambda output, batch: batch_accuracy(self._with_cache(output), batch)

    def losses(self, output: Output, batch: Batch) -> Terms:
        return super().losses(self._with_cache(output), batch)

    def finish_epoch(self) -> None:
        if self.epoch + 1 == self.max_epoch or self._keeps_best():
            self.choose()

    def _with_cache(self, output: Output) -> Output:
        return output._replace(logits=self.head(output.image, self.options.ALPHA, self.options.BETA))
