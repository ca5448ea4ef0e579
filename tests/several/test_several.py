"""Two processes with one batch together give what one process gives with it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from caspl.group import Group
from caspl.results import read_record
from caspl.runtime import Place
from caspl.step import Batch, Step
from caspl.step.graph import WARM
from dassl.utils.logger import close_logger
from tests.cases import CASES
from tests.device import DEVICE
from tests.runs import REPO, Runs, learned
from tests.several.rows import ROWS, Row, tokens_of_phase_1, trained
from tests.several.worker import normalised_alone
from tests.step.tape import TapeRecorder
from tests.trainers.building import batch, build
from tests.trainers.kept import command as kept_command
from tests.trainers.kept import state

pytestmark = [
    pytest.mark.skipif(DEVICE.type != "cpu", reason="two processes on the CPU"),
    pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed"),
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
KEPT = ["LinearProbeCLIP", "TipAdapter", "TipAdapterF", "CasPL_TipAdapterF"]
TENSOR = ["INPUT.BACKEND", "tensor"]
SHOWN = ["--save-predictions", "TEST.PER_CLASS_RESULT", "True", "TEST.COMPUTE_CMAT", "True"]


def commands(runs: Runs) -> list[list[str]]:
    """Phase 1, a cascade behind it, and trainers on kept features; batches of eight and seven, so uneven slices."""
    boosting = ["TRAINER.CASPL.BOOSTING_DIR", str(runs.folder / "boosting")]
    phase1 = runs.phase1("boost", *TENSOR, *boosting, "DATALOADER.TRAIN_X.BATCH_SIZE", "7")
    viewed = ["TRAINER.CASPL.VIEWS", "2", "TRAINER.CASPL.STORE", str(runs.folder / "store")]
    phase1_viewed = runs.phase1("viewed", *viewed, "TRAINER.CASPL.BOOSTING_DIR", str(runs.folder / "viewed_boosting"))
    adapt = runs.phase2("adapt", *SHOWN, *TENSOR, *boosting, "TRAINER.CASPL.BOOSTING_SEED", "1")
    best = ["TEST.FINAL_MODEL", "best_val", "OPTIM.MAX_EPOCH", "3", "DATASET.NUM_SHOTS", "4"]
    coop = runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "best", "TRAINER.COOP.PREC", "fp32", *best, *TENSOR)
    more = [*viewed, "TRAINER.CASPL.VIEWS_EACH", "2", "DATASET.NUM_SHOTS", "2", "OPTIM.MAX_EPOCH", "2"]
    views = runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "views", "TRAINER.COOP.PREC", "fp32", *more)
    kept = [kept_command(runs, name, name, *TENSOR, *boosting, "OPTIM.MAX_EPOCH", "3") for name in KEPT]
    return [phase1, adapt, coop, views, phase1_viewed, *kept]


@dataclass
class Several:
    """What two processes found, where they ran their command lines, and where one process runs the same."""

    found: dict[str, Any]
    two: Path
    one: Path
    clips: dict[str, str]


@pytest.fixture(scope="module")
def several(eurosat: Path, clips: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Several:
    two, one = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("one")
    (two / "work.json").write_text(json.dumps({"clips": clips, "commands": commands(Runs(eurosat, clips, two))}))
    end = torchrun("-m", "tests.several.worker", str(two))
    assert end.returncode == 0, end.stderr[-4000:]
    for command in commands(Runs(eurosat, clips, one)):
        assert train.main(command) == 0
        close_logger()
    return Several(torch.load(two / "found.pt", weights_only=True), two, one, clips)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_tokens_numbers_and_answers_are_those_of_one_process(row: Row, several: Several, tmp_path: Path) -> None:
    found, alone = several.found["rows"][row.name], trained(row, several.clips, tmp_path)
    assert found["tokens"].keys() == alone["tokens"].keys()
    for name, value in alone["tokens"].items():
        torch.testing.assert_close(found["tokens"][name], value, rtol=0, atol=1e-5)
    assert len(found["history"]) == len(alone["history"]) == (3 if alone["tokens"] else 0)
    for there, here in zip(found["history"], alone["history"], strict=True):
        assert there == pytest.approx(here, rel=1e-5)
    assert found["labels"] == alone["labels"] == list(range(7))
    assert found["answers"] == alone["answers"]
    assert found["accuracy"] == alone["accuracy"]


def test_the_rows_can_tell(several: Several) -> None:
    """Tokens move, and by far more than what is tolerated, in each of the three epochs."""
    for row in several.found["rows"].values():
        losses = [epoch["loss"] for epoch in row["history"]]
        assert len(set(losses)) == len(losses)


def test_normalisation_over_the_whole_batch(several: Several) -> None:
    found = several.found["normalisation"]
    for name, value in normalised_alone(found["whole"], found["wanted"]).items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_a_step_is_skipped_in_all_processes(several: Several) -> None:
    assert several.found["skipped"].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_where_one_fails_all_end_and_one_says_why(several: Several) -> None:
    own, others, none = 2.0, 1.0, 0.0
    assert {name: value.tolist() for name, value in several.found["refusals"].items()} == {
        "first": [own, others],
        "turn of the first": [own, others],
        "turn within a turn": [own, others],
        "turn of the second": [others, own],
        "not finite in the second": [own, others],
        "other tokens": [own, others],
        "no failure": [none, none],
    }


def test_command_lines_end_well(several: Several) -> None:
    assert several.found["codes"] == [0] * len(several.found["codes"])


def test_one_log_one_record_one_checkpoint(several: Several) -> None:
    """The same files as of one process, and nothing of a second one."""

    def files(folder: Path) -> list[str]:
        found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        return sorted(name for name in found if not name.startswith(("row", "skip", "refuse", "work", "found")))

    assert files(several.two) == files(several.one)
    for name in ("boost", "adapt"):
        log = (several.two / name / "log.txt").read_text()
        assert log.count("* accuracy") == log.count("Finished training") == 1
        assert "2 processes share each batch" in log


@pytest.mark.parametrize("name", ["boosting", "viewed_boosting"])
def test_phase_1_writes_the_same_tokens(name: str, several: Several) -> None:
    there, here = (tokens_of_phase_1(folder / name) for folder in (several.two, several.one))
    for name, value in here.items():
        torch.testing.assert_close(there[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["boost", "adapt", "best", "viewed", "views", *KEPT])
def test_records_are_the_same(name: str, several: Several) -> None:
    there, here = (read_record(folder / name / "result.json") for folder in (several.two, several.one))
    assert there.metrics == pytest.approx(here.metrics)
    assert there.test_images == here.test_images
    assert there.extra.pop("processes") == 2
    assert there.extra == pytest.approx(here.extra)
    if (several.one / name / "history.csv").is_file():
        texts = [(folder / name / "history.csv").read_text() for folder in (several.two, several.one)]
        tables = [list(csv.reader(text.splitlines())) for text in texts]
        for row, expected in zip(*tables, strict=True):
            if row[0] != "epoch":
                assert list(map(float, row[:-1])) == pytest.approx(list(map(float, expected[:-1])), rel=2e-5)


@pytest.mark.parametrize("name", ["predictions", "classes", "confusion"])
def test_every_image_is_counted_once_and_in_order(name: str, several: Several) -> None:
    there, here = ((folder / "adapt" / f"{name}.csv").read_text() for folder in (several.two, several.one))
    assert there == here


@pytest.mark.parametrize("name", KEPT)
def test_heads_are_the_same(name: str, several: Several) -> None:
    there, here = (state(folder / name) for folder in (several.two, several.one))
    assert there.keys() == here.keys()
    for tensor, value in here.items():
        torch.testing.assert_close(there[tensor], value, rtol=1e-5, atol=1e-5)


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    """Two processes, and what they said."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    streams: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 200, "check": False}
    return subprocess.run([*TORCHRUN, *words], cwd=REPO, env=environment, **streams)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_same_command_goes_on(several: Several, runs: Runs) -> None:
    """In the second of three epochs; then to the tokens that an undisturbed run of two processes has, bit for bit."""
    command = next(line for line in commands(runs) if "CoOp" in line)
    broken = torchrun("-m", "tests.several.killed", "1", "2", *command)
    assert broken.returncode != 0
    said = [line for line in broken.stderr.splitlines() if line.startswith(("error: ", "interrupted"))]
    assert len(said) == 1
    assert "the same command goes on from the last finished epoch" in said[0]
    assert (runs.folder / "best" / "resume.pt").is_file()
    again = torchrun("train.py", *command)
    assert again.returncode == 0, again.stderr[-4000:]
    logs = sorted((runs.folder / "best").glob("log.txt*"))
    assert "will resume at epoch 2" in logs[-1].read_text()
    assert learned(runs.folder / "best") == learned(several.two / "best")


