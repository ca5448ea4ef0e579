"""Settings that are chosen on validation images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from caspl.results import RunRecord, chosen
from caspl.results.tables import Figure, Table
from tests.results.made import pair, record


def validated(validation: float, base: float, new: float, **more: Any) -> list[RunRecord]:
    trained, other = pair(base, new, **more)
    return [replace(trained, extra={"validation": {"val_accuracy": validation, "val_macro_f1": 1.0}}), other]


def texts(table: Table) -> list[list[str]]:
    return [[cell.text() if isinstance(cell, Figure) else str(cell) for cell in row] for row in table.rows]


def test_validation_chooses_and_not_the_test() -> None:
    records = [
        *validated(70.0, 60.0, 40.0, config="lr1", seed=1),
        *validated(74.0, 62.0, 42.0, config="lr1", seed=2),
        *validated(60.0, 90.0, 90.0, config="lr2", seed=1),
        *validated(83.0, 90.0, 90.0, config="lr2", seed=2),
    ]
    (table,) = chosen.tables(records)
    assert table.columns == ["method", "config", "validation", "base", "new", "HM", "seeds", ""]
    assert texts(table) == [
        ["CoOp", "lr1", "72.00 ± 2.83", "61.00 ± 1.41", "41.00 ± 1.41", "49.04 ± 1.47", "2", "chosen"],
        ["CoOp", "lr2", "71.50 ± 16.26", "90.00 ± 0.00", "90.00 ± 0.00", "90.00 ± 0.00", "2", ""],
    ]


def test_settings_are_compared_over_the_seeds_that_all_have() -> None:
    records = [
        *validated(70.0, 1.0, 1.0, config="lr1", seed=1),
        *validated(99.0, 1.0, 1.0, config="lr1", seed=2),
        *validated(71.0, 1.0, 1.0, config="lr2", seed=1),
    ]
    marks = {row[1]: row[-1] for row in texts(chosen.tables(records)[0])}
    assert marks == {"lr1": "", "lr2": "chosen"}
    none = [*validated(70.0, 1.0, 1.0, config="lr1", seed=1), *validated(71.0, 1.0, 1.0, config="lr2", seed=2)]
    assert {row[-1] for row in texts(chosen.tables(none)[0])} == {""}


def test_one_setting_and_runs_that_were_not_validated_are_no_choice() -> None:
    assert chosen.tables([*validated(70.0, 1.0, 1.0), *pair(50.0, 50.0, config="other")]) == []


def test_each_data_set_has_its_own_choice_and_their_average_is_shown() -> None:
    records = []
    for dataset, first, second in (("EuroSAT", 70.0, 60.0), ("OxfordPets", 60.0, 70.0)):
        records += validated(first, first + 5, 50.0, config="lr1", dataset=dataset)
        records += validated(second, second + 5, 50.0, config="lr2", dataset=dataset)
    *tables, average = chosen.tables(records)
    assert [table.title for table in tables] == ["OxfordPets", "EuroSAT"]
    assert average.title == "average of what is chosen"
    assert texts(average) == [["CoOp", "several", "70.00", "75.00", "50.00", "60.00", "1", "chosen"]]


def test_all_classes() -> None:
    told = {"validation": {"val_accuracy": 50.0}}
    records = [
        replace(
            record(value, classes="all", config=name),
            extra=told if name == "lr1" else {"validation": {"val_accuracy": 40}},
        )
        for name, value in (("lr1", 61.0), ("lr2", 62.0))
    ]
    (table,) = chosen.tables(records)
    assert table.columns == ["method", "config", "validation", "test", "seeds", ""]
    assert [row[-1] for row in texts(table)] == ["chosen", ""]
