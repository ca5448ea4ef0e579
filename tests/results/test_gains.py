"""``python -m caspl.results gains``: each method beside its cascade, and the sentence that its records make."""

from __future__ import annotations

from pathlib import Path

import pytest

from caspl.results.__main__ import main
from caspl.results.gains import gains, summary
from caspl.results.record import RunRecord
from tests.results.made import pair, write_all


def records(gain: dict[str, list[float]]) -> list[RunRecord]:
    """Base 60 and new 40 of each X; a cascade's are higher by so much at each seed."""
    made: list[RunRecord] = []
    for trainer, seeds in gain.items():
        for seed, more in enumerate(seeds, start=1):
            made += pair(60.0, 40.0, seed=seed, trainer=trainer)
            made += pair(60.0 + more, 40.0 + more, seed=seed, trainer=f"CasPL_{trainer}")
    return made


def test_the_sentence_says_what_the_tests_say() -> None:
    """Of CoOp's differences, 2.0, 2.1 and 1.9 in base, t is 34.6: 2 / (0.1 / sqrt(3))."""
    made = records({"CoOp": [2.0, 2.1, 1.9], "MaPLe": [1.0, -0.5, 0.2], "MPL": [-2.0, -2.1, -1.9]})
    found = gains(made, "base")["EuroSAT"]
    assert [one.method for one in found] == ["CoOp", "MaPLe", "MPL"]
    assert found[0].found.t == pytest.approx(2 / (0.1 / 3**0.5), rel=1e-6)
    assert summary(found, "base") == (
        "Behind boosting tokens base is higher for 2 of 3 methods, means of 3 seeds; for 1 of these p < 0.05 (CoOp); "
        "for MPL it is lower with p < 0.05; the differences go from -2.00 (MPL) to +2.00 (CoOp)."
    )


def test_seeds_that_one_side_lacks_do_not_count() -> None:
    made = [*records({"CoOp": [1.0]}), *pair(90.0, 90.0, seed=7, trainer="CasPL_CoOp")]
    (one,) = gains(made)["EuroSAT"]
    assert (one.found.count, one.found.p) == (1, None)
    assert one.boosted.value == pytest.approx(2 * 61 * 41 / 102)
    assert "for none of these p < 0.05" in summary([one], "HM")


def test_teachers_are_no_rows() -> None:
    made = [*records({"CoOp": [1.0]}), *pair(99.0, 99.0, config="vit_l14", protocol="teacher")]
    assert gains(made)["EuroSAT"][0].plain.value == pytest.approx(48.0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_all(tmp_path, records({"CoOp": [1.0, 2.0]}))
    assert main(["gains", str(tmp_path), "--format", "markdown"]) == 0
    said = capsys.readouterr().out
    assert "| CoOp |" in said
    assert "HM is higher for 1 of 1 methods, means of 2 seeds" in said
    write_all(tmp_path / "alone", pair(60.0, 40.0))
    assert main(["gains", str(tmp_path / "alone")]) == 2
    assert "both as X and as CasPL_X" in capsys.readouterr().err
