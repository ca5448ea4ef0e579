"""``python -m caspl.results compare``: paired tests, whose figures are known from elsewhere."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest

from caspl.errors import CasPLError
from caspl.results.__main__ import main
from caspl.results.compare import compare
from caspl.results.paired import t_test, wilcoxon
from caspl.results.pairs import Method, pairs_of
from caspl.results.tables import Figure, Table
from tests.results.made import pair, record, write_all

COOP, CASCADE = Method("CoOp", ""), Method("CasPL_CoOp", "")


def row(table: Table, measure: str) -> dict[str, object]:
    (found,) = (one for one in table.rows if one[0] == measure)
    return dict(zip(table.columns, found, strict=True))


def test_student_s_own_sleep_data() -> None:
    """Ten patients, two drugs: t = -4.0621, p = 0.00283 (Student 1908)."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = t_test([one - other for one, other in zip(first, second, strict=True)])
    assert (found.count, found.mean) == (10, pytest.approx(-1.58))
    assert (found.t, found.p) == (pytest.approx(-4.0621, abs=1e-4), pytest.approx(0.002833, abs=1e-6))


def test_wilcoxon_of_few_pairs() -> None:
    """Six of one sign are the least that can come below 5 %: 2 / 2**6."""
    assert wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx(2 / 64)
    assert wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0, 0.0]) is None


@pytest.mark.parametrize("differences", [[1.0], [2.0, 2.0, 2.0], [0.1 + 0.2, 0.3]])
def test_no_t_of_one_pair_or_of_equal_ones(differences: list[float]) -> None:
    found = t_test(differences)
    assert (found.t, found.p) == (None, None)
    assert found.mean == pytest.approx(differences[0])


def test_seeds_pair_within_a_data_set() -> None:
    """Seed 4 has one side alone; that data sets differ is no spread."""
    records = [
        one
        for name, level in (("EuroSAT", 0.0), ("OxfordPets", 30.0))
        for seed in (1, 2, 3)
        for one in (
            *pair(50.0 + level, 40.0, seed=seed, dataset=name),
            *pair(51.0 + level + seed, 40.0, seed=seed, dataset=name, trainer="CasPL_CoOp", config="other"),
        )
    ]
    tables, notes = compare([*records, *pair(99.0, 99.0, seed=4)], CASCADE, COOP)
    assert [table.title for table in tables] == ["OxfordPets", "EuroSAT", "all data sets"]
    for table in tables[:2]:
        base = row(table, "base")
        assert base["difference"] == Figure(3.0, pytest.approx(1.0), signed=True)
        assert (base["pairs"], base["t"], base["p"]) == ("3", "5.20", "0.0351")
    whole = row(tables[-1], "base")
    assert (whole["pairs"], whole["CasPL_CoOp"], whole["CoOp"]) == ("6", Figure(68.0), Figure(65.0))
    assert (whole["t"], whole["p"], whole["Wilcoxon p"]) == ("8.22", "0.0004", "-")
    assert row(tables[0], "new")["t"] == "-"  # without any difference
    assert notes == ["Too few data sets for Wilcoxon's test, which takes 6: base (2), new (2), HM (2)."]


def test_ranks_over_data_sets() -> None:
    records = [
        record(50.0 + gain, trainer=trainer, dataset=f"Set{number}", classes="all", protocol="few_shot")
        for number in range(6)
        for trainer, gain in (("CoOp", 0), ("CasPL_CoOp", number + 1))
    ]
    tables, notes = compare(records, CASCADE, COOP)
    whole = row(tables[-1], "accuracy")
    assert (whole["pairs"], whole["Wilcoxon p"]) == ("6", "0.0312")
    assert notes[0].startswith("Too few pairs for a t test, which takes two seeds: Set0 (accuracy), ")


