"""Few-shot, cross-dataset and shift tables: the papers' own figures as records, and what must not be averaged away."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caspl.results import RunRecord, paper_figures
from caspl.results.__main__ import main
from caspl.results.all_classes import AVERAGE, NOTE, few_shot, few_shot_note, transfer
from caspl.results.tables import Figure, Table
from tests.results.made import record, write_all

REGISTERED = {"dtd": "DescribableTextures", "imagenet": "ImageNet"}
SHIFTS = {
    "imagenet": "ImageNet",
    "imagenetv2": "ImageNetV2",
    "imagenet_sketch": "ImageNetSketch",
    "imagenet_r": "ImageNetR",
}


def learned(dataset: str, **more: Any) -> dict[str, Any]:
    return {"trained_on": {"dataset": dataset, **more}}


def of(accuracy: float, trainer: str, source: str, target: str, shots: int = 16, **more: Any) -> RunRecord:
    about: dict[str, Any] = {} if trainer.startswith("Zeroshot") else learned(source)
    return record(
        accuracy,
        **({"trainer": trainer, "dataset": target, "shots": shots, "classes": "all", "protocol": ""} | about | more),
    )


def cell(table: Table, method: str, column: str) -> Figure:
    (row,) = (row for row in table.rows if row[0] == method)
    found = row[list(table.columns).index(column)]
    assert isinstance(found, Figure)
    return found


def papers_few_shot() -> list[RunRecord]:
    rows = [row for row in paper_figures.rows("few_shot") if row["dataset"] != "average"]
    return [
        of(float(row[str(shots)]), paper_figures.trainer_of(row["method"]), name, name, shots, protocol="few_shot")
        for row in rows
        for name in [REGISTERED.get(row["dataset"], row["dataset"])]
        for shots in (1, 2, 4, 8, 16)
    ]


def test_the_papers_few_shot_averages() -> None:
    """To a hundredth, but for the one that its own rows contradict."""
    average = few_shot(papers_few_shot(), paper=True)[-1]
    assert average.title == "average of 11 data sets"
    wrong = {}
    for row in paper_figures.rows("few_shot"):
        method = paper_figures.trainer_of(row["method"])
        if row["dataset"] == "average":
            for shots in (1, 2, 4, 8, 16):
                column = f"{shots} shots" if shots > 1 else "1 shot"
                own, theirs = cell(average, method, column), cell(average, method, f"paper {column}")
                assert theirs.value == float(row[str(shots)])
                assert own.value is not None
                if not math.isclose(own.value, theirs.value, abs_tol=0.0101):
                    wrong[method, shots] = (round(own.value, 2), theirs.value)
    assert wrong == {("MaPLe", 4): (75.75, 75.37)}


def papers_shifts() -> list[RunRecord]:
    return [
        of(float(row[key]), paper_figures.trainer_of(row["method"]), "ImageNet", name)
        for row in paper_figures.rows("domain_generalization")
        for key, name in SHIFTS.items()
    ]


def test_the_papers_averages_of_the_shifts() -> None:
    (table,) = transfer(papers_shifts(), shifts=True, paper=True)
    assert list(table.columns)[1:6] == ["ImageNet", "ImageNetV2", "ImageNetSketch", "ImageNetR", AVERAGE]
    for row in paper_figures.rows("domain_generalization"):
        method = paper_figures.trainer_of(row["method"])
        assert cell(table, method, "paper ImageNetR").value == float(row["imagenet_r"])
        if row["target_average"]:
            own = cell(table, method, AVERAGE).value
            assert own == pytest.approx(float(row["target_average"]), abs=0.0101)


def test_imagenet_a_is_not_in_the_average() -> None:
    (table,) = transfer([*papers_shifts(), of(10.0, "CoOp", "ImageNet", "ImageNetA")], shifts=True)
    assert list(table.columns)[-2:] == ["ImageNetA", "seeds"]
    assert cell(table, "CoOp", AVERAGE).value == pytest.approx(62.47, abs=0.01)


def test_a_missing_data_set_is_missing_and_not_averaged_away() -> None:
    records = [one for one in papers_few_shot() if (one.trainer, one.dataset, one.shots) != ("CoOp", "eurosat", 4)]
    average = few_shot(records)[-1]
    assert cell(average, "CoOp", "4 shots").value is None
    assert cell(average, "CoOp", "8 shots").value is not None
    assert cell(average, "CoCoOp", "4 shots").value is not None
    shifts = [one for one in papers_shifts() if (one.trainer, one.dataset) != ("CoOp", "ImageNetR")]
    assert cell(transfer(shifts, shifts=True)[0], "CoOp", AVERAGE).value is None


def test_other_data_sets_and_shifts_are_two_tables() -> None:
    records = [
        of(60.0, "CoOp", "ImageNet", name) for name in ("ImageNet", "EuroSAT", "DescribableTextures", "ImageNetV2")
    ]
    records += [of(50.0, "ZeroshotCLIP", "", name) for name in ("ImageNet", "EuroSAT", "DescribableTextures")]
    (cross,), (shifts,) = transfer(records, shifts=False), transfer(records, shifts=True)
    assert len(cross.columns) == 1 + 1 + 10 + 1 + 1
    assert cell(cross, "ZeroshotCLIP", "EuroSAT").value == 50.0
    assert cell(cross, "CoOp", "food101").value is None  # one of the ten that is missing
    assert cell(cross, "CoOp", AVERAGE).value is None
    assert list(shifts.columns)[2:6] == ["ImageNetV2", "ImageNetSketch", "ImageNetR", AVERAGE]
    assert cell(shifts, "CoOp", AVERAGE).value is None
    (own,) = transfer([of(60.0, "CoOp", "TinySat", name) for name in ("TinySat", "TinyWorld")], shifts=False)
    assert cell(own, "CoOp", AVERAGE).value == 60.0


def test_seeds_spread_and_gains() -> None:
    seeds = [
        of(70.0 + seed, name, "EuroSAT", "EuroSAT", seed=seed) for name in ("CoOp", "CasPL_CoOp") for seed in (1, 2)
    ]
    seeds[2:] = [of(80.0 + 3 * seed, "CasPL_CoOp", "EuroSAT", "EuroSAT", seed=seed) for seed in (1, 2)]
    (table,) = few_shot(seeds, difference=True)
    assert cell(table, "CoOp", "16 shots") == Figure(71.5, pytest.approx(0.5**0.5))
    gain = cell(table, "CasPL_CoOp - CoOp", "16 shots")
    assert (gain.value, gain.spread, gain.signed) == (13.0, pytest.approx(2**0.5), True)


def test_rows_that_differ_never_look_alike() -> None:
    records = [of(70.0, "CoOp", "EuroSAT", "EuroSAT", config=config) for config in ("vit_b16", "vit_b16_ep50")]
    (table,) = few_shot(records)
    assert table.columns[1] == "config"
    assert {row[1] for row in table.rows} == {"vit_b16", "vit_b16_ep50"}


def test_runs_on_all_classes_have_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three seeds of own pictures, all of their images."""
    runs = [of(80.0 + seed, "CoOp", "Folder", "Folder", -1, seed=seed, protocol="") for seed in (1, 2, 3)]
    assert main([str(write_all(tmp_path, runs))]) == 0
    printed = capsys.readouterr().out
    assert "all images" in printed
    assert "82.00 ± 1.00  3" in printed


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "latex"])
def test_all_tables_of_a_folder(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [*papers_few_shot(), *papers_shifts(), of(60.0, "CoOp", "ImageNet", "EuroSAT"), record(70.0)]
    folder = str(write_all(tmp_path, records))
    code = main([folder, "--format", form, "--paper"])
    printed = capsys.readouterr()
    if form == "csv":
        assert code == 2
        assert "choose --table base2new or few_shot or cross_dataset or domain_generalization" in printed.err
        assert main([folder, "--format", form, "--table", "few_shot"]) == 0
    else:
        assert code == 0
        assert "ImageNetSketch" in printed.out


def test_settings_that_follow_the_number_of_shots_are_one_row() -> None:
    """As CoOp's published ones; in ImageNet another config than elsewhere."""
    configs = {1: "vit_b16_ep50", 4: "vit_b16_ep100", 16: "vit_b16"}
    records = [
        of(70.0 + shots, "CoOp", name, name, shots, config="vit_b16_ep50" if name == "ImageNet" else config)
        for name in ("ImageNet", "EuroSAT")
        for shots, config in configs.items()
    ]
    *single, average = few_shot(records)
    assert [len(table.rows) for table in (*single, average)] == [1, 1, 1]
    assert cell(average, "CoOp", "4 shots").value == 74.0
    twice = few_shot([*records, of(50.0, "CoOp", "EuroSAT", "EuroSAT", 4, config="mine")])
    assert "config" in twice[0].columns  # two configs at one number of shots are two rows
    assert len(twice[1].rows) == 4


def test_trainings_for_other_tables_are_no_few_shot_runs() -> None:
    shifts = [of(70.0, "CoOp", "ImageNet", name, protocol="cross_dataset") for name in ("ImageNet", "ImageNetV2")]
    assert few_shot(shifts) == []
    boosted = {"trained_on": {"boosting": {"dataset": "ImageNet"}}}
    both = [
        record(accuracy, trainer="CasPL_ZeroshotCLIP", dataset="ImageNet", classes="all", protocol=protocol, **boosted)
        for accuracy, protocol in ((70.0, "few_shot"), (60.0, "cross_dataset"))
    ]
    far = record(50.0, trainer="CasPL_ZeroshotCLIP", dataset="ImageNetV2", classes="all", protocol="x", **boosted)
    (table,) = transfer([*shifts, *both, far], shifts=True)
    assert cell(table, "CasPL_ZeroshotCLIP", "ImageNet").value == 60.0


def test_cells_of_fewer_seeds_are_told() -> None:
    records = [
        of(70.0, "CoOp", "EuroSAT", "EuroSAT", shots, seed=seed) for shots, seed in ((1, 1), (4, 1), (4, 2), (4, 3))
    ]
    (table,) = few_shot(records)
    assert table.rows[0][list(table.columns).index("seeds")] == "1-3"


def test_a_test_of_unknown_origin_is_in_no_table() -> None:
    lost = of(70.0, "CoOp", "x", "ImageNetV2", trained_on={}, tested={"checkpoint": "somewhere"})
    assert transfer([lost], shifts=True) == few_shot([lost]) == []


def test_configs_that_vary_with_the_shots_are_one_row_only_where_the_protocol_says_so() -> None:
    """Else rows that differ in more than shots would look alike."""
    published = [
        of(60.0, "CoOp", "EuroSAT", "EuroSAT", 1, config="vit_b16_ep50", protocol="few_shot"),
        of(80.0, "CoOp", "EuroSAT", "EuroSAT", 16, config="vit_b16", protocol="few_shot"),
    ]
    (table,) = few_shot(published)
    assert [row[:3] for row in table.rows] == [["CoOp", Figure(60.0), Figure(80.0)]]
    own = [replace(one, config=name) for one, name in zip(published, ("vit_b16_lr1", "vit_b16_lr2"), strict=True)]
    (table,) = few_shot(own)
    assert list(table.columns)[:2] == ["method", "config"]
    assert [row[1] for row in table.rows] == ["vit_b16_lr1", "vit_b16_lr2"]


def test_rows_whose_settings_are_not_published_are_named() -> None:
    borrowed, own = "vit_b16_ep50", "mine"
    records = [of(60.0, "CasPL_CoOp", "EuroSAT", "EuroSAT", 4, config=borrowed, protocol="few_shot")]
    assert few_shot_note(records) == (
        f"{NOTE} No few-shot settings are published for CasPL_CoOp: theirs are those of base to new."
    )
    published = of(60.0, "CoOp", "EuroSAT", "EuroSAT", 1, config=borrowed, protocol="few_shot")
    others = [replace(records[0], config=own), replace(records[0], protocol="base2new"), published]
    assert few_shot_note([*others, of(60.0, "Mine", "EuroSAT", "EuroSAT", 4, protocol="few_shot")]) == NOTE
