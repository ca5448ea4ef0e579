"""Asked before anything is built or trained: the checkpoint of an evaluation, places to write, names to find."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train
from caspl.checkpoint import read_checkpoint
from caspl.errors import CasPLError
from caspl.results import read_record
from tests.conftest import boosting_file
from tests.full_disk import full_disk
from tests.runs import REPO, Runs, refused
from trainers.user_modules import load_plugins

FEW = ["OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "2"]


def evaluate(runs: Runs, trainer: str, out: str, *more: str) -> list[str]:
    precision = {"IVLP": "IVLP", "PromptSRC": "PROMPTSRC"}.get(trainer.removeprefix("CasPL_"), "COOP")
    config = {"IVLP": "IVLP/tiny", "PROMPTSRC": "PromptSRC/tiny", "COOP": "CoOp/vit_b16_ctxv1"}[precision]
    return runs.arguments(trainer, config, out, f"TRAINER.{precision}.PREC", "fp32", *FEW, *more)


# The checkpoint ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainer", ["CoOp", "CasPL_CoOp"])
def test_an_evaluation_asks_its_checkpoint_first(
    trainer: str, runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of a cascade too, for which "no boosting file, make one" would send the user to phase 1."""
    only = "--eval-only"
    assert f"{trainer} needs --model-dir" in refused(capsys, evaluate(runs, trainer, "x", only))
    nowhere = ["--model-dir", str(tmp_path / "nowhere")]
    assert f"there is no run {tmp_path / 'nowhere'}" in refused(capsys, evaluate(runs, trainer, "x", only, *nowhere))
    assert train.main(evaluate(runs, "IVLP", "ivlp")) == 0
    capsys.readouterr()
    of_another = ["--model-dir", str(runs.folder / "ivlp")]
    line = refused(capsys, evaluate(runs, trainer, "x", only, *of_another))
    assert f"TRAINER.NAME IVLP there, {trainer} here".replace('"', "") in line.replace('"', "")
    assert train.main(evaluate(runs, "CoOp", "coop")) == 0
    capsys.readouterr()
    line = evaluate(runs, trainer, "y", only, "--model-dir", str(runs.folder / "coop"), "--load-epoch", "7")
    said = refused(capsys, line)
    assert ("model.pth.tar-7, but model.pth.tar-1" in said) is (trainer == "CoOp")
    assert "boosting file" not in said


