"""Grouping, joining by seed, and the figures, against values worked out by hand."""

import logging
from pathlib import Path

import pytest

from caspl.errors import CasPLError
from caspl.results.collect import base_to_new, find_records, harmonic_mean, summarize
from tests.results.made import pair, record, write_all


def test_harmonic_mean() -> None:
    assert harmonic_mean(60.0, 40.0) == pytest.approx(48.0)
    assert harmonic_mean(69.34, 74.22) == pytest.approx(71.70, abs=0.005)  # the paper's CLIP row
    assert harmonic_mean(0.0, 0.0) == 0.0


def test_spread_is_that_of_a_sample() -> None:
    summary = summarize({1: 80.0, 2: 82.0, 3: 87.0})
    assert summary is not None
    assert summary.mean == pytest.approx(83.0)
    # deviations -3, -1, 4: 26 / (3 - 1) = 13; a population's would be 26 / 3
    assert summary.spread == pytest.approx(13**0.5)
    assert summary.count == 3


def test_one_seed_has_no_spread_and_none_no_mean() -> None:
    one = summarize({1: 80.0})
    assert one is not None
    assert (one.mean, one.spread) == (80.0, None)
    assert summarize({}) is None


def test_hm_is_of_the_means_and_its_spread_of_the_single_hms() -> None:
    (group,) = base_to_new([*pair(60.0, 40.0, seed=1), *pair(90.0, 10.0, seed=2)])
    # means 75 and 25: 2 * 75 * 25 / 100; single HMs 48 and 18: their mean would be 33, their spread is 30 / sqrt(2)
    assert group.harmonic is not None
    assert group.harmonic.mean == pytest.approx(37.5)
    assert group.harmonic.spread == pytest.approx(30 / 2**0.5)


def test_base_and_new_are_joined_by_seed_not_by_order() -> None:
    (group,) = base_to_new([*pair(60.0, 40.0, seed=1), record(99.0, seed=2), record(10.0, seed=3, classes="new")])
    assert group.base == {1: 60.0, 2: 99.0}
    assert group.new == {1: 40.0, 3: 10.0}
    assert group.joint_seeds == [1]
    assert group.harmonic is not None
    assert group.harmonic.mean == pytest.approx(48.0)
    assert group.harmonic.spread is None


def test_base_alone_has_no_harmonic_mean() -> None:
    (group,) = base_to_new([record(60.0)])
    assert group.harmonic is None
    assert group.new == {}


@pytest.mark.parametrize(
    "other", [{"dataset": "DescribableTextures"}, {"trainer": "MaPLe"}, {"config": "vit_b32"}, {"shots": 4}]
)
def test_runs_that_differ_in_more_than_seed_stay_apart(other: dict[str, str]) -> None:
    groups = base_to_new([record(60.0), record(70.0, **other)])
    assert [group.base for group in groups] == [{1: 60.0}, {1: 70.0}]


def test_tests_of_all_classes_and_few_shot_runs_do_not_count() -> None:
    assert base_to_new([record(classes="all"), record(protocol="few_shot")]) == []


def test_zero_shot_joins_whatever_the_shots_say() -> None:
    base = record(60.0, trainer="ZeroshotCLIP", shots=-1, classes="base")
    new = record(40.0, trainer="ZeroshotCLIP", shots=16, classes="new")
    (group,) = base_to_new([base, new])
    assert (group.shots, group.base, group.new) == (0, {1: 60.0}, {1: 40.0})


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_records_the_later_counts(caplog: pytest.LogCaptureFixture, turned: bool) -> None:
    old = record(60.0, finished="2025-01-01T00:00:00+00:00")
    young = record(61.0, finished="2025-02-01T00:00:00+00:00")
    (group,) = base_to_new([young, old] if turned else [old, young])
    assert group.base == {1: 61.0}
    assert "seed 1" in caplog.text


def test_two_equal_records_need_no_word(caplog: pytest.LogCaptureFixture) -> None:
    base_to_new([record(60.0), record(60.0)])
    assert caplog.text == ""


def test_records_are_found_at_any_depth_and_broken_ones_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_all(tmp_path / "deep" / "er", pair(60.0, 40.0))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "result.json").write_text('{"trainer": "CoOp"')
    write_all(tmp_path / "nan", [record(float("nan"))])
    (tmp_path / "other.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        found = find_records(tmp_path)
    assert found == pair(60.0, 40.0)
    assert [str(Path("cut") / "result.json") in line.message for line in caplog.records] == [True, False]
    assert "no finite accuracy" in caplog.records[1].message


def test_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="nowhere"):
        find_records(tmp_path / "nowhere")
