"""What went wrong in silence, or with the wrong words: one test for each kind, from the command line."""

from __future__ import annotations

import json
import logging
import multiprocessing
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import datasets  # noqa: F401  registers
import train
import trainers  # noqa: F401  registers
from caspl.boosting import read_boosting
from caspl.boosting.find import boosting_path
from caspl.dassl.outcome import COUNTED, PHASE_1, PHASE_2, leaves, recipe
from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.prompts import Prompts, Segment, Texts
from caspl.results import read_record
from caspl.runtime import Runtime
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY, TrainerX
from tests.cases import CASES
from tests.conftest import CLASSES, boosting_file
from tests.device import DEVICE
from tests.runs import Runs, refused
from tests.stubs import make_cfg, make_trainer
from tests.trainers.building import batch, build
from trainers import session
from trainers.base import PromptTrainer
from trainers.config import build_cfg
from trainers.recorder import RunRecorder, plain
from trainers.registry import extend_cfg

COOP = ["TRAINER.COOP.PREC", "fp32", "OPTIM.MAX_EPOCH", "2", "DATASET.NUM_SHOTS", "2"]


def coop(runs: Runs, out: str, *more: str, trainer: str = "CoOp") -> list[str]:
    return runs.arguments(trainer, "CoOp/vit_b16_ctxv1", out, *COOP, *more)


# The best epoch by validation --------------------------------------------------------------------------------