def test_boosting_alone_asks_for_the_run_that_is_named(
    runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = boosting_file(runs.folder / "b.safetensors")
    line = runs.arguments("CasPL_ZeroshotCLIP", "ZeroshotCLIP/tiny", "x", "TRAINER.CASPL.BOOSTING", str(file))
    assert train.main([*line, "--eval-only"]) == 0
    capsys.readouterr()
    wrong = ["--eval-only", "--model-dir", str(tmp_path / "nowhere")]
    assert f"there is no run {tmp_path / 'nowhere'}; check --model-dir" in refused(capsys, [*line, *wrong])


def test_torchs_advice_to_run_a_file_is_not_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar-1"
    torch.save({"state_dict": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(CasPLError) as caught:
        read_checkpoint(path)
    assert "holds more than tensors and plain values, which is not run" in str(caught.value)
    assert "weights_only" not in str(caught.value)


# Places to write -----------------------------------------------------------------------------------------------------


def test_a_boosting_folder_that_cannot_be_written_is_found_before_training(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    with full_disk(runs.folder / "boosting", code=errno.EACCES):
        line = refused(capsys, runs.phase1("run"))
    assert "seed1.safetensors cannot be claimed" in line
    assert "Permission denied" in line
    assert not (runs.folder / "run" / "resume.pt").exists()
    assert "epoch [1/" not in (runs.folder / "run" / "log.txt").read_text()


def test_a_log_that_cannot_be_written_any_more_is_said_once(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    def only_the_log(path: str) -> bool:
        return path.endswith("log.txt")

    with full_disk(runs.folder, first=0) as disk:
        disk.fails = only_the_log  # type: ignore[method-assign]
        assert train.main(evaluate(runs, "CoOp", "run")) == 0
    printed = capsys.readouterr()
    assert printed.out.count("log.txt takes no more lines: No space left on device") == 1
    assert printed.err == ""
    assert read_record(runs.folder / "run" / "result.json").trainer == "CoOp"


# Names ---------------------------------------------------------------------------------------------------------------


def test_own_pictures_under_another_name(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, evaluate(runs, "CoOp", "x", "DATASET.NAME", "MyBirds"))
    assert "unknown data set 'MyBirds'" in line
    assert "for your own pictures it is Folder" in line


def test_configs_of_a_method_of_ones_own(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    line = evaluate(runs, "CoOp", "x")
    line[line.index("--config-file") + 1] = "configs/trainers/Mine/vit_b16.yaml"
    assert "there is no folder configs/trainers/Mine: a method of your own takes any file (CFG" in refused(capsys, line)


# Two at once ---------------------------------------------------------------------------------------------------------


def test_two_runs_that_make_the_same_files(runs: Runs, tmp_path: Path) -> None:
    """A split, a few-shot sample and a cache of images: whoever is later finds or writes the same bytes."""

    def files(root: Path) -> dict[str, str]:
        found = [path for path in root.rglob("*") if path.is_file() and path.suffix in (".json", ".u8")]
        assert len(found) > 3
        return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def line(root: Path, out: str) -> list[str]:
        cache = ["INPUT.BACKEND", "tensor", "DATALOADER.CACHE_BYTES", "1000000", "DATALOADER.CACHE_DIR"]
        runs.root = root
        return evaluate(runs, "CoOp", out, *cache, str(root / "cache"))

    place = tmp_path / "place"
    source = Path(shutil.copytree(runs.root, tmp_path / "source"))
    for path in (*source.rglob("split*.json"), *source.rglob("shot*.json")):
        path.unlink()
    shutil.copytree(source, place)  # the cache knows its images by their paths
    assert train.main(line(place, "alone")) == 0
    expected = files(place)
    shutil.rmtree(place)
    shutil.copytree(source, place)
    program = [sys.executable, str(REPO / "train.py")]
    quiet = {"env": os.environ | {"OMP_NUM_THREADS": "1"}, "stdout": subprocess.DEVNULL}
    both = [subprocess.Popen([*program, *line(place, out)], **quiet) for out in ("one", "two")]  # type: ignore[call-overload]
    assert [process.wait(120) for process in both] == [0, 0]
    assert files(place).keys() == expected.keys()
    # A cache notes when its images were written, which differs here.
    same = {name: digest for name, digest in expected.items() if name.startswith("eurosat")}
    assert same.items() <= files(place).items()


# What else a run says ------------------------------------------------------------------------------------------------


def test_a_loss_that_diverges_names_the_learning_rate(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, evaluate(runs, "CoOp", "run", "OPTIM.LR", "1e30", "OPTIM.WARMUP_EPOCH", "-1"))
    assert "the loss is not finite in epoch 1" in line
    assert "1e+30" in line


def test_the_number_of_workers_is_said_where_it_counts(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    said = "images are drawn from torch's stream by 0 workers: other numbers draw others"
    for backend, seeded in (("pil", "False"), ("pil", "True"), ("tensor", "False")):
        options = ["INPUT.BACKEND", backend, "DATALOADER.SEEDED", seeded]
        assert train.main([*evaluate(runs, "CoOp", backend + seeded, *options), "--no-train"]) == 0
        assert (said in capsys.readouterr().out) is ((backend, seeded) == ("pil", "False"))


def test_what_a_method_does_not_read_is_said(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    unread = ["MODEL.INIT_WEIGHTS", "/nope", "TRAINER.CASPL.BOOSTING", "/nope"]
    assert train.main([*evaluate(runs, "CoOp", "run", *unread), "--no-train"]) == 0
    printed = capsys.readouterr().out
    for key in ("MODEL.INIT_WEIGHTS", "TRAINER.CASPL.BOOSTING"):
        assert f"{key} is set, but CoOp does not read it" in printed


def test_phase_1_is_evaluated_from_its_folder_alone(runs: Runs) -> None:
    assert train.main(runs.phase1("boost", "OPTIM.MAX_EPOCH", "1")) == 0
    line = [*runs.phase1("again"), "--eval-only", "--model-dir", str(runs.folder / "boost")]
    line[line.index("TRAINER.CASPL.BOOSTING_DIR") + 1] = str(runs.folder / "elsewhere")
    assert train.main(line) == 0


def test_a_note_of_checkpoints_that_is_broken(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(evaluate(runs, "CoOp", "run")) == 0
    (runs.folder / "run" / "prompt_learner" / "checkpoint").write_bytes(b"\xff\xfe\0")
    capsys.readouterr()
    line = refused(capsys, evaluate(runs, "CoOp", "x", "--eval-only", "--model-dir", str(runs.folder / "run")))
    assert "there is no checkpoint" in line
    assert "model.pth.tar-1" in line


def test_a_plugin_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin_plugin.py"
    path.write_bytes("# -*- coding: latin-1 -*-\nNAME = 'caf\xe9'\n".encode("latin-1"))
    (module,) = load_plugins([str(path)])
    assert module.NAME == "caf\xe9"
