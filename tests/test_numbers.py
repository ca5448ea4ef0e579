"""Numbers that mean nothing: in settings, labels, boosting files and checkpoints. And how a run is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from yacs.config import CfgNode

import train
import trainers  # noqa: F401  registers
from caspl.boosting import Header, read_boosting, write_boosting
from caspl.build import load_model
from caspl.checkpoint import read_checkpoint
from caspl.dassl.choices import check_choices, choices_of
from caspl.dassl.outcome import leaves
from caspl.dassl.ranges import RANGES, check_ranges
from caspl.dassl.section import require_labels
from caspl.errors import CasPLError
from caspl.zoo import weights_hash
from dassl.config import get_cfg_default
from tests.cases import CASES
from tests.conftest import CLASSES
from tests.runs import REPO, Runs, refused
from tests.stubs import make_cfg
from tests.tiny_clip import SIZES, tiny_clip
from tests.trainers.building import build
from trainers.recorder import plain
from trainers.registry import OURS, SECTIONS, extend_cfg


def numbers(value: Any) -> list[Any]:
    some = list(value) if isinstance(value, list | tuple) else [value]
    return [one for one in some if isinstance(one, int | float) and not isinstance(one, bool)]


def test_every_number_of_the_config_has_a_range_that_holds_its_default() -> None:
    cfg = get_cfg_default()
    extend_cfg(cfg)
    mine = {f"TRAINER.{section}" for section in SECTIONS.keys() - OURS}  # what other tests have registered
    keys = {key for key, value in leaves(plain(cfg)) if numbers(value) and key.rpartition(".")[0] not in mine}
    assert {key for key in keys if key.split(".")[-1] not in RANGES} == set()
    check_ranges(cfg, OURS)
    cfg.TRAINER.MINE = CfgNode({"GAMMA": -1.0})
    check_ranges(cfg, OURS)  # a user's own keys may mean anything
    cfg.TRAINER.COOP.N_CTX = -1
    with pytest.raises(CasPLError, match="TRAINER.COOP.N_CTX must be"):
        check_ranges(cfg, OURS)


def test_every_word_of_the_config_is_chosen_or_the_users_own() -> None:
    cfg = get_cfg_default()
    extend_cfg(cfg)
    own = {
        *("OUTPUT_DIR", "RESUME", "DATASET.ROOT", "DATASET.NAME", "DATASET.SOURCE_DOMAINS", "DATASET.TARGET_DOMAINS"),
        *(
            "DATASET.CIFAR_C_TYPE",
            "DATASET.TEMPLATE",
            "DATASET.TEXTS",
            "DATASET.FOLDER.LIST",
            "DATASET.FOLDER.CLASSNAMES",
        ),
        *(
            "DATASET.FOLDER.UNLABELLED",
            "DATASET.FOLDER.CLASSES",
            "DATASET.FOLDER.TRAINED_CLASSES",
            "DATALOADER.CACHE_DIR",
            "OPTIM.NEW_LAYERS",
        ),
        *("MODEL.INIT_WEIGHTS", "MODEL.BACKBONE.NAME", "MODEL.HEAD.NAME", "MODEL.HEAD.ACTIVATION"),
        *("MODEL.HEAD.HIDDEN_LAYERS", "TRAINER.NAME", "TRAINER.ZSCLIP.TEMPLATE"),
        *(f"TRAINER.CASPL.{key}" for key in ("IMAGES", "TEACHER", "TEACHER_TEMPLATE", "BOOSTING", "BOOSTING_DIR")),
        *("TRAINER.CASPL.BOOSTING_DATASET", "TRAINER.CASPL.STORE"),
        *(f"TRAINER.PROMPTKD.{key}" for key in ("TEACHER", "TEACHER_TEMPLATE")),
        *(f"TRAINER.KDPL.{key}" for key in ("TEACHER", "TEACHER_TEMPLATE", "DICTIONARY")),
        *(f"TRAINER.FDBPL.{key}" for key in ("TEACHER", "TEACHER_TEMPLATE")),
        *("TRAINER.RECORD.PROTOCOL", "TRAINER.RECORD.CONFIG", "TRAINER.LASP.LASP_PROMPTS"),
        "TRAINER.COPROMPT.TEXTS",
    }
    kept = {f"TRAINER.{section}" for section in OURS | {"RECORD", "CASPL"}}
    words = {
        key
        for key, value in leaves(plain(cfg))
        if isinstance(value, str) or (isinstance(value, list | tuple) and not numbers(value))
        if not key.startswith("TRAINER.") or key == "TRAINER.NAME" or key.rpartition(".")[0] in kept
    }
    free = {key for key in words if not choices_of(key)}
    assert free - own == {key for key in free if key.endswith("CTX_INIT")}  # a new key is put into one or the other
    assert own <= free
    check_choices(cfg, OURS)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("TEST.SPLIT", "train", "TEST.SPLIT is val or test, not 'train'"),
        ("INPUT.TRANSFORMS", "['random_flop']", "INPUT.TRANSFORMS is random_flip or"),
        ("TRAIN.COUNT_ITER", "all", "TRAIN.COUNT_ITER is train_x or train_u or smaller_one, not 'all'"),
        ("INPUT.INTERPOLATION", "lanczos", "INPUT.INTERPOLATION is bilinear or bicubic or nearest, not 'lanczos'"),
        ("TRAINER.COOP.PREC", "fp8", "TRAINER.COOP.PREC is fp32 or fp16 or bf16 or amp, not 'fp8'"),
        ("TRAINER.CASPL.REDUCTION", "sum", "TRAINER.CASPL.REDUCTION is batchmean or mean, not 'sum'"),
        ("OPTIM.NAME", "sdg", "OPTIM.NAME is adam or"),
        ("DATALOADER.TEST.SAMPLER", "Random", "DATALOADER.TEST.SAMPLER is RandomSampler or"),
        ("DATASET.SUBSAMPLE_CLASSES", "old", "DATASET.SUBSAMPLE_CLASSES is all or base or new, not 'old'"),
        ("TRAINER.COOP.CLASS_TOKEN_POSITION", "back", "is end or middle or front, not 'back'"),
        ("TEST.EVALUATOR", "Clasification", "TEST.EVALUATOR is Classification, not 'Clasification'"),
    ],
)
def test_words_that_a_key_cannot_mean(
    key: str, value: str, sentence: str, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read or written; a wrong TEST.SPLIT would be the test images in silence."""
    assert sentence in refused(capsys, runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "run", key, value))
    assert not (runs.folder / "run").exists()


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("DATASET.NUM_SHOTS", "-3", "DATASET.NUM_SHOTS must be -1 or more (-1 and 0: all images), not -3"),
        ("OPTIM.LR", "0.0", "OPTIM.LR must be above 0, not 0.0"),
        ("OPTIM.LR", "1e400", "OPTIM.LR must be above 0, not inf"),
        ("OPTIM.MAX_EPOCH", "0", "OPTIM.MAX_EPOCH must be 1 or more, not 0"),
        ("DATALOADER.TRAIN_X.BATCH_SIZE", "0", "DATALOADER.TRAIN_X.BATCH_SIZE must be 1 or more, not 0"),
        ("INPUT.RRCROP_SCALE", "(0.0, 1.5)", "INPUT.RRCROP_SCALE must be above 0 and at most 1, not (0.0, 1.5)"),
        ("TRAINER.COOP.N_CTX", "-4", "TRAINER.COOP.N_CTX must be 0 or more, not -4"),
        ("OPTIM.MOMENTUM", "1.5", "OPTIM.MOMENTUM must be 0 to 1, not 1.5"),
    ],
)
def test_numbers_out_of_their_range(
    key: str, value: str, sentence: str, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read or written."""
    line = runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "run", key, value)
    assert refused(capsys, line) == f"error: {sentence}"
    assert not (runs.folder / "run").exists()


@pytest.mark.parametrize(("part", "labels"), [("train_x", [0, 1, 4]), ("test", [0, 3]), ("val", [-1, 0])])
def test_labels_that_are_no_places_of_class_names(part: str, labels: list[int]) -> None:
    items = {name: [SimpleNamespace(label=label) for label in (0, 1, 2)] for name in ("train_x", "val", "test")}
    dataset = SimpleNamespace(classnames=["a", "b", "c"], **items)
    require_labels(dataset)
    setattr(dataset, part, [SimpleNamespace(label=label) for label in labels])
    with pytest.raises(CasPLError, match=rf"has 3 class names, but the label (4|3|-1) among its {part}"):
        require_labels(dataset)


OWN = """
from dassl.data.datasets import DATASET_REGISTRY, Datum, DatasetBase

@DATASET_REGISTRY.register()
class FromOne(DatasetBase):
    def __init__(self, cfg):
        items = [Datum("{image}", label, 0, name) for label, name in ((1, "Forest"), (2, "River"))]
        super().__init__(train_x=items, test=items)
"""


@pytest.mark.parametrize("trainer", ["CoOp", "ZeroshotCLIP"])
def test_a_data_set_of_ones_own_that_counts_from_one(
    trainer: str, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zero-shot, it would be 0 % without a word."""
    plugin = runs.folder / f"own_{trainer.lower()}.py"
    image = next((runs.root / "eurosat").rglob("*.jpg"))
    plugin.write_text(OWN.format(image=image).replace("FromOne", f"FromOne{trainer}"))
    line = runs.arguments(trainer, "CoOp/vit_b16_ctxv1", "run", "DATASET.NAME", f"FromOne{trainer}")
    assert f"FromOne{trainer} has 2 class names, but the label 2" in refused(capsys, ["--plugin", str(plugin), *line])


def boosting(path: Path, text: Tensor | None, vision: Tensor | None) -> Path:
    header = Header("student", weights_hash(tiny_clip()), "teacher", "EuroSAT", CLASSES, "a {}.", 1, 20, 1.0)
    return write_boosting(path, header, text, vision)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (torch.zeros(4, 2, SIZES.text_width), r"of width 128 in 4 layers, but the text tower has .* 3 layers"),
        (torch.zeros(3, 2, 64), "text tokens of width 64 in 3 layers, but the text tower has width 128"),
        (torch.zeros(3, 2), "its text tokens are .*, not numbers"),
        (torch.zeros(3, 0, SIZES.text_width), "its text tokens are .*, not numbers"),
        (torch.zeros(3, 2, SIZES.text_width, dtype=torch.long), "its text tokens are .*, not numbers"),
        (torch.full((3, 2, SIZES.text_width), float("nan")), "text tokens that are not finite"),
    ],
)
def test_boosting_files_that_no_student_can_have(
    text: Tensor, sentence: str, clips: dict[str, str], tmp_path: Path
) -> None:
    path = boosting(tmp_path / "boosting.safetensors", text, None)
    with pytest.raises(CasPLError, match=sentence):
        read_boosting(path).require_towers(tiny_clip())
    with pytest.raises(CasPLError, match=sentence):
        load_model(path, tiny_clip())
    settings = {"TRAINER__CASPL__BOOSTING": str(path), "DATASET__NAME": "EuroSAT"}
    cfg = make_cfg("CasPL_CoOp", clips["student"], SIZES.resolution, **settings)
    from tests.stubs import make_trainer

    with pytest.raises(CasPLError, match=sentence):
        make_trainer(cfg, CLASSES)


