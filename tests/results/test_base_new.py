"""Rows, order, differences, averages and the paper's figures in the base-to-new view."""

import csv
import statistics
from pathlib import Path

import pytest

import caspl.results
from caspl.errors import CasPLError
from caspl.results import RunRecord, order, paper_figures
from caspl.results.base_new import Options, tables
from caspl.results.collect import base_to_new, harmonic_mean
from caspl.results.tables import Figure, Table
from tests.results.made import pair, record


def shown(records: list[RunRecord], options: Options | None = None) -> list[Table]:
    return tables(base_to_new(records), options)


def texts(table: Table) -> list[list[str]]:
    return [[cell.text() if isinstance(cell, Figure) else cell for cell in row] for row in table.rows]


def test_missing_partner_is_a_dash() -> None:
    (table,) = shown([record(60.0), *pair(60.0, 40.0, trainer="MaPLe"), record(9.0, trainer="VPT", classes="new")])
    assert table.columns == ["method", "base", "new", "HM", "seeds"]
    assert texts(table) == [
        ["CoOp", "60.00", "-", "-", "1"],
        ["VPT", "-", "9.00", "-", "1"],
        ["MaPLe", "60.00", "40.00", "48.00", "1"],
    ]


def test_spreads_and_uneven_seeds() -> None:
    (table,) = shown([*pair(60.0, 40.0, seed=1), *pair(90.0, 10.0, seed=2), record(60.0, seed=3)])
    assert texts(table) == [["CoOp", "70.00 ± 17.32", "25.00 ± 21.21", "37.50 ± 21.21", "3/2"]]


def test_methods_stand_in_order_and_each_cascade_after_its_method() -> None:
    names = ["Zzz", "CasPL_MaPLe", "CasPL_CoOp", "MaPLe", "CasPL", "Aaa", "CoOp", "ZeroshotCLIP", "CasPL_Aaa"]
    (table,) = shown([record(trainer=name) for name in names])
    assert [row[0] for row in texts(table)] == [
        *["ZeroshotCLIP", "CasPL", "CoOp", "CasPL_CoOp", "MaPLe", "CasPL_MaPLe", "Aaa", "CasPL_Aaa", "Zzz"]
    ]


def test_data_sets_stand_in_the_papers_order() -> None:
    names = ["TinyShapes", "UCF101", "DescribableTextures", "ImageNet", "OxfordPets"]
    assert [table.title for table in shown([record(dataset=name) for name in names])][:-1] == [
        *["ImageNet", "OxfordPets", "DescribableTextures", "UCF101", "TinyShapes"]
    ]


def test_config_and_shots_are_shown_where_rows_would_look_alike() -> None:
    (table,) = shown([record(), record(config="vit_b32"), record(shots=4)])
    assert table.columns[:3] == ["method", "config", "shots"]
    assert [row[:3] for row in texts(table)] == [
        *[["CoOp", "vit_b16", "4"], ["CoOp", "vit_b16", "16"], ["CoOp", "vit_b32", "16"]]
    ]


def test_difference_to_the_plain_method() -> None:
    records = [*pair(60.0, 40.0), *pair(66.0, 30.0, trainer="CasPL_CoOp", config="another_name")]
    (table,) = shown(records, Options(difference=True))
    assert texts(table)[2] == ["CasPL_CoOp - CoOp", "+6.00", "-10.00", "-6.75", "-"]
    assert len(texts(shown(records)[0])) == 2


def test_the_spread_of_a_difference_is_that_of_the_seeds_differences() -> None:
    plain = [*pair(60.0, 50.0), *pair(70.0, 50.0, seed=2)]
    ours = [*pair(62.0, 50.0, trainer="CasPL_CoOp"), *pair(76.0, 50.0, trainer="CasPL_CoOp", seed=2)]
    (table,) = shown([*plain, *ours], Options(difference=True))
    # Gains 2 and 6: far closer together than the accuracies. With another set of seeds there is nothing to pair.
    assert texts(table)[2][1:3] == ["+4.00 ± 2.83", "+0.00 ± 0.00"]
    (table,) = shown([*plain, *ours[:2]], Options(difference=True))
    assert texts(table)[2][1] == "-3.00"


