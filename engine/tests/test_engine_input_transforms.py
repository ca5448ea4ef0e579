"""The transforms on tensors beside those on PIL images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from input_photos import CROP, input_cfg, photo
from PIL import Image

from dassl.data.decode import pixels_of
from dassl.data.transforms import AVAI_CHOICES, INTERPOLATION_MODES, build_transform
from dassl.data.transforms.lean import RandomFlip, RandomResizedCrop
from dassl.data.transforms.tensor import TensorTransform, ToFloat
from dassl.data.wrapper import DatasetWrapper
from dassl.utils import set_random_seed


def pair(names: Any, is_train: bool, **settings: Any) -> list[Any]:
    """The transform of each backend: PIL's, the tensors'."""
    made = []
    for backend in ("pil", "tensor"):
        cfg = input_cfg(backend, **settings)
        cfg.INPUT.TRANSFORMS = names
        made.append(build_transform(cfg, is_train=is_train))
    assert isinstance(made[1], TensorTransform)
    return made


def levels(transforms: list[Any], image: Image.Image, seed: int = 0) -> torch.Tensor:
    """Differences in levels of 255, from the same seed."""
    outputs = []
    for transform, argument in zip(transforms, (image, pixels_of(image)), strict=True):
        set_random_seed(seed)
        outputs.append(transform(argument))
    assert outputs[0].shape == outputs[1].shape
    assert (outputs[1].dtype, outputs[1].is_contiguous()) == (torch.float32, True)
    return (outputs[0] - outputs[1]).abs() * 255


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (1024, 683), (600, 300)])
def test_test_transform_within_a_level(size: tuple[int, int], interpolation: str) -> None:
    both = pair((), False, INPUT__SIZE=(224, 224), INPUT__INTERPOLATION=interpolation)
    found = levels(both, photo(*size))
    assert found.max() < 1.01
    assert found.mean() < 0.01


@pytest.mark.parametrize("size", [(320, 240), (64, 64), (180, 300), (224, 224)])
def test_test_transform_of_small_images(size: tuple[int, int]) -> None:
    # Weights of enlarging near 1 come closest to the limits of the kernel's 16 bits, one pass after the other.
    found = levels(pair((), False, INPUT__SIZE=(224, 224)), photo(*size))
    assert found.max() < 2.01
    assert (found > 1.01).double().mean() < 1e-4


def test_normalised_test_transform() -> None:
    image = photo(300, 260)
    plain = pair((), False)[1](image)
    normalised = pair(("normalize",), False)
    assert levels(normalised, image).max() < 1.01 / 0.22
    cfg = input_cfg("tensor")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD))
    assert torch.allclose(normalised[1](image), (plain - mean) / std, atol=1e-6)


# How far apart the two backends are on the same draws, in levels: at most, and in the mean.
SAME_DRAWS: dict[str, tuple[float, float]] = {
    "random_resized_crop": (2.01, 0.01),
    "random_flip": (1.01, 0.01),
    "random_crop": (0.01, 0.01),
    "randomgrayscale": (2.01, 0.2),
    "gaussian_blur": (1.01, 0.01),
    # PIL rounds hue and saturation to 8 bits.
    "colorjitter": (20.0, 1.0),
    "cutout": (1.01, 0.01),
    "gaussian_noise": (1.01, 0.01),
}


@pytest.mark.parametrize("name", SAME_DRAWS)
def test_same_draws_same_image(name: str) -> None:
    # Softer than a photograph: Pillow 13 resizes tall boxes in another order of passes than older ones, which shows
    # where overshoots are cut off at black or white.
    image = photo(200, 150).point(lambda value: 64 + value // 2)
    both = pair((name,), True)
    found = torch.stack([levels(both, image, seed) for seed in range(40)])
    largest, mean = SAME_DRAWS[name]
    assert found.max() < largest
    assert found.mean() < mean
    # The draws make a difference, or all this would say nothing.
    set_random_seed(1)
    assert len({both[1](image).sum().item() for _ in range(20)}) > 1


def box_statistics(transform: Any, count: int, seed: int, as_tensor: bool) -> np.ndarray:
    """What random boxes of a slope look like: centre and extent across and down, share mirrored; (5, count)."""
    columns, rows = np.meshgrid(np.linspace(20, 235, 120), np.linspace(20, 235, 90))
    slope = Image.fromarray(np.stack([columns, rows, rows], axis=2).round().astype(np.uint8))
    argument = pixels_of(slope) if as_tensor else slope
    torch.manual_seed(seed)
    found = []
    for _ in range(count):
        across, down = transform(argument)[:2].double()
        width, height = (across[:, -1] - across[:, 0]).mean(), (down[-1] - down[0]).mean()
        found.append([across.mean(), down.mean(), width.abs(), height, width.sign()])
    return np.array(found).T


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest difference of two samples' distributions."""
    grid = np.concatenate([a, b])
    return max(abs((a <= value).mean() - (b <= value).mean()) for value in grid)


