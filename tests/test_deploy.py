"""``benchmarks/deploy.py`` on small towers: its counts are a hand's, and its rows the models that it names."""

from __future__ import annotations

import re

import pytest
import torch

from benchmarks import deploy
from caspl.towers import Sizes

CLASSES = 5


@pytest.fixture(scope="module")
def rows() -> dict[str, deploy.Deployed]:
    return deploy.models(*deploy.SMALL, CLASSES)


def by_hand(sizes: Sizes, tokens: int) -> int:
    """Operations of an image: a ViT of which only CLS leaves the last block, then cosines with the classes."""
    width, patches = sizes.vision_width, sizes.grid**2
    length = 1 + patches + tokens
    block = length * (3 + 1 + 4 + 4) * width**2 + 2 * length**2 * width  # projections, MLP; scores and their use
    last = 2 * length * width**2 + (1 + 1 + 4 + 4) * width**2 + 2 * length * width
    rest = patches * 3 * sizes.patch**2 * width + width * sizes.embed_dim + sizes.embed_dim * CLASSES
    return 2 * ((sizes.vision_layers - 1) * block + last + rest)


def test_operations_and_parameters(rows: dict[str, deploy.Deployed]) -> None:
    student, teacher = deploy.SMALL
    wanted = {deploy.STUDENT: (student, 0), deploy.BOOSTED: (student, 8), deploy.CASCADE: (student, 16)}
    wanted |= {deploy.MERGED: (student, 16), deploy.TEACHER: (teacher, 0)}
    assert list(rows) == list(wanted)
    for name, (sizes, tokens) in wanted.items():
        model = rows[name].classifier
        pixels = torch.randn(1, 3, sizes.resolution, sizes.resolution)
        assert deploy.operations(lambda model=model, pixels=pixels: model(pixels)) == by_hand(sizes, tokens), name
    both = student.text_width + student.vision_width
    assert [rows[name].learned for name in list(wanted)[:3]] == [0, 8 * 12 * both, 16 * 12 * both]
    assert rows[deploy.MERGED].learned == 16 * 12 * student.vision_width
    plain = rows[deploy.STUDENT].parameters
    assert rows[deploy.CASCADE].parameters - plain == rows[deploy.CASCADE].learned


def test_an_exported_cascade_is_the_cascade(rows: dict[str, deploy.Deployed]) -> None:
    cascade, exported = (rows[name].classifier for name in (deploy.CASCADE, deploy.MERGED))
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(cascade(pixels), exported(pixels))
    assert not torch.equal(cascade(pixels), rows[deploy.BOOSTED].classifier(pixels))


def test_rounds_turn_and_ratios_are_of_one_round() -> None:
    order: list[str] = []
    names = [deploy.STUDENT, "a", "b"]
    runs = {name: (lambda name=name: order.append(name)) for name in names}  # type: ignore[misc]
    times = deploy.rounds(runs, 3, torch.device("cpu"))
    assert {name: len(found) for name, found in times.items()} == dict.fromkeys(names, 3)
    assert order[3::3] == names  # behind the round that warms up, every one is once the first
    found = deploy.ratios({deploy.STUDENT: [1.0, 2.0, 4.0], "a": [3.0, 2.0, 2.0]}, "a")
    assert found == (1.0, 0.5, 3.0)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["--small", "--repeats", "2", "--batches", "1", "--batch", "2", "--classes", str(CLASSES)]) == 0
    printed = capsys.readouterr().out
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 5
    assert {line.count("|") for line in table} == {table[0].count("|")}
    assert re.search(r"no slower than student\*\*: measured \d+\.\d\d times its latency, \d+\.\d\d times", printed)