def test_best_val_without_validation_images_is_refused(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test images would choose the model."""
    from datasets.eurosat import EuroSAT

    monkeypatch.setattr(EuroSAT, "val", property(lambda self: None))
    line = refused(capsys, coop(runs, "best", "TEST.FINAL_MODEL", "best_val"))
    assert "EuroSAT has no validation images" in line
    assert train.main(coop(runs, "last")) == 0


def test_best_val_deploys_the_best_epoch_also_after_a_resume(runs: Runs) -> None:
    """The best checkpoint of the first part comes along, into another folder too."""
    best = ["TEST.FINAL_MODEL", "best_val", "TRAIN.CHECKPOINT_FREQ", "1"]
    assert train.main(coop(runs, "first", *best)) == 0
    folder = runs.folder / "first" / "prompt_learner"
    content = torch.load(folder / "model-best.pth.tar", weights_only=True)
    content["val_result"] = 100.0  # no later epoch can be better
    content["state_dict"]["text.adapting.values"].fill_(0.5)
    torch.save(content, folder / "model-best.pth.tar")
    assert train.main([*coop(runs, "second", *best), "--resume", str(runs.folder / "first")]) == 0
    kept = torch.load(runs.folder / "second" / "prompt_learner" / "model-best.pth.tar", weights_only=True)
    assert kept["val_result"] == 100.0
    assert (kept["state_dict"]["text.adapting.values"] == 0.5).all()


# Which settings count ----------------------------------------------------------------------------------------


def config(**settings: Any) -> Any:
    return make_cfg("CasPL", "tiny-student", 32, **settings)


def test_every_key_that_counts_exists_and_every_other_is_known_to_be_free() -> None:
    cfg = get_cfg_default()
    extend_cfg(cfg)
    keys = {key for key, _ in leaves(plain(cfg))}
    counted = {f"{section}.{key}".lstrip(".") for section, names in COUNTED.items() for key in names}
    counted |= {f"TRAINER.CASPL.{key}" for key in (*PHASE_1, *PHASE_2)}
    assert counted <= keys
    methods = {
        key for key in keys if key.startswith("TRAINER.") and key.split(".")[1] not in ("CASPL", "RECORD", "NAME")
    }
    free = {
        *("VERSION", "OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATASET.ROOT", "DATALOADER.NUM_WORKERS"),
        *("DATALOADER.CACHE_BYTES", "DATALOADER.CACHE_DIR", "DATALOADER.TEST.SAMPLER", "DATALOADER.TEST.BATCH_SIZE"),
        *(
            "TRAIN.CHECKPOINT_FREQ",
            *("TRAIN.GRAPH", "TRAIN.TEXT_MEMORY"),
            "TRAIN.PRINT_FREQ",
            "TEST.EVALUATOR",
            "TEST.PER_CLASS_RESULT",
            "TEST.COMPUTE_CMAT",
        ),
        *("TEST.NO_TEST", "TEST.SPLIT", "TEST.SAVE_PREDICTIONS", "TRAINER.RECORD.PROTOCOL", "TRAINER.RECORD.CONFIG"),
        "TRAINER.RECORD.VALIDATE",
        *("TRAINER.CASPL.BOOSTING_DIR", "TRAINER.CASPL.STORE", "TRAINER.CASPL.STORE_BYTES"),
    }
    assert keys - counted - methods == free  # a new key is put into one or the other


@pytest.mark.parametrize(
    "settings",
    [
        {"DATALOADER__TEST__BATCH_SIZE": 7},
        {"USE_CUDA": True},
        {"TEST__PER_CLASS_RESULT": True},
        {"TRAINER__CASPL__REFERENCE": "boosted"},
        {"TRAINER__CASPL__BOOSTING_SEED": 3},
        {"TRAINER__PROMPTSRC__GPA_MEAN": 3},
    ],
)
def test_what_does_not_count_changes_no_hash(settings: dict[str, Any]) -> None:
    sections = {"CASPL": PHASE_1}
    assert recipe(config(**settings), sections) == recipe(config(), sections)
    assert recipe(config(TRAINER__CASPL__TEMPERATURE=2.0), sections) != recipe(config(), sections)


def test_another_test_batch_goes_on_in_the_same_folder(runs: Runs) -> None:
    assert train.main(coop(runs, "run")) == 0
    assert train.main(coop(runs, "run", "DATALOADER.TEST.BATCH_SIZE", "3", "TEST.PER_CLASS_RESULT", "True")) == 0


# Two runs ----------------------------------------------------------------------------------------------------


def test_two_phase_1_runs_into_one_file(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """The second is refused while the first lives, and nothing that it would have lost is written."""
    path = boosting_path(runs.folder / "boosting", "EuroSAT", runs.clips["student"], 1, (8, 3), (8, 3))
    command = runs.phase1("slow", "OPTIM.MAX_EPOCH", "2000")
    first = multiprocessing.get_context("spawn").Process(target=train.main, args=(command,))
    first.start()
    try:
        deadline = time.monotonic() + 120
        while not (runs.folder / "slow" / "resume.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        line = refused(capsys, runs.phase1("other", "TRAINER.CASPL.TEMPERATURE", "2", "OPTIM.MAX_EPOCH", "1"))
        assert "seed1.safetensors is claimed by process" in line
        assert "another TRAINER.CASPL.BOOSTING_DIR" in line
        line = refused(capsys, command)
        assert "slow is claimed by process" in line
    finally:
        first.kill()
        first.join()
    assert not path.exists()
    short = ["TRAINER.CASPL.TEMPERATURE", "2", "OPTIM.MAX_EPOCH", "1"]
    assert train.main(runs.phase1("other", *short)) == 0  # a claim does not outlive who was killed
    assert read_boosting(path).header.temperature == 2.0


def test_what_was_written_meanwhile_is_looked_at_before_writing(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a program that knows no claims, say."""
    from caspl.boosting.writer import BoostingWriter

    write = BoostingWriter.write

    def late(self: BoostingWriter, *args: Any) -> Path:
        if not self.target.exists():
            boosting_file(self.target)
        return write(self, *args)

    monkeypatch.setattr(BoostingWriter, "write", late)
    assert "was made with other settings" in refused(capsys, runs.phase1("run", "OPTIM.MAX_EPOCH", "1"))


def test_another_split_is_noticed(runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of the same data set, under the same settings: by phase 1's file, and by a run that goes on."""
    short = ["OPTIM.MAX_EPOCH", "1"]
    assert train.main(runs.phase1("run", *short)) == 0
    assert train.main(coop(runs, "adapt", "TRAIN.CHECKPOINT_FREQ", "1")) == 0
    runs.root = Path(shutil.copytree(runs.root, tmp_path / "copy"))
    split = runs.root / "eurosat" / "split_zhou_EuroSAT.json"
    lists = json.loads(split.read_text())
    lists["train"] = lists["train"][1:]
    split.write_text(json.dumps(lists))
    shutil.rmtree(runs.root / "eurosat" / "split_fewshot", ignore_errors=True)
    assert "was made from another split of EuroSAT" in refused(capsys, runs.phase1("other", *short))
    assert "begun on another split" in refused(capsys, coop(runs, "adapt"))
    cascade = coop(runs, "cascade", trainer="CasPL_CoOp")
    line = refused(capsys, cascade)
    assert "come from another split of EuroSAT" in line
    assert "if they are meant, name the file with TRAINER.CASPL.BOOSTING" in line
    (file,) = (runs.folder / "boosting").rglob("*.safetensors")
    assert train.main([*cascade, "TRAINER.CASPL.BOOSTING", str(file)]) == 0


def test_the_header_says_how_long_and_on_what(runs: Runs) -> None:
    assert train.main(runs.phase1("run", "OPTIM.MAX_EPOCH", "2")) == 0
    (path,) = (runs.folder / "boosting").rglob("*.safetensors")
    header = read_boosting(path).header
    assert header.steps == 2 * (50 // 8)
    assert header.pixels is not None
    assert header.pixels["size"] == 32
    assert header.description is not None
    assert header.description["vision"] == ["boosting"]
    assert len(header.split) > 8


# Whose error it is -------------------------------------------------------------------------------------------

BUGGY = """
from caspl.prompts import Prompts
from trainers.base import PromptTrainer
from trainers.registry import register

@register
class {name}(PromptTrainer):
    section = "{section}"
    defaults = {{"PREC": "fp32"}}

    @staticmethod
    def prompts(clip, options, classnames):
        {prompts}

    def load_resume_state(self, state):
        {resume}
"""
GOOD = "from caspl.prompts import coop_context; return coop_context(clip.text, 2, '')"


def buggy(folder: Path, name: str, prompts: str = GOOD, resume: str = "super().load_resume_state(state)") -> Path:
    path = folder / f"method_{name.lower()}.py"
    path.write_text(BUGGY.format(name=name, section=name.upper(), prompts=prompts, resume=resume))
    return path


def test_a_bug_in_a_users_prompts_keeps_its_traceback(runs: Runs) -> None:
    plugin = buggy(runs.folder, "Unpacking", "a, b = 3; return Prompts()")
    line = ["--plugin", str(plugin), *coop(runs, "run", trainer="Unpacking")]
    with pytest.raises(TypeError, match="cannot unpack non-iterable int object"):
        train.main(line)


def test_a_bug_in_a_users_resuming_keeps_its_traceback(runs: Runs) -> None:
    plugin = buggy(runs.folder, "Resuming", resume="return state['what nobody saved']")
    line = ["--plugin", str(plugin), *coop(runs, "run", trainer="Resuming")]
    trainer = build(next(case for case in CASES if case.trainer == "CoOp"), False, runs.clips, runs.folder / "x")
    (runs.folder / "run").mkdir()
    trainer.epoch = 0
    torch.save(trainer.resume_state(), runs.folder / "run" / "resume.pt")
    with pytest.raises(KeyError, match="what nobody saved"):
        train.main(line)


def test_what_prompts_cannot_be_is_the_methods_own_bug(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    clip, width = trainer.model.clip, trainer.model.clip.sizes.text_width
    for returned, error, words in (
        (None, TypeError, "CoOp.prompts() returned NoneType, not Prompts"),
        (Prompts([Segment("boosting", torch.zeros(1, 2, width))]), ValueError, "the name boosting is for the cascade"),
    ):
        trainer.prompts = lambda *_, returned=returned: returned
        with pytest.raises(error, match=re.escape(words)):
            trainer.checked_prompts(clip)
    with pytest.raises(ValueError, match="are 7 wide, but the tower is 128"):
        PromptedCLIP.of(clip, Prompts([Segment("adapting", torch.zeros(1, 2, 7))]), ["a"])
    with pytest.raises(ValueError, match="cannot be called class"):
        Prompts(others={"class": Texts()})
    with pytest.raises(TypeError, match="templates are a tuple"):
        Prompts(templates="a {}.")  # type: ignore[arg-type]
    with pytest.raises(CasPLError, match="must hold {} once"):
        Prompts(templates=("a photo",))
    with pytest.raises(ValueError, match="a segment's name is a word"):
        Segment("text.negative", torch.zeros(1, 2, 7))


def test_a_wrong_setting_is_a_sentence_still(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    sampler = ["DATALOADER.TRAIN_X.SAMPLER", "RandomClassSampler"]  # of 16 images a class, in a batch of 8
    assert "cannot be built with this config" in refused(capsys, coop(runs, "run", *sampler))


# Records and pixels ------------------------------------------------------------------------------------------


def test_time_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    recorder = RunRecorder(config(), Runtime(torch.device("cpu")), {})
    with recorder.timing("train"):
        now[0] += 100
        assert recorder.so_far() == {"train": 100.0}
        with recorder.timing("test"):
            now[0] += 5
            assert recorder.so_far() == {"train": 100.0, "test": 5.0}
        now[0] += 10
    now[0] += 1000
    assert recorder.so_far() == {"train": 110.0, "test": 5.0}


def test_a_record_says_what_was_trained_and_what_was_tested(runs: Runs) -> None:
    assert train.main(coop(runs, "base", "DATASET.SUBSAMPLE_CLASSES", "base")) == 0
    new = ["--eval-only", "--model-dir", str(runs.folder / "base"), "DATASET.SUBSAMPLE_CLASSES", "new"]
    assert train.main([*coop(runs, "new"), *new]) == 0
    record = read_record(runs.folder / "new" / "result.json")
    assert record.classes == "new"
    expected = {"dataset": "EuroSAT", "classes": "base", "shots": 2, "seed": 1}
    assert {key: record.trained_on[key] for key in expected} == expected
    assert record.hardware["device"] == Runtime.choose(DEVICE.type != "cpu").device_name


def test_a_record_of_what_learns_nothing_says_so(runs: Runs) -> None:
    zeroshot = ["ZeroshotCLIP", "ZeroshotCLIP/tiny"]
    assert train.main(runs.arguments(*zeroshot, "plain")) == 0
    assert read_record(runs.folder / "plain" / "result.json").trained_on == {}
    file = boosting_file(runs.folder / "boosting.safetensors")
    line = runs.arguments("CasPL_ZeroshotCLIP", zeroshot[1], "boosted", "TRAINER.CASPL.BOOSTING", str(file))
    assert train.main(line) == 0
    record = read_record(runs.folder / "boosted" / "result.json")
    assert record.trained_on == {"boosting": {"dataset": "EuroSAT", "seed": 1, "split": ""}}


def test_other_statistics_than_the_students(
    runs: Runs, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    named = [*coop(runs, "named", "INPUT.PIXEL_MEAN", "[0.0, 0.0, 0.0]"), "--backbone", "tiny-student"]
    line = refused(capsys, named)
    assert "tiny-student was trained with PIXEL_MEAN (0.481455, 0.457827, 0.408211)" in line
    assert "INPUT.PIXEL_MEAN is (0, 0, 0)" in line
    logging.getLogger("caspl").propagate = True  # the run before has attached it to the engine's log
    trainer = build(CASES[2], False, runs.clips, runs.folder, INPUT__PIXEL_MEAN=[0.5, 0.5, 0.5])
    assert "INPUT.INTERPOLATION" not in caplog.text
    assert "is this one not?" in caplog.text  # a file may have been trained otherwise
    assert trainer.model is not None


def test_other_pixels_are_said(clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(CASES[2], False, clips, tmp_path, INPUT__INTERPOLATION="bilinear")
    assert "INPUT.INTERPOLATION is bilinear" in caplog.text
    for key, value in (("PIXEL_MEAN", [0.5, 0.5]), ("PIXEL_STD", [0.2, 0.0, 0.2])):
        with pytest.raises(CasPLError, match="hold three numbers each"):
            build(CASES[2], False, clips, tmp_path, **{f"INPUT__{key}": value})


def test_older_checkpoints_load(clips: dict[str, str], tmp_path: Path) -> None:
    """As version 0.1.0 wrote them: without description, preprocessing and origin."""
    trainer = build(CASES[5], True, clips, tmp_path)
    trainer.forward_backward(batch())
    trainer.save_model(0, str(tmp_path / "run"))
    path = tmp_path / "run" / trainer.saved_as / "model.pth.tar-1"
    content = torch.load(path, weights_only=True)
    for key in ("description", "pixels", "trained_on"):
        del content["state_dict"]["_extra_state"][key]
    torch.save(content, path)
    again = build(CASES[5], True, clips, tmp_path, SEED=4)
    again.load_model(str(tmp_path / "run"))
    learned = trainer.segments.learned()
    assert all(torch.equal(value, learned[name]) for name, value in again.segments.learned().items())
    resumed = build(CASES[5], True, clips, tmp_path, SEED=4)
    assert resumed.resume_model_if_exist(str(tmp_path / "run")) == 1
    older = resumed.resume_state() | {"epoch": 1, "scaler": {}}
    del older["step"]
    resumed.load_resume_state(older)
    assert resumed.start_epoch == 1


def test_several_processes_are_refused_where_a_trainer_steps_by_itself(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stepper(PromptTrainer):
        def forward_backward(self, batch: Any) -> Any:
            return {}

    for name, trainer in (("Stepper", Stepper), ("Foreign", type("Foreign", (TrainerX,), {}))):
        monkeypatch.setitem(TRAINER_REGISTRY._objects, name, trainer)
        args = train.parser().parse_intermixed_args(coop(runs, "run", trainer=name))
        cfg = build_cfg(args)
        session.check(cfg, args)
        with monkeypatch.context() as patch:
            patch.setenv("WORLD_SIZE", "2")
            with pytest.raises(CasPLError, match=f"2 processes were started, but {name} takes its steps by itself"):
                session.check(cfg, args)


def test_class_names_in_a_checkpoint_are_those_of_the_model(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    trainer.model.set_classes(["one", "two"])
    assert trainer.segments.get_extra_state()["classnames"] == ["one", "two"]
    assert json.loads(json.dumps(trainer.segments.get_extra_state()))["trained_on"]["dataset"] == "EuroSAT"


def test_a_broken_run_folder_is_a_sentence(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "resume.pt").write_bytes(b"nothing")
    with pytest.raises(CasPLError, match="cannot be continued"):
        trainer.resume()


def test_text_is_that_of_the_tokens_that_a_run_goes_on_with(clips: dict[str, str], tmp_path: Path) -> None:
    """Where nothing in it learns it is computed once: after the tokens of a snapshot have come, not before."""
    case = next(case for case in CASES if case.trainer == "VPT")
    trainer = build(case, True, clips, tmp_path)
    trainer.epoch = 0
    state = trainer.resume_state()
    tokens = state["models"][trainer.saved_as]
    tokens["text.boosting.values"] = 3 * tokens["text.boosting.values"]
    trainer.load_resume_state(state)
    trainer.forward_backward(batch())
    torch.testing.assert_close(trainer.step.text["class"], trainer.model.encode_text())


def test_a_setting_that_nothing_reads_is_warned_of(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, warned in (("PromptSRC", False), ("IVLP", True)):
        case = next(case for case in CASES if case.trainer == name)
        more = {"TRAINER__CASPL__REFERENCE": "boosted", "OUTPUT_DIR": str(tmp_path / name)}
        trainer = build(case, True, clips, tmp_path, **more)
        caplog.clear()
        trainer.before_train()
        assert ("TRAINER.CASPL.REFERENCE is not used" in caplog.text) is warned


def test_a_student_that_is_its_own_teacher_is_warned_of(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for teacher, warned in (("teacher", False), ("student", True)):
        settings = {"TRAINER__CASPL__TEACHER": clips[teacher], "TRAINER__CASPL__BOOSTING_DIR": str(tmp_path)}
        trainer = make_trainer(make_cfg("CasPL", clips["student"], 32, **settings), CLASSES)
        caplog.clear()
        trainer.start()
        assert ("teacher and student have the same weights" in caplog.text) is warned


def test_where_a_run_is_looked_for(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    trainer.save_model(4, str(tmp_path / "run"))
    (tmp_path / "file").touch()
    for folder, epoch, sentence in (
        ("nothere", None, "there is no run .*nothere; check --model-dir"),
        ("file", None, "file is a file: name the folder of the run"),
        ("run", 7, r"there is no checkpoint .*model\.pth\.tar-7, but model\.pth\.tar-5;"),
    ):
        with pytest.raises(CasPLError, match=sentence):
            trainer.load_model(str(tmp_path / folder), epoch)


def test_a_finished_run_says_that_it_is_not_trained(clips: dict[str, str], tmp_path: Path, caplog: Any) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    again = build(CASES[2], False, clips, tmp_path)
    again.resume()
    assert "is finished: it is tested again, not trained" in caplog.text
