"""Views with names, against torchvision's rule and by hand."""

from __future__ import annotations

import hashlib
import math
import random

import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from caspl.errors import CasPLError
from caspl.store import View, ViewPlan

PLAN = ViewPlan((32, 32), (0.6, 1.0), True, 3)


def test_a_view_follows_from_image_number_and_seed_alone() -> None:
    first = [PLAN.view("a/1.jpg", number, 40, 60) for number in range(50)]
    PLAN.view("another.jpg", 0, 99, 99)
    assert [PLAN.view("a/1.jpg", number, 40, 60) for number in range(50)] == first
    assert len(set(first)) > 45
    assert PLAN.view("a/2.jpg", 0, 40, 60) != first[0]
    assert ViewPlan((32, 32), (0.6, 1.0), True, 4).view("a/1.jpg", 0, 40, 60) != first[0]


def test_a_view_is_the_rule_on_draws_of_a_hash() -> None:
    """By a plain computation: what a kept store depends on."""
    digest = hashlib.blake2b(b"('a/1.jpg', 7, 3)", digest_size=8).digest()
    drawn = random.Random(int.from_bytes(digest, "big"))
    flip, share, ratio = drawn.random() < 0.5, 0.1 + 0.4 * drawn.random(), drawn.random()
    ratio = math.exp(math.log(3 / 4) + ratio * (math.log(4 / 3) - math.log(3 / 4)))
    height, width = round(math.sqrt(8100 * share / ratio)), round(math.sqrt(8100 * share * ratio))
    top, left = int(drawn.random() * (91 - height)), int(drawn.random() * (91 - width))
    plan = ViewPlan((32, 32), (0.1, 0.5), True, 3)  # boxes so small that the first draw fits
    assert plan.view("a/1.jpg", 7, 90, 90) == View(top, left, height, width, flip, (32, 32))


def test_boxes_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    pixels = torch.zeros(3, 40, 60)
    own = torch.tensor([PLAN.view("x", number, 40, 60).__dict__[key] for number in range(4000) for key in KEYS])
    boxes = [RandomResizedCrop.get_params(pixels, [0.6, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    own = own.view(-1, 4).float()
    theirs = torch.tensor(boxes).float()
    spread = theirs.std(dim=0) / 4000**0.5
    assert ((own.mean(dim=0) - theirs.mean(dim=0)).abs() < 6 * spread).all()
    torch.testing.assert_close(own.std(dim=0), theirs.std(dim=0), rtol=0.08, atol=0)
    flips = sum(PLAN.view("x", number, 40, 60).flip for number in range(4000))
    assert abs(flips - 2000) < 200


KEYS = ("top", "left", "height", "width")


def test_without_crops_there_are_two_views() -> None:
    plan = ViewPlan.of(("random_flip", "normalize"), (32, 32), (0.08, 1.0))
    views = {plan.view("a", number, 40, 60) for number in range(30)}
    assert len(views) == 2
    assert all((view.top, view.left, view.height, view.width) == (0, 0, 40, 60) for view in views)


def test_extreme_images_give_the_middle() -> None:
    view = ViewPlan((32, 32), (0.9, 1.0)).view("long", 0, 10, 1000)
    assert (view.height, view.width, view.left) == (10, 13, 493)


@pytest.mark.parametrize("name", ["colorjitter", "instance_norm", "random_crop"])
def test_other_transforms_are_refused(name: str) -> None:
    with pytest.raises(CasPLError, match=name):
        ViewPlan.of(("random_flip", name, "normalize"), (32, 32), (0.08, 1.0))
