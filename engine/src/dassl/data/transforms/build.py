"""Composes transforms. The configuration chooses which; their order is always the one written here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from yacs.config import CfgNode

from ...utils.logger import logger
from .autoaugment import CIFAR10Policy, ImageNetPolicy, SVHNPolicy
from .basic import Cutout, GaussianNoise, InstanceNormalization, Random2DTranslation
from .kit import Kit, choose_kit
from .lean import RandomFlip, RandomResizedCrop
from .randaugment import RandAugment, RandAugment2, RandAugmentFixMatch
from .tensor import TensorTransform

__all__ = ["AVAI_CHOICES", "build_plain_transform", "build_transform"]

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
        A callable from PIL images to tensors (3, height, width), or None with INPUT.NO_TRANSFORM. With
        INPUT.BACKEND "tensor" it is a :class:`TensorTransform`, unless a name works on PIL images only.

    Raises:
        AssertionError: an unknown name.
        ValueError: an unknown backend.
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


def build_plain_transform(cfg: CfgNode) -> Any:
    """Compose the transform of DATALOADER.RETURN_IMG0: resize to INPUT.SIZE, and normalise if that is configured."""
    kit = choose_kit(cfg)
    resize = kit.T.Resize(cfg.INPUT.SIZE, interpolation=kit.mode, antialias=True)
    normalize = [_normalize(cfg)] if "normalize" in cfg.INPUT.TRANSFORMS else []
    if kit.tensor:
        return TensorTransform([resize], normalize)
    return kit.T.Compose([resize, kit.T.ToTensor(), *normalize])


def _build_transform_train(cfg: CfgNode, choices: Collection[str], target_size: str, normalize: Any) -> Any:
    logger.info("Building transform_train")
    kit = choose_kit(cfg, choices)
    pixels = [*_resize_steps(cfg, choices, target_size, kit), *_policy_steps(cfg), *_colour_steps(cfg, kit)]
    return _compose(kit, choices, pixels, _tensor_steps(cfg, normalize), fixed=False)


def _build_transform_test(cfg: CfgNode, choices: Collection[str], target_size: str, normalize: Any) -> Any:
    logger.info("Building transform_test")
    kit = choose_kit(cfg)
    size = cfg.INPUT.SIZE
    pixels: list[Step] = [
        (
            None,
            f"resize the smaller edge to {max(size)}",
            lambda: kit.T.Resize(max(size), interpolation=kit.mode, antialias=True),
        ),
        (None, f"{target_size} center crop", lambda: kit.T.CenterCrop(size)),
    ]
    floats: list[Step] = [
        _normalize_step(cfg, normalize),
        ("instance_norm", "instance normalization", InstanceNormalization),
    ]
    return _compose(kit, choices, pixels, floats, fixed=True)


def _compose(kit: Kit, choices: Collection[str], pixels: Sequence[Step], floats: Sequence[Step], fixed: bool) -> Any:
    pixels, floats = ([step for step in steps if step[0] is None or step[0] in choices] for steps in (pixels, floats))
    lines = [line for _, line, _ in pixels]
    for line in [*lines, "to torch tensor of range [0, 1]", *(line for _, line, _ in floats)]:
        logger.info("+ %s", line)
    pixel_steps, float_steps = ([make() for _, _, make in steps] for steps in (pixels, floats))
    if not kit.tensor:
        return kit.T.Compose([*pixel_steps, kit.T.ToTensor(), *float_steps])
    only_torch = not {"cutout", "gaussian_noise"}.intersection(choices)
    rule = "; ".join([kit.mode.value, *lines]) if fixed else ""
    return TensorTransform(pixel_steps, float_steps, rule, only_torch)


def _resize_steps(cfg: CfgNode, choices: Collection[str], target_size: str, kit: Kit) -> list[Step]:
    inp = cfg.INPUT
    size = inp.SIZE
    T = kit.T
    sampling = {"interpolation": kit.mode, "antialias": True}
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
            lambda: (
                RandomResizedCrop(size, inp.RRCROP_SCALE, kit.mode)
                if kit.tensor
                else T.RandomResizedCrop(size, scale=inp.RRCROP_SCALE, **sampling)
            ),
        ),
        ("random_flip", "random flip", RandomFlip if kit.tensor else T.RandomHorizontalFlip),
    ]
    if "random_crop" not in choices and "random_resized_crop" not in choices:
        steps.insert(0, (None, f"resize to {target_size}", lambda: T.Resize(size, **sampling)))
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


def _colour_steps(cfg: CfgNode, kit: Kit) -> list[Step]:
    inp = cfg.INPUT
    T = kit.T
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


def _normalize(cfg: CfgNode) -> Any:
    from torchvision import transforms as T

    return T.Normalize(mean=cfg.INPUT.PIXEL_MEAN, std=cfg.INPUT.PIXEL_STD)


def _normalize_step(cfg: CfgNode, normalize: Any) -> Step:
    line = f"normalization (mean={cfg.INPUT.PIXEL_MEAN}, std={cfg.INPUT.PIXEL_STD})"
    return "normalize", line, lambda: normalize