@pytest.mark.slow
def test_what_is_refused_is_said_once(runs: Runs) -> None:
    """Before the trainer is known, in the check of the settings, and by the claim on the folder."""
    command = runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "run", "DATASET.NUM_SHOTS", "4")
    for wrong, sentence in (
        (["NO.KEY", "1"], "unknown key NO.KEY"),
        (["TRAINER.COOP.PREC", "fp8"], "fp8"),
    ):
        end = torchrun("train.py", *command, *wrong)
        assert end.returncode != 0
        (said,) = [line for line in end.stderr.splitlines() if line.startswith("error: ")]
        assert sentence in said


def test_steps_that_are_recorded_weight_by_the_share_of_the_moment(clips: dict[str, str], tmp_path: Path) -> None:
    """As with one: what Python says of a share while it is recorded must not be what is repeated."""
    found = []
    for recorder in (None, TapeRecorder()):
        trainer = build(CASES[2], False, clips, tmp_path / str(len(found)))
        group = Lonely()
        step = Step(trainer.model, trainer.losses, trainer.optim, trainer.precision, recorder=recorder, group=group)
        step.begin_epoch()
        for number in range(WARM + 5):
            step(Batch.of(batch(number), torch.device("cpu"), share=1 / (1 + number % 4)))
        found.append([value.detach().clone() for value in step.learned])
        assert recorder is None or (step._recorded is not None and step._recorded.trusted)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


class Lonely(Group):
    """One of two processes, the other of which adds nothing."""

    def __init__(self) -> None:
        super().__init__(Place(0, 2, 0, 2))

    def add_up(self, values: torch.Tensor) -> torch.Tensor:
        return values


def test_alone_nothing_is_sent() -> None:
    group, rows = Group(), torch.arange(3.0)
    assert group.cat(rows) is group.add_up(rows) is group.total(rows) is rows
    assert group.first(lambda: 5) == 5
    assert group.agree(False) is False
    with group.in_turn():
        group.wait()