def test_no_difference_by_guess() -> None:
    records = [record(config="a"), record(config="b"), record(trainer="CasPL_CoOp", config="c")]
    assert len(shown(records, Options(difference=True))[0].rows) == 3
    groups = base_to_new([*records, record(1.0, trainer="CasPL_CoOp", config="b")])
    partner = order.partner(groups[3], groups)
    assert partner is not None
    assert partner.config == "b"
    # Other shots or another data set are no partner.
    assert order.partner(base_to_new([record(trainer="CasPL_CoOp", shots=4)])[0], groups) is None
    assert order.partner(base_to_new([record(trainer="CasPL_CoOp", dataset="UCF101")])[0], groups) is None


def test_average_over_data_sets_leaves_out_the_incomplete() -> None:
    records = [
        *pair(60.0, 40.0, config="eurosat_config"),
        *pair(90.0, 10.0, dataset="UCF101"),
        *pair(50.0, 50.0, trainer="MaPLe"),
    ]
    made = shown(records)
    assert [table.title for table in made] == ["EuroSAT", "UCF101", "average of 2 data sets"]
    # The HM of the averages (75, 25), as the paper has it, and not the average 33 of the HMs.
    assert texts(made[2]) == [["CoOp", "75.00", "25.00", "37.50", "1"]]


def test_average_spread_is_over_seeds_common_to_all() -> None:
    records = [record(60.0, seed=1), record(70.0, seed=2), record(99.0, seed=3)]
    records += [record(80.0, seed=1, dataset="UCF101"), record(74.0, seed=2, dataset="UCF101")]
    # Seed 1: 70, seed 2: 72; seed 3 is not everywhere.
    assert texts(shown(records)[2]) == [["CoOp", "71.00 ± 1.41", "-", "-", "2"]]


def test_the_papers_figures_stand_beside() -> None:
    records = [
        *pair(1.0, 1.0, trainer="CasPL_CoOp"),
        *pair(1.0, 1.0),
        *pair(1.0, 1.0, trainer="ZeroshotCLIP", shots=-1),
    ]
    (table,) = shown(records + pair(1.0, 1.0, trainer="Mine"), Options(paper=True, difference=True))
    assert list(table.columns[-3:]) == ["paper base", "paper new", "paper HM"]
    assert [[row[0], *row[-3:]] for row in texts(table)] == [
        ["ZeroshotCLIP", "56.48", "64.05", "60.03"],
        ["CoOp", "92.19", "54.74", "68.69"],
        ["CasPL_CoOp", "94.80", "82.23", "88.07"],
        ["CasPL_CoOp - CoOp", "+2.61", "+27.49", "+19.38"],
        ["Mine", "-", "-", "-"],
    ]
    (few,) = shown([record(shots=4)], Options(paper=True))
    assert texts(few)[0][-3:] == ["-", "-", "-"]


def test_the_papers_average_needs_its_eleven_data_sets() -> None:
    names = [row["dataset"] for row in paper_figures.rows("base2new") if row["method"] == "CLIP"]
    records = [record(dataset=name) for name in names if name != "average"]
    assert len(records) == 11
    assert texts(shown(records, Options(paper=True))[-1])[0][-3:] == ["82.69", "63.22", "71.66"]
    assert texts(shown(records[1:], Options(paper=True))[-1])[0][-3:] == ["-", "-", "-"]


def test_packaged_figures_agree_with_themselves() -> None:
    rows = paper_figures.rows("base2new")
    assert len(rows) == 12 * 10
    worst = max(abs(harmonic_mean(float(row["base"]), float(row["novel"])) - float(row["hm"])) for row in rows)
    assert worst < 0.02  # two decimals in three places
    assert len(paper_figures.rows("few_shot")) == 12 * 6
    assert {"imagenetv2", "imagenet_r"} <= paper_figures.rows("domain_generalization")[0].keys()
    with pytest.raises(CasPLError, match="base2new"):
        paper_figures.rows("cross_dataset")


def test_every_methods_average_is_that_of_its_rows() -> None:
    rows = paper_figures.rows("base2new")
    for method in {row["method"] for row in rows}:
        own = [row for row in rows if row["method"] == method]
        (average,) = (row for row in own if row["dataset"] == "average")
        for part in ("base", "novel"):
            mean = statistics.fmean(float(row[part]) for row in own if row is not average)
            assert mean == pytest.approx(float(average[part]), abs=0.02)


def test_packaged_tables_are_all_known() -> None:
    folder = Path(caspl.results.__file__).parent / "paper"
    assert {path.stem for path in folder.glob("*.csv")} == set(paper_figures.TABLES)
    for path in folder.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        assert {len(line) for line in lines} == {len(lines[0])}
