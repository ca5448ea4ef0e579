"""``train.py`` on image files: both phases and evaluation, resuming after a kill, and one sentence for wrong input."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train
from caspl.boosting import read_boosting
from caspl.results import read_record
from caspl.results.collect import find_records
from tests.conftest import boosting_file
from tests.runs import REPO, Runs, refused


def tokens(folder: Path, name: str, epoch: int = 3) -> dict[str, torch.Tensor]:
    state = torch.load(folder / name / f"model.pth.tar-{epoch}", weights_only=True)["state_dict"]
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def test_both_phases_and_new_classes(runs: Runs) -> None:
    assert train.main(runs.phase1()) == 0
    files = list((runs.folder / "boosting").rglob("*.safetensors"))
    assert [str(f.relative_to(runs.folder)) for f in files] == [
        "boosting/EuroSAT/student/text8x3_vision8x3/seed1.safetensors"
    ]
    header = read_boosting(files[0]).header
    assert len(header.classnames) == 10
    assert header.template == "a centered satellite photo of {}."
    assert header.epochs == 3

    assert train.main(runs.phase2()) == 0
    boosting = read_boosting(files[0])
    kept = tokens(runs.folder / "adapt", "VLPromptLearner")
    assert boosting.text is not None
    assert torch.equal(kept["text.boosting.values"], boosting.text)  # frozen, bit for bit

    evaluation = ["--eval-only", "--model-dir", str(runs.folder / "adapt"), "DATASET.SUBSAMPLE_CLASSES", "new"]
    assert train.main(runs.phase2("new", *evaluation)) == 0
    for out, classes in (("boost", "all"), ("adapt", "base"), ("new", "new")):
        record = json.loads((runs.folder / out / "result.json").read_text())
        assert record["classes"] == classes
        assert 0 <= record["metrics"]["accuracy"] <= 100
        assert record["settings"]["OPTIM"]["MAX_EPOCH"] == 3
    adapted = (runs.folder / "adapt" / "log.txt").read_text().splitlines()
    assert "Finished training" in adapted
    assert adapted[-2:] == [f"next: python -m caspl {what}" for what in (
        f"predict {runs.folder / 'adapt'} PICTURE", f"demo {runs.folder / 'adapt'}")]  # fmt: skip
    phase2 = f"python train.py --trainer CasPL_PromptSRC ... TRAINER.CASPL.BOOSTING_DIR {runs.folder / 'boosting'}"
    assert f"next: {phase2}" in (runs.folder / "boost" / "log.txt").read_text().splitlines()


@pytest.mark.parametrize("phase", [1, 2])
def test_a_killed_run_ends_in_the_same_weights(runs: Runs, phase: int) -> None:
    """SIGKILL after the first epoch, the same command again: bit for bit what an uninterrupted run gives."""
    name, command = ("CasPL", runs.phase1) if phase == 1 else ("VLPromptLearner", runs.phase2)
    if phase == 2:
        boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    epochs = ["OPTIM.MAX_EPOCH", "8"]  # enough for the signal to come before the end
    assert train.main(command("whole", *epochs)) == 0

    line = [sys.executable, str(REPO / "train.py"), *command("killed", *epochs)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    snapshot = runs.folder / "killed" / "resume.pt"
    deadline = time.monotonic() + 120
    while not snapshot.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert snapshot.exists(), "the run ended before it could be killed"
    assert not (runs.folder / "killed" / "result.json").exists()

    assert train.main(command("killed", *epochs)) == 0
    whole, resumed = (tokens(runs.folder / out, name, 8) for out in ("whole", "killed"))
    assert set(whole) == set(resumed)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert all(
        json.loads((runs.folder / out / "result.json").read_text())["seconds"]["train"] > 0
        for out in ("whole", "killed")
    )
    assert not snapshot.exists()
    (log,) = (runs.folder / "killed").glob("log.txt*")  # one, which ends as an uninterrupted run's does
    accuracy = json.loads((runs.folder / "killed" / "result.json").read_text())["metrics"]["accuracy"]
    lines = log.read_text().splitlines()
    assert lines[lines.index("Finished training") :].count(f"* accuracy: {accuracy:.1f}%") == 1
    assert sum("batch [" in line and line.startswith("epoch [1/8]") for line in lines) == sum(
        "batch [" in line and line.startswith("epoch [1/8]")
        for line in (runs.folder / "whole" / "log.txt").read_text().splitlines()
    )


def test_a_finished_run_is_only_tested_again(runs: Runs) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert train.main(runs.phase2()) == 0
    before = tokens(runs.folder / "adapt", "VLPromptLearner")
    assert train.main(runs.phase2()) == 0
    after = tokens(runs.folder / "adapt", "VLPromptLearner")
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert train.main(runs.phase2("other", "--resume", str(runs.folder / "adapt"))) == 0
    assert "next: " not in (runs.folder / "other" / "log.txt").read_text()  # it holds no tokens


def test_a_folder_belongs_to_one_config(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert train.main(runs.phase2()) == 0
    sentence = refused(capsys, runs.phase2("adapt", "OPTIM.LR", "0.01"))
    assert "adapt holds a run of other settings (OPTIM.LR 0.0025 there, 0.01 here)" in sentence
    assert train.main(runs.phase2("adapt", "TRAIN.PRINT_FREQ", "1")) == 0


def test_broken_files_of_a_run(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    run = runs.folder / "adapt"
    run.mkdir()
    (run / "resume.pt").write_bytes(b"half a snapshot")
    assert "adapt cannot be continued" in refused(capsys, runs.phase2())
    (run / "resume.pt").unlink()
    assert train.main(runs.phase2()) == 0
    checkpoint = run / "VLPromptLearner" / "model.pth.tar-3"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    evaluate = ["--eval-only", "--model-dir", str(run)]
    assert "model.pth.tar-3 is broken" in refused(capsys, runs.phase2("new", *evaluate))
    assert "there is no checkpoint" in refused(capsys, runs.phase2("new", *evaluate, "--load-epoch", "2"))


def test_resuming_another_folder(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert train.main(runs.phase2("first")) == 0
    assert "nothing to resume in /nowhere" in refused(capsys, runs.phase2("second", "--resume", "/nowhere"))
    first = str(runs.folder / "first")
    assert "holds a run of other settings" in refused(capsys, runs.phase2("second", "--resume", first, "--seed", "2"))


def test_an_average_cannot_go_on_from_a_checkpoint(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """PromptSRC's average over epochs lies in the snapshot alone."""
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert train.main(runs.phase2("adapt", "TRAIN.CHECKPOINT_FREQ", "1")) == 0
    run = runs.folder / "adapt" / "VLPromptLearner"
    (run / "checkpoint").write_text("model.pth.tar-2\n")
    assert "needs its resume.pt" in refused(capsys, runs.phase2())


