"""Transforms: the published sums, the order, the log lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dassl.config import get_cfg_default
from dassl.data.transforms import AVAI_CHOICES, INTERPOLATION_MODES, build_transform
from dassl.data.transforms.transforms import InstanceNormalization
from dassl.utils import set_random_seed

IMAGE = Image.fromarray((np.arange(50 * 70 * 3).reshape(50, 70, 3) % 251).astype(np.uint8))
CROP = ["normalize", "random_flip", "random_resized_crop"]  # not in the order of application


def transform_cfg(choices: list[str], **settings: Any) -> Any:
    cfg = get_cfg_default()
    cfg.INPUT.SIZE = (32, 32)
    cfg.INPUT.TRANSFORMS = choices
    for key, value in settings.items():
        cfg.INPUT[key] = value
    return cfg


@pytest.mark.parametrize(
    ("choices", "is_train", "interpolation", "total"),
    [
        (CROP, True, "bilinear", 563.386),
        (CROP, True, "bicubic", 565.067),
        (["normalize"], False, "bilinear", 543.196),
        (["normalize"], False, "bicubic", 542.653),
        (["random_translation"], True, "bilinear", 1512.726),
        (["random_crop"], True, "bilinear", 1528.443),
        (["cutout"], True, "bilinear", 1219.169),
        (["gaussian_noise"], True, "bilinear", 1504.232),
        (["colorjitter"], True, "bilinear", 1676.718),
        (["gaussian_blur"], True, "bilinear", 1501.31),
        (["randaugment_fixmatch"], True, "bilinear", 1530.349),
        (["randaugment2"], True, "bilinear", 1497.086),
    ],
)
def test_published_sums(choices: list[str], is_train: bool, interpolation: str, total: float) -> None:
    transform = build_transform(transform_cfg(choices, INTERPOLATION=interpolation), is_train=is_train)
    set_random_seed(7)
    output = transform(IMAGE)
    assert output.shape == (3, 32, 32)
    assert output.double().sum().item() == pytest.approx(total, abs=2e-3)


@pytest.mark.parametrize("policy", ["imagenet_policy", "cifar10_policy", "svhn_policy", "randaugment"])
def test_policies_augment_reproducibly(policy: str) -> None:
    transform = build_transform(transform_cfg([policy]))
    plain = build_transform(transform_cfg([]))(IMAGE)
    seen = []
    for seed in [*range(60), *range(60)]:
        set_random_seed(seed)
        seen.append(transform(IMAGE))
    assert all(torch.equal(a, b) for a, b in zip(seen[:60], seen[60:], strict=True))
    assert all(output.shape == (3, 32, 32) and 0 <= output.min() <= output.max() <= 1 for output in seen)
    changed = sum(not torch.equal(output, plain) for output in seen[:60])
    assert changed > 30


def test_every_operation_of_the_policies_runs() -> None:
    from dassl.data.transforms import autoaugment

    for name, op in autoaugment._OPS.items():
        for magnitude in autoaugment._MAGNITUDES.get(name, [0.0]):
            assert op(IMAGE, magnitude).size == IMAGE.size, name
    half_grey = Image.new("RGB", (8, 8), (100, 100, 100))
    shifted = np.asarray(autoaugment._OPS["TranslateX"](half_grey, 0.5))
    assert sorted(np.unique(shifted).tolist()) == [100, 128]
    assert autoaugment._MAGNITUDES["Posterize"] == [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]


TRAIN_LINES = """Building transform_train
+ random translation
+ random crop (padding = 4)
+ random resized crop (size=(32, 32), scale=(0.08, 1.0))
+ random flip
+ imagenet policy
+ cifar10 policy
+ svhn policy
+ randaugment (n=2, m=10)
+ randaugment_fixmatch (n=2)
+ randaugment2 (n=2)
+ color jitter (brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
+ random gray scale
+ gaussian blur (kernel=21)
+ to torch tensor of range [0, 1]
+ cutout (n_holes=1, length=16)
+ normalization (mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
+ gaussian noise (mean=0.0, std=0.15)
+ instance normalization
"""

TEST_LINES = """Building transform_test
+ resize the smaller edge to 32
+ 32x32 center crop
+ to torch tensor of range [0, 1]
+ normalization (mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
+ instance normalization
"""


@pytest.mark.parametrize("choices", [AVAI_CHOICES, AVAI_CHOICES[::-1]])
def test_order_and_lines(choices: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    cfg = transform_cfg(choices, SIZE=(32, 32))
    cfg.VERBOSE = False
    build_transform(cfg)
    assert capsys.readouterr().out == TRAIN_LINES
    build_transform(cfg, is_train=False)
    assert capsys.readouterr().out == TEST_LINES


def test_resize_only_without_crops(capsys: pytest.CaptureFixture[str]) -> None:
    build_transform(transform_cfg(["normalize", "center_crop"], SIZE=(16, 32)))
    out = capsys.readouterr().out
    assert out.startswith("Building transform_train\n+ resize to 16x32\n+ to torch tensor")
    assert "center" not in out
    wide = build_transform(transform_cfg([], SIZE=(16, 32)))(IMAGE)
    assert wide.shape == (3, 16, 32)


def test_choices_override_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    build_transform(transform_cfg(["normalize"]), choices=["random_flip"])
    out = capsys.readouterr().out
    assert "random flip" in out
    assert "normalization" not in out


def test_no_transform(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_transform(transform_cfg([], NO_TRANSFORM=True)) is None
    assert capsys.readouterr().out == "Note: no transform is applied!\n"


def test_refusals() -> None:
    with pytest.raises(AssertionError, match="random_flipp"):
        build_transform(transform_cfg(["random_flipp"]))
    with pytest.raises(KeyError, match="lanczos"):
        build_transform(transform_cfg([], INTERPOLATION="lanczos"))
    with pytest.raises(AssertionError, match="between 0 and 30"):
        build_transform(transform_cfg(["randaugment"], RANDAUGMENT_M=31))


def test_interpolation_modes() -> None:
    from torchvision.transforms import InterpolationMode

    assert dict(INTERPOLATION_MODES) == {
        "bilinear": InterpolationMode.BILINEAR,
        "bicubic": InterpolationMode.BICUBIC,
        "nearest": InterpolationMode.NEAREST,
    }


def test_instance_normalization() -> None:
    image = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    output = InstanceNormalization()(image)
    assert output.mean(dim=(1, 2)).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert output.std(dim=(1, 2)).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