@pytest.mark.parametrize(
    ("entry", "value"),
    [("student", 5), ("classnames", [1, 2]), ("seed", "1"), ("temperature", "warm"), ("pixels", [1]), ("epochs", True)],
)
def test_headers_of_other_types(entry: str, value: Any, tmp_path: Path) -> None:
    path = boosting(tmp_path / "boosting.safetensors", torch.zeros(3, 2, SIZES.text_width), None)
    file = read_boosting(path)
    with safe_open(path, framework="pt") as opened:
        content = json.loads(opened.metadata()["caspl.boosting"])
    content[entry] = value
    if entry == "classnames":
        content["classnames_hash"] = "of no names"
    save_file({"text": file.text}, path, {"caspl.boosting": json.dumps(content)})
    with pytest.raises(CasPLError, match="is a damaged boosting file: its header cannot be read"):
        read_boosting(path)


def test_checkpoints_that_are_not_finite(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    trainer.segments.learned()["text.adapting.values"].data[0, 0, 0] = float("inf")
    trainer.save_model(0, str(tmp_path / "run"))
    path = tmp_path / "run" / "prompt_learner" / "model.pth.tar-1"
    with pytest.raises(CasPLError, match=r"numbers in text\.adapting\.values that are not finite"):
        read_checkpoint(path)


@pytest.mark.parametrize("classnames", ["ant", None, 3])
def test_checkpoints_whose_class_names_are_no_list(classnames: Any, clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    path = tmp_path / "run" / "prompt_learner" / "model.pth.tar-1"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["_extra_state"]["classnames"] = classnames
    torch.save(content, path)
    with pytest.raises(CasPLError, match="is a damaged checkpoint: what it says of itself lacks a list of classnames"):
        read_checkpoint(path)


def test_sigterm_ends_as_ctrl_c_does(runs: Runs) -> None:
    """Clusters send it before they kill: the run says how it goes on."""
    command = runs.phase1("run", "OPTIM.MAX_EPOCH", "2000")
    line = [sys.executable, str(REPO / "train.py"), *command]
    process = subprocess.Popen(line, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)
    snapshot = runs.folder / "run" / "resume.pt"
    deadline = time.monotonic() + 120
    while not snapshot.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in error
    assert "Traceback" not in error
    assert not (runs.folder / "run" / ".claim").exists()


def test_a_name_in_other_letters_is_suggested(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean CoOp" in refused(capsys, runs.arguments("coop", "CoOp/vit_b16_ctxv1", "run"))
    assert "did you mean" not in refused(capsys, runs.arguments("foo", "CoOp/vit_b16_ctxv1", "run"))


def test_signals_are_as_before_in_a_program_that_calls_main(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    refused(capsys, runs.arguments("foo", "CoOp/vit_b16_ctxv1", "run"))
    assert signal.getsignal(signal.SIGTERM) is before
    assert train.main(["--trainer", "CoOp"]) == 2