def test_boosting_alone_and_zero_shot(runs: Runs) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    for trainer in ("ZeroshotCLIP", "CasPL_ZeroshotCLIP"):
        line = runs.arguments(trainer, "ZeroshotCLIP/vit_b16", trainer)
        assert train.main([*line, "DATASET.SUBSAMPLE_CLASSES", "base"]) == 0
        load = ["--eval-only", "--model-dir", str(runs.folder / trainer), "DATASET.SUBSAMPLE_CLASSES", "new"]
        load += ["--output-dir", str(runs.folder / "new" / trainer)]
        assert train.main([*line, *load]) == 0


def test_a_checkpoint_is_enough_to_evaluate(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    file = boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert train.main(runs.phase2()) == 0
    file.unlink()
    evaluation = ["--eval-only", "--model-dir", str(runs.folder / "adapt")]
    assert train.main(runs.phase2("again", *evaluation)) == 0
    records = [json.loads((runs.folder / out / "result.json").read_text()) for out in ("adapt", "again")]
    assert records[0]["metrics"] == records[1]["metrics"]
    other = [*runs.phase2("other", *evaluation), "--backbone", runs.clips["other"]]
    assert "were made for the student" in refused(capsys, other)


def test_phase_1_does_not_overwrite_other_tokens(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(runs.phase1()) == 0
    assert "was made with other settings" in refused(capsys, runs.phase1("other", "TRAINER.CASPL.TEMPERATURE", "2"))
    assert "TEST.FINAL_MODEL must be last_step" in refused(capsys, runs.phase1("best", "TEST.FINAL_MODEL", "best_val"))


def test_a_mended_setting_is_not_another_run(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert "PREC is fp32 or fp16" in refused(capsys, runs.phase2("adapt", "TRAINER.PROMPTSRC.PREC", "fp8"))
    assert train.main(runs.phase2("adapt", "OPTIM.MAX_EPOCH", "1")) == 0


@pytest.mark.parametrize("workers", ["0", "1"])
def test_broken_image(runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path, workers: str) -> None:
    runs.root = Path(shutil.copytree(runs.root, tmp_path / "copy"))
    for image in (runs.root / "eurosat/2750/Forest").iterdir():
        image.write_bytes(image.read_bytes()[:200])
    line = refused(capsys, runs.phase1("boost", "DATALOADER.NUM_WORKERS", workers))
    assert "the image" in line
    assert "2750/Forest/Forest_" in line


def test_full_disk(runs: Runs) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    line = [sys.executable, str(REPO / "train.py"), *runs.phase2()]
    limited = ["bash", "-c", 'ulimit -f 12; trap "" XFSZ; exec "$@"', "-", *line]
    done = subprocess.run(
        limited, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: File too large")


def test_a_record_is_not_overwritten_by_another_test(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert train.main(runs.phase2()) == 0
    evaluation = ["--eval-only", "--model-dir", str(runs.folder / "adapt")]
    trained = (runs.folder / "adapt" / "result.json").read_bytes()
    for classes in ("new", "base"):
        assert train.main(runs.phase2("adapt", *evaluation, "DATASET.SUBSAMPLE_CLASSES", classes)) == 0
        record = read_record(runs.folder / "adapt" / "evaluations" / f"EuroSAT-{classes}.json")
        assert (record.classes, record.trained_on["classes"]) == (classes, "base")
        checkpoint = runs.folder / "adapt" / "VLPromptLearner" / "model.pth.tar-3"
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        assert record.tested == {"checkpoint": str(checkpoint.resolve()), "sha256": digest}
    assert (runs.folder / "adapt" / "result.json").read_bytes() == trained
    assert {found.classes for found in find_records(runs.folder / "adapt")} == {"base", "new"}

    first = ["--load-epoch", "3", "DATASET.SUBSAMPLE_CLASSES", "new"]
    assert train.main(runs.phase2("adapt", *evaluation, *first)) == 0
    assert (runs.folder / "adapt" / "evaluations" / "EuroSAT-new-epoch3.json").is_file()
    zeroshot = runs.arguments("ZeroshotCLIP", "ZeroshotCLIP/tiny", "adapt", *evaluation)
    assert "is the record of another test" in refused(capsys, zeroshot)
    assert (runs.folder / "adapt" / "result.json").read_bytes() == trained

    elsewhere = ["DATASET.SUBSAMPLE_CLASSES", "new"]
    assert train.main(runs.phase2("elsewhere", *evaluation, *elsewhere)) == 0
    assert read_record(runs.folder / "elsewhere" / "result.json").tested["sha256"] == digest
    line = refused(capsys, runs.phase2("elsewhere", *evaluation))
    assert "is the record of another test" in line


def test_boosting_from_a_checkpoint_without_any(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["TRAINER.COOP.PREC", "fp32", "OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "2"]
    line = runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "coop", *few)
    assert train.main(line) == 0
    checkpoint = str(runs.folder / "coop" / "prompt_learner" / "model.pth.tar-1")
    line = runs.phase2("x", "TRAINER.CASPL.BOOSTING", checkpoint)
    assert "a checkpoint without boosting tokens" in refused(capsys, line)


def test_seeds(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--seed is 0 or more" in refused(capsys, [*runs.phase1(), "--seed", "-3"])
    without = runs.phase1()
    at = without.index("--seed")
    assert "phase 1 needs a --seed" in refused(capsys, without[:at] + without[at + 2 :])


def test_nothing_to_evaluate(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert "needs --model-dir" in refused(capsys, runs.phase2("x", "--eval-only"))
    assert "--model-dir is for --eval-only" in refused(capsys, runs.phase2("x", "--model-dir", "y"))


def test_output_folder_that_is_a_file(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    (runs.folder / "taken").write_text("")
    assert "taken" in refused(capsys, runs.phase2("taken"))


def test_wrong_trainer(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    line = runs.phase2()
    line[line.index("CasPL_PromptSRC")] = "CasPL_PromtSRC"
    assert "unknown trainer 'CasPL_PromtSRC': did you mean CasPL_PromptSRC" in refused(capsys, line)


def test_wrong_data_path(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert "/nowhere" in refused(capsys, ["--root", "/nowhere", *runs.phase2()[2:]])


def test_boosting_of_another_student(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    file = boosting_file(runs.folder / "other.safetensors", student="other")
    assert "were made for the student other" in refused(capsys, runs.phase2("x", "TRAINER.CASPL.BOOSTING", str(file)))


def test_broken_boosting_file(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    file = runs.folder / "broken.safetensors"
    file.write_bytes(b"\0" * 100)
    assert "broken.safetensors" in refused(capsys, runs.phase2("x", "TRAINER.CASPL.BOOSTING", str(file)))


def test_class_list_that_does_not_fit(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """Class-specific contexts of the base classes, evaluated on the new ones (5 each) and on all (10)."""
    options = [
        "TRAINER.COOP.CSC",
        "True",
        "OPTIM.MAX_EPOCH",
        "1",
        "TRAINER.COOP.PREC",
        "fp32",
        "DATASET.NUM_SHOTS",
        "2",
    ]
    line = runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "csc", *options, "TRAINER.COOP.CTX_INIT", "")
    assert train.main([*line, "DATASET.SUBSAMPLE_CLASSES", "base"]) == 0
    for classes in ("new", "all"):
        load = ["--eval-only", "--model-dir", str(runs.folder / "csc"), "DATASET.SUBSAMPLE_CLASSES", classes]
        load += ["--output-dir", str(runs.folder / classes)]
        assert "class-specific tokens cannot be moved" in refused(capsys, [*line, *load])


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["OPTIM.LRR", "1"], r"unknown key OPTIM.LRR in the command line; near are"),
        (["OPTIM.LR", "fast"], r"OPTIM.LR in the command line must be of type float"),
        (["OPTIM.LR"], "KEY VALUE pairs"),
        (["OPTIM.NAME", "sdg"], "OPTIM.NAME is adam or"),
        (["DATALOADER.TRAIN_X.SAMPLER", "RandomClassSampler"], "cannot be built with this config"),
        (["DATASET.SUBSAMPLE_CLASSES", "novel"], "all or base or new"),
    ],
)
def test_wrong_options(runs: Runs, capsys: pytest.CaptureFixture[str], pairs: list[str], sentence: str) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert sentence in refused(capsys, runs.phase2("x", *pairs))


def test_missing_config_file(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    line = [argument.replace("8+8ctx", "9+9ctx") for argument in runs.phase2()]
    assert "vit_b16_c2_ep20_batch4_8+8ctx_l12.yaml" in refused(capsys, line)


def test_numbers_may_be_written_plainly_and_flags_may_follow(runs: Runs) -> None:
    boosting_file(runs.folder / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors")
    assert train.main(runs.phase2("x", "OPTIM.LR", "1", "--no-train")) == 0


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        train.main(["--help"])
    assert stop.value.code == 0
    assert "--trainer" in capsys.readouterr().out


def test_the_library_knows_no_engine() -> None:
    code = "import sys, caspl, caspl.model, caspl.zoo, caspl.teachers.clip, caspl.results; "
    code += "sys.exit(any(name.split('.')[0] in ('dassl', 'yacs', 'trainers') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False).returncode == 0
