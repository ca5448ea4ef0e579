"""Composes transforms. The configuration chooses which; their order is always the one written here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from yacs.config import CfgNode

from ...utils.logger import logger
from .autoaugment import CIFAR10Policy, ImageNetPolicy, SVHNPolicy
from .basic import Cutout, GaussianNoise, InstanceNormalization, Random2DTranslation
from .interpolation import INTERPOLATION_MODES
from .randaugment import RandAugment, RandAugment2, RandAugmentFixMatch

__all__ = ["AVAI_CHOICES", "build_transform"]

AVAI_CHOICES = [
    "random_flip",
    "random_resized_crop",
    "normalize",
    "instance_norm",
    "random_crop",
    "random_translation",
    "center_crop",
    "cutout",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
    "randaugment",
    "randaugment_fixmatch",
    "randaugment2",
    "gaussian_noise",
    "colorjitter",
    "randomgrayscale",
    "gaussian_blur",
]

# A name in the configuration (None: always applied), the line in the log, and how to build the transform.
Step = tuple[str | None, str, Callable[[], Any]]


def build_transform(cfg: CfgNode, is_train: bool = True, choices: Sequence[str] | None = None) -> Any:
    """Compose the transform of the training or of the test images.

    Args:
        cfg: the configuration.
        is_train: which of the two.
        choices: names to use instead of cfg.INPUT.TRANSFORMS.

    Returns:
        A callable from PIL images to tensors (3, height, width), or None with INPUT.NO_TRANSFORM.

    Raises:
        AssertionError: an unknown name.
    """
    if cfg.INPUT.NO_TRANSFORM:
        logger.info("Note: no transform is applied!")
        return None
    if choices is None:
        choices = cfg.INPUT.TRANSFORMS
    for choice in choices:
        if choice not in AVAI_CHOICES:
            raise AssertionError(f"{choice!r} is no transform; choose from {AVAI_CHOICES}")
    target_size = f"{cfg.INPUT.SIZE[0]}x{cfg.INPUT.SIZE[1]}"
    build = _build_transform_train if is_train else _build_transform_test
    return build(cfg, choices, target_size, _normalize(cfg))


def _build_transform_train(cfg: CfgNode, choices: Collection[str], target_size: str, normalize: Any) -> Any:
    logger.info("Building transform_train")
    steps = [
        *_resize_steps(cfg, choices, target_size),
        *_policy_steps(cfg),
        *_colour_steps(cfg),
        _to_tensor(),
        *_tensor_steps(cfg, normalize),
    ]
    return _compose(steps, choices)


def _build_transform_test(cfg: CfgNode, choices: Collection[str], target_size: str, normalize: Any) -> Any:
    from torchvision import transforms as T

    logger.info("Building transform_test")
    size = cfg.INPUT.SIZE
    mode = INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
    steps: list[Step] = [
        (None, f"resize the smaller edge to {max(size)}", lambda: T.Resize(max(size), interpolation=mode)),
        (None, f"{target_size} center crop", lambda: T.CenterCrop(size)),
        _to_tensor(),
        _normalize_step(cfg, normalize),
        ("instance_norm", "instance normalization", InstanceNormalization),
    ]
    return _compose(steps, choices)


def _compose(steps: Sequence[Step], choices: Collection[str]) -> Any:
    from torchvision import transforms as T

    transforms = []
    for name, line, make in steps:
        if name is None or name in choices:
            logger.info("+ %s", line)
            transforms.append(make())
    return T.Compose(transforms)


def _resize_steps(cfg: CfgNode, choices: Collection[str], target_size: str) -> list[Step]:
    from torchvision import transforms as T

    inp = cfg.INPUT
    size = inp.SIZE
    mode = INTERPOLATION_MODES[inp.INTERPOLATION]
    steps: list[Step] = [
        ("random_translation", "random translation", lambda: Random2DTranslation(size[0], size[1])),
        (
            "random_crop",
            f"random crop (padding = {inp.CROP_PADDING})",
            lambda: T.RandomCrop(size, padding=inp.CROP_PADDING),
        ),
        (
            "random_resized_crop",
            f"random resized crop (size={size}, scale={inp.RRCROP_SCALE})",
            lambda: T.RandomResizedCrop(size, scale=inp.RRCROP_SCALE, interpolation=mode),
        ),
        ("random_flip", "random flip", T.RandomHorizontalFlip),
    ]
    if "random_crop" not in choices and "random_resized_crop" not in choices:
        steps.insert(0, (None, f"resize to {target_size}", lambda: T.Resize(size, interpolation=mode)))
    return steps


def _policy_steps(cfg: CfgNode) -> list[Step]:
    n, m = cfg.INPUT.RANDAUGMENT_N, cfg.INPUT.RANDAUGMENT_M
    return [
        ("imagenet_policy", "imagenet policy", ImageNetPolicy),
        ("cifar10_policy", "cifar10 policy", CIFAR10Policy),
        ("svhn_policy", "svhn policy", SVHNPolicy),
        ("randaugment", f"randaugment (n={n}, m={m})", lambda: RandAugment(n, m)),
        ("randaugment_fixmatch", f"randaugment_fixmatch (n={n})", lambda: RandAugmentFixMatch(n)),
        ("randaugment2", f"randaugment2 (n={n})", lambda: RandAugment2(n)),
    ]


def _colour_steps(cfg: CfgNode) -> list[Step]:
    from torchvision import transforms as T

    inp = cfg.INPUT
    b, c, s, h = inp.COLORJITTER_B, inp.COLORJITTER_C, inp.COLORJITTER_S, inp.COLORJITTER_H
    return [
        (
            "colorjitter",
            f"color jitter (brightness={b}, contrast={c}, saturation={s}, hue={h})",
            lambda: T.ColorJitter(brightness=b, contrast=c, saturation=s, hue=h),
        ),
        ("randomgrayscale", "random gray scale", lambda: T.RandomGrayscale(p=inp.RGS_P)),
        (
            "gaussian_blur",
            f"gaussian blur (kernel={inp.GB_K})",
            lambda: T.RandomApply([T.GaussianBlur(inp.GB_K)], p=inp.GB_P),
        ),
    ]


def _tensor_steps(cfg: CfgNode, normalize: Any) -> list[Step]:
    inp = cfg.INPUT
    holes, length = inp.CUTOUT_N, inp.CUTOUT_LEN
    mean, std = inp.GN_MEAN, inp.GN_STD
    return [
        ("cutout", f"cutout (n_holes={holes}, length={length})", lambda: Cutout(holes, length)),
        _normalize_step(cfg, normalize),
        ("gaussian_noise", f"gaussian noise (mean={mean}, std={std})", lambda: GaussianNoise(mean, std)),
        ("instance_norm", "instance normalization", InstanceNormalization),
    ]


def _to_tensor() -> Step:
    from torchvision import transforms as T

    return None, "to torch tensor of range [0, 1]", T.ToTensor


def _normalize(cfg: CfgNode) -> Any:
    from torchvision import transforms as T

    return T.Normalize(mean=cfg.INPUT.PIXEL_MEAN, std=cfg.INPUT.PIXEL_STD)


def _normalize_step(cfg: CfgNode, normalize: Any) -> Step:
    line = f"normalization (mean={cfg.INPUT.PIXEL_MEAN}, std={cfg.INPUT.PIXEL_STD})"
    return "normalize", line, lambda: normalize
