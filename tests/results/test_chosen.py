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
    assert table.columns == ["method", "config", "validation", "base", "new", "HM", "seeds", "chosen"]
    assert texts(table) == [
        ["CoOp", "lr1", "72.00 ± 2.83", "61.00 ± 1.41", "41.00 ± 1.41", "49.04 ± 1.47", "2", "yes"],
        ["CoOp", "lr2", "71.50 ± 16.26", "90.00 ± 0.00", "90.00 ± 0.00", "90.00 ± 0.00", "2", ""],
    ]


def test_settings_are_compared_over_the_seeds_that_all_have() -> None:
    records = [
        *validated(70.0, 1.0, 1.0, config="lr1", seed=1),
        *validated(99.0, 1.0, 1.0, config="lr1", seed=2),
        *validated(71.0, 1.0, 1.0, config="lr2", seed=1),
    ]
    marks = {row[1]: row[-1] for row in texts(chosen.tables(records)[0])}
    assert marks == {"lr1": "", "lr2": "yes"}
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
    assert texts(average) == [["CoOp", "several", "70.00", "75.00", "50.00", "60.00", "1", "yes"]]


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
    assert table.columns == ["method", "config", "validation", "test", "seeds", "chosen"]
    assert [row[-1] for row in texts(table)] == ["yes", ""]


def test_runs_of_several_protocols_are_compared_apart() -> None:
    """The same settings, on the same data set."""
    records = [*validated(70.0, 1.0, 1.0, config="a"), *validated(60.0, 1.0, 1.0, config="b")]
    for name, value in (("a", 40.0), ("b", 50.0)):
        few = record(value, classes="all", config=name, protocol="few_shot")
        records.append(replace(few, extra={"validation": {"val_accuracy": value}}))
    tables = {table.title: texts(table) for table in chosen.tables(records)}
    assert list(tables) == ["EuroSAT, base2new", "EuroSAT, few_shot"]
    assert [row[-1] for row in tables["EuroSAT, base2new"]] == ["yes", ""]
    assert [row[-1] for row in tables["EuroSAT, few_shot"]] == ["", "yes"]


def test_what_learns_nothing_can_be_chosen_too() -> None:
    records = [
        one
        for name, value in (("t1", 50.0), ("t2", 60.0))
        for one in validated(value, value, value, config=name, trainer="ZeroshotCLIP")
    ]
    (table,) = chosen.tables(records)
    assert [row[-1] for row in texts(table)] == ["", "yes"]
    assert texts(table)[1][3:6] == ["60.00", "60.00", "60.00"]
