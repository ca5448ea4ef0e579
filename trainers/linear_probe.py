"""The linear probe of CLIP (arXiv 2103.00020): logistic regression on image features, by CoOp's protocol."""

from __future__ import annotations

from caspl.errors import CasPLError
from caspl.probe import Head, Linear
from caspl.probe.linear import fit, search_strength
from trainers.kept_features import KeptFeatures
from trainers.registry import register


@register
class LinearProbeCLIP(KeptFeatures):
    """Features that are not normalised, of images as in tests; C is chosen on validation images."""

    section = "LPCLIP"
    saved_as = "linear_probe"
    defaults = {"C": 0.0, "MAX_ITER": 1000, "PREC": "fp32"}  # C 0: chosen on validation images
    training_only = ("C", "MAX_ITER")

    def build_head(self) -> Head:
        return Linear(len(self.dm.dataset.classnames), self.model.clip.sizes.embed_dim)

    def fit(self) -> None:
        options, classes, extra = self.options, len(self.dm.dataset.classnames), self.recorder.extra
        strength, val = options.C, None if options.C else self.validation_features()
        if not strength and val is None:
            raise CasPLError(
                f"{self.cfg.DATASET.NAME} has no validation images to choose the linear probe's C by, and test images "
                "must not choose it: give it, as TRAINER.LPCLIP.C"
            )
        train = self.training_features()
        if val is not None:
            strength, extra["val_accuracy"] = search_strength(train, val, classes, options.MAX_ITER)
        extra["C"] = strength
        self.head.load_state_dict(fit(train, classes, strength, options.MAX_ITER).state_dict())
