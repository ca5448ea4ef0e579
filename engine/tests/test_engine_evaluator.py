"""The evaluator's numbers and its text, and what the parse scripts of the field make of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dassl.evaluation import Classification, EvaluatorBase, build_evaluator
from dassl.utils import set_random_seed, setup_logger
from dassl.utils.logger import close_logger

Y_TRUE, Y_PRED = [0, 1, 2, 1, 1, 0], [0, 1, 2, 0, 1, 3]
NAMES = {0: "ant", 1: "bee", 2: "cat", 3: "dog"}

TEXT = """=> result
* total: 6
* correct: 4
* accuracy: 66.7%
* error: 33.3%
* macro_f1: 76.7%
"""
CLASSES = """=> per-class result
* class: 0 (ant)\ttotal: 2\tcorrect: 1\tacc: 50.0%
* class: 1 (bee)\ttotal: 3\tcorrect: 2\tacc: 66.7%
* class: 2 (cat)\ttotal: 1\tcorrect: 1\tacc: 100.0%
* average: 72.2%
"""


def evaluator(make_cfg: Any, *opts: Any) -> Any:
    built = build_evaluator(make_cfg("VERBOSE", False, *opts), lab2cname=NAMES)
    logits = torch.nn.functional.one_hot(torch.tensor(Y_PRED), 4).float()
    built.process(logits[:4], torch.tensor(Y_TRUE[:4]))
    built.process(logits[4:], torch.tensor(Y_TRUE[4:]))
    return built


def test_text_and_numbers(make_cfg: Any, capsys: pytest.CaptureFixture[str]) -> None:
    results = evaluator(make_cfg).evaluate()
    assert capsys.readouterr().out == TEXT
    assert list(results) == ["accuracy", "error_rate", "macro_f1"]
    assert results["accuracy"] == pytest.approx(200 / 3)
    assert results["error_rate"] == pytest.approx(100 / 3)
    # Of the classes 0, 1, 2 only: 3 is predicted, never true.
    assert results["macro_f1"] == pytest.approx(100 * (0.5 + 0.8 + 1) / 3)
    assert all(type(value) is float for value in results.values())


def test_classes(make_cfg: Any, capsys: pytest.CaptureFixture[str]) -> None:
    results = evaluator(make_cfg, "TEST.PER_CLASS_RESULT", True).evaluate()
    assert capsys.readouterr().out == TEXT + CLASSES
    assert list(results)[-1] == "perclass_accuracy"
    assert results["perclass_accuracy"] == pytest.approx(72.2222, abs=1e-3)
    with pytest.raises(AssertionError, match="lab2cname"):
        Classification(make_cfg("TEST.PER_CLASS_RESULT", True))


def test_thousands(make_cfg: Any, capsys: pytest.CaptureFixture[str]) -> None:
    built = Classification(make_cfg())
    built.process(torch.eye(2).repeat(1000, 1), torch.zeros(2000, dtype=torch.long))
    built.evaluate()
    assert "* total: 2,000\n* correct: 1,000\n" in capsys.readouterr().out


def test_reset_and_emptiness(make_cfg: Any) -> None:
    built = evaluator(make_cfg, "TEST.PER_CLASS_RESULT", True)
    built.reset()
    with pytest.raises(ZeroDivisionError, match="no predictions"):
        built.evaluate()
    with pytest.raises(NotImplementedError):
        EvaluatorBase(make_cfg()).evaluate()


def test_confusion_matrix(make_cfg: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluator(make_cfg, "TEST.COMPUTE_CMAT", True, "OUTPUT_DIR", str(tmp_path)).evaluate()
    assert capsys.readouterr().out.endswith(f"Confusion matrix is saved to {tmp_path}/cmat.pt\n")
    matrix = torch.load(tmp_path / "cmat.pt", weights_only=True)
    expected = [[1 / 2, 0, 0, 1 / 2], [1 / 3, 2 / 3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert torch.allclose(matrix, torch.tensor(expected, dtype=torch.float64))


def parse(path: Path, end_signal: str, keyword: str = "accuracy") -> float | None:
    """What the parse scripts do: after a line that equals the signal, the last match wins."""
    found, ended = None, False
    for line in path.read_text().splitlines():
        ended = ended or line.strip() == end_signal
        match = re.search(rf"\* {keyword}: ([\.\deE+-]+)%", line.strip())
        if match and ended:
            found = float(match.group(1))
    return found


@pytest.mark.parametrize("end_signal", ["Finish training", "Finished training", "=> result"])
def test_parse_scripts(make_cfg: Any, end_signal: str) -> None:
    from dassl.engine import build_trainer

    cfg = make_cfg("TEST.PER_CLASS_RESULT", True, "TEST.FINAL_MODEL", "best_val", "OPTIM.MAX_EPOCH", 1)
    set_random_seed(1)
    setup_logger(cfg.OUTPUT_DIR)
    trainer = build_trainer(cfg)
    trainer.train()
    accuracy = trainer.test()
    results = trainer.evaluator.evaluate()
    close_logger()
    log = Path(cfg.OUTPUT_DIR, "log.txt")
    assert parse(log, end_signal) == pytest.approx(accuracy, abs=0.05)
    assert parse(log, "No such signal") is None
    assert parse(log, end_signal, "error") == pytest.approx(100 - accuracy, abs=0.05)
    assert parse(log, end_signal, "macro_f1") == pytest.approx(results["macro_f1"], abs=0.05)
    assert parse(log, end_signal, "average") == pytest.approx(results["perclass_accuracy"], abs=0.05)
