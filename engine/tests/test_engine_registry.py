"""Tables of names."""

from __future__ import annotations

from typing import Any

import pytest

from dassl.data.datasets import build_dataset
from dassl.engine import build_trainer
from dassl.evaluation import build_evaluator
from dassl.utils import Registry, check_availability, get_most_similar_str_to_a_from_b


def test_register_and_get() -> None:
    table = Registry("TABLE")

    @table.register()
    class First:
        pass

    class Second:
        pass

    assert isinstance(First, type)
    assert table.register(Second) is None
    assert table.registered_names() == ["First", "Second"]
    assert table.get("First") is First
    with pytest.raises(KeyError, match='An object named "First" was already registered in "TABLE" registry'):
        table.register(First)
    other = type("First", (), {})
    table.register(other, force=True)
    assert table.get("First") is other
    with pytest.raises(KeyError, match='Object name "Third" does not exist in "TABLE" registry'):
        table.get("Third")


def test_nearest_name() -> None:
    assert get_most_similar_str_to_a_from_b("CoOpp", ["MaPLe", "CoOp"]) == "CoOp"
    assert get_most_similar_str_to_a_from_b("x", ["a", "b"]) == "b"
    assert get_most_similar_str_to_a_from_b("x", []) is None


def test_check_availability() -> None:
    check_availability("CoOp", ["CoOp"])
    with pytest.raises(ValueError, match="belong to ") as caught:
        check_availability("Coop", ["MaPLe", "CoOp"])
    assert str(caught.value) == (
        "The requested one is expected to belong to ['MaPLe', 'CoOp'], but got [Coop] (do you mean [CoOp]?)"
    )
    with pytest.raises(ValueError, match="nothing is registered"):
        check_availability("CoOp", [])


@pytest.mark.parametrize(
    ("build", "key", "nearest"),
    [
        (build_trainer, "TRAINER.NAME", "ToyTrainer"),
        (build_dataset, "DATASET.NAME", "ToyData"),
        (build_evaluator, "TEST.EVALUATOR", "Classification"),
    ],
)
def test_unknown_names(make_cfg: Any, build: Any, key: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=rf"got \[{nearest}X\] \(do you mean \[{nearest}\]\?\)"):
        build(make_cfg(key, f"{nearest}X"))