def test_what_is_not_trained_pairs_with_every_seed() -> None:
    records = [*pair(50.0, 50.0, trainer="ZeroshotCLIP", shots=-1),
               *(one for seed in (1, 2, 3) for one in pair(50.0 + seed, 50.0, seed=seed))]  # fmt: skip
    tables, _ = compare(records, COOP, Method("ZeroshotCLIP", ""))
    assert row(tables[0], "base")["pairs"] == "3"
    assert row(tables[0], "base")["difference"] == Figure(2.0, 1.0, signed=True)


def test_shots_and_sources_do_not_mix() -> None:
    far = {"classes": "all", "dataset": "EuroSAT", "protocol": "cross_dataset"}
    records = [record(50.0, trainer=name, shots=shots, classes="all", protocol="few_shot")
               for name in ("CoOp", "CasPL_CoOp") for shots in (4, 16)]  # fmt: skip
    records += [
        record(30.0, trainer=name, trained_on={"dataset": "ImageNet"}, **far) for name in ("CoOp", "CasPL_CoOp")
    ]
    tables, _ = compare(records, CASCADE, COOP)
    assert [tuple(one[:2]) for one in tables[0].rows] == [
        ("accuracy", "4"),
        ("accuracy", "16"),
        ("from ImageNet", "16"),
    ]


def test_of_several_configs_one_is_asked_for() -> None:
    records = [*pair(50.0, 50.0, config="a"), *pair(60.0, 60.0, config="b"), *pair(70.0, 70.0, trainer="VPT")]
    with pytest.raises(CasPLError, match=r"several configs on EuroSAT: say CoOp:a or CoOp:b"):
        compare(records, COOP, Method("VPT", ""))
    tables, _ = compare(records, Method.parse("CoOp:b"), Method.parse("coop:a"))
    assert row(tables[0], "HM")["difference"] == Figure(10.0, None, signed=True)


@pytest.mark.parametrize("form", ["text", "csv", "markdown", "latex"])
def test_forms(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [*pair(50.0, 40.0), *pair(60.0, 50.0, trainer="CasPL_CoOp")]
    assert main(["compare", "CasPL_CoOp", "CoOp", str(write_all(tmp_path, records)), "--format", form]) == 0
    printed = capsys.readouterr()
    assert "Too few pairs for a t test" in (printed.err if form == "csv" else printed.out)
    if form == "csv":
        (base, *_) = csv.DictReader(io.StringIO(printed.out))
        assert (base["difference"], base["p"]) == ("10.0", "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["CoOp", "VPT"], "there is no run of VPT; there are CasPL_CoOp, CoOp."),
        (["CoOp", "CasPL_CoOp", "--shots", "16"], "there is no run of CasPL_CoOp; there are CoOp."),
        (["CoOp", "CasPL_CoOp"], "CoOp and CasPL_CoOp have no data set, number of shots and seed in common"),
    ],
)
def test_nothing_to_compare_is_one_sentence(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [*pair(50.0, 40.0), *pair(60.0, 50.0, trainer="CasPL_CoOp", shots=4)]
    assert main(["compare", *options[:2], str(write_all(tmp_path, records)), *options[2:]]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")


def test_without_scipy_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert main(["compare", "A", "B", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "the test needs scipy: pip install '.[report]' in the checkout of CasPL.\n"


def test_what_is_not_trained_is_compared_with_every_transfer() -> None:
    """And what a method was trained on is no transfer."""
    learned = {"trained_on": {"dataset": "ImageNet"}, "classes": "all", "protocol": "cross_dataset"}
    tests = [record(value, dataset=name, **learned) for name, value in (("ImageNet", 70.0), ("EuroSAT", 50.0))]
    plain = {"trainer": "ZeroshotCLIP", "classes": "all", "protocol": "cross_dataset"}
    tests += [record(value, dataset=name, **plain) for name, value in (("ImageNet", 66.0), ("EuroSAT", 47.0))]
    found = pairs_of(tests, COOP, Method("ZeroshotCLIP", ""))
    assert {(measure.dataset, measure.name): pairs for measure, pairs in found.items()} == {
        ("EuroSAT", "from ImageNet"): {1: (50.0, 47.0)}
    }
