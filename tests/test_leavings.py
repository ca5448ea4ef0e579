"""What runs leave for reports: a history of epochs, and the answers of tests."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import train
from caspl.results.answers import write_classes, write_confusion
from tests.runs import Runs, refused
from trainers.history import History

ANSWERS = ["TEST.PER_CLASS_RESULT", "True", "TEST.COMPUTE_CMAT", "True"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def coop(runs: Runs, out: str, *more: str) -> list[str]:
    few = ["TRAINER.COOP.PREC", "fp32", "OPTIM.MAX_EPOCH", "3", "DATASET.NUM_SHOTS", "2", "TRAIN.PRINT_FREQ", "1"]
    return runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", out, *few, *more)


def test_a_row_an_epoch(runs: Runs) -> None:
    assert train.main(coop(runs, "run", "TEST.FINAL_MODEL", "best_val")) == 0
    found = rows(runs.folder / "run" / "history.csv")
    assert [row["epoch"] for row in found] == ["1", "2", "3"]
    assert {"loss", "acc", "lr", "val_accuracy", "seconds"} <= found[0].keys()
    assert float(found[0]["lr"]) == 1e-5  # the warm-up's
    assert float(found[1]["lr"]) == 0.002
    assert all(float(row["loss"]) > 0 and 0 <= float(row["val_accuracy"]) <= 100 for row in found)
    seconds = [float(row["seconds"]) for row in found]
    assert seconds == sorted(seconds)


def test_a_run_that_goes_on_writes_each_epoch_once(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.begin(0)
    for epoch in (1, 2, 3):
        history.add([{"loss": float(epoch)}, {"loss": epoch + 1.0}])
        history.end(epoch, lr=0.1)
    again = History(tmp_path)
    again.begin(2)  # killed after the third row, before the third snapshot
    again.add([{"loss": 9.0, "new": 1.0}])
    again.end(3, lr=0.2)
    found = rows(tmp_path / "history.csv")
    assert [(row["epoch"], row["loss"], row["new"]) for row in found] == [
        ("1", "1.5", ""),
        ("2", "2.5", ""),
        ("3", "9", "1"),
    ]
    (tmp_path / "history.csv").write_text("another program's\n1\n")
    again.begin(2)
    assert again.rows == []


def test_the_answers_of_a_test(runs: Runs) -> None:
    assert train.main([*coop(runs, "run", *ANSWERS), "--save-predictions"]) == 0
    folder = runs.folder / "run"
    record = json.loads((folder / "result.json").read_text())
    answers = rows(folder / "predictions.csv")
    assert len(answers) == record["test_images"]
    right = sum(int(row["right"]) for row in answers)
    assert 100 * right / len(answers) == pytest.approx(record["metrics"]["accuracy"])
    assert all(Path(row["image"]).is_file() for row in answers)
    assert all((row["class"] == row["answer"]) == (row["right"] == "1") for row in answers)
    assert all(Path(row["image"]).parent.name[:3] == row["class"][:3] for row in answers)
    classes = rows(folder / "classes.csv")
    assert sum(int(row["right"]) for row in classes) == right
    confusion = rows(folder / "confusion.csv")
    names = [row["class"] for row in classes]
    assert [row["class \\ answer"] for row in confusion] == names
    assert sum(int(row[name]) for row, name in zip(confusion, names, strict=True)) == right


def test_an_evaluation_leaves_the_trainings_answers_alone(runs: Runs) -> None:
    assert train.main([*coop(runs, "run"), "--save-predictions"]) == 0
    before = (runs.folder / "run" / "predictions.csv").read_bytes()
    load = ["--eval-only", "--model-dir", str(runs.folder / "run"), "DATASET.SUBSAMPLE_CLASSES", "new"]
    assert train.main([*coop(runs, "run"), *load, "--save-predictions"]) == 0
    assert (runs.folder / "run" / "predictions.csv").read_bytes() == before
    assert rows(runs.folder / "run" / "evaluations" / "EuroSAT-new-predictions.csv")


def test_images_must_come_in_order(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*coop(runs, "run", "DATALOADER.TEST.SAMPLER", "RandomSampler"), "--save-predictions"]
    assert "needs the test images in order" in refused(capsys, line)


def test_classes_without_images(tmp_path: Path) -> None:
    names = ["ant", "bee", "cow"]
    write_classes(tmp_path / "classes.csv", [0, 0, 2], [0, 2, 2], names)
    found = [tuple(row.values()) for row in rows(tmp_path / "classes.csv")]
    assert found == [
        ("ant", "2", "1", "50.00", "cow", "1"),
        ("bee", "0", "0", "", "", ""),
        ("cow", "1", "1", "100.00", "", ""),
    ]
    write_confusion(tmp_path / "confusion.csv", [0, 0, 2], [0, 2, 2], names)
    assert [row["cow"] for row in rows(tmp_path / "confusion.csv")] == ["1", "0", "1"]