def test_boxes_have_the_published_distribution() -> None:
    count = 800
    names = ("random_resized_crop", "random_flip")
    # Passed by 999 of 1000 pairs of samples of one distribution.
    critical = 1.95 * (2 / count) ** 0.5
    pil, tensor = pair(names, True)
    published = box_statistics(pil, count, 1, as_tensor=False)
    ours = box_statistics(tensor, count, 2, as_tensor=True)
    assert [distance(a, b) for a, b in zip(published, ours, strict=True)] == pytest.approx([0] * 5, abs=critical)
    # The check sees a lower end of the scale of 0.2 instead of 0.08.
    other = box_statistics(pair(names, True, INPUT__RRCROP_SCALE=(0.2, 1.0))[1], count, 3, as_tensor=True)
    assert distance(published[2], other[2]) > critical


def test_a_crop_for_each_image() -> None:
    crop = RandomResizedCrop((8, 8), (0.08, 1.0), INTERPOLATION_MODES["bicubic"])
    image = pixels_of(photo(40, 40))
    torch.manual_seed(0)
    crops = [crop(image) for _ in range(8)]
    assert all(not torch.equal(a, b) for a, b in zip(crops, crops[1:], strict=False))


def test_flip_mirrors_half() -> None:
    image = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    torch.manual_seed(0)
    mirrored = [bool(torch.equal(RandomFlip()(image), image.flip(-1))) for _ in range(400)]
    assert 160 < sum(mirrored) < 240


@pytest.mark.parametrize("is_train", [True, False])
def test_all_names_that_tensors_know(is_train: bool, capsys: pytest.CaptureFixture[str]) -> None:
    policies = {name for name in AVAI_CHOICES if "policy" in name or "randaugment" in name}
    names = [name for name in AVAI_CHOICES if name not in policies | {"random_translation"}]
    both = pair(names, is_train)
    # The two backends say the same lines.
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert both[1](pixels_of(photo(60, 50))).shape == (3, 32, 32)


def test_pil_takes_over_for_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    cfg = input_cfg("tensor")
    cfg.INPUT.TRANSFORMS = (*CROP, "randaugment2", "imagenet_policy")
    transform = build_transform(cfg)
    assert not isinstance(transform, TensorTransform)
    line = "Note: in spite of INPUT.BACKEND tensor, PIL transforms the images, for imagenet_policy, randaugment2\n"
    assert capsys.readouterr().out.count(line) == 1
    assert transform(photo(60, 50)).shape == (3, 32, 32)
    assert not isinstance(build_transform(input_cfg("tensor", INPUT__INTERPOLATION="nearest")), TensorTransform)
    # Tests do not augment.
    assert isinstance(build_transform(cfg, is_train=False), TensorTransform)


def test_pil_images_are_taken_too() -> None:
    image = photo(60, 50)
    transform = pair(("normalize",), False)[1]
    assert torch.equal(transform(image), transform(pixels_of(image)))


def test_floats_are_what_totensor_makes() -> None:
    from torchvision.transforms import ToTensor

    image = photo(16, 16)
    assert torch.allclose(ToFloat()(pixels_of(image)), ToTensor()(image), atol=1e-7)


def test_unknown_backend() -> None:
    for call in (build_transform, lambda cfg: DatasetWrapper(cfg, [])):
        with pytest.raises(ValueError, match=r"^INPUT\.BACKEND is pil or tensor, not 'opencv'$"):
            call(input_cfg("opencv"))
