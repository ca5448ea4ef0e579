"""``python -m caspl.convert`` on files like those of the authors' code, and what it refuses."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from caspl.boosting import read_boosting
from caspl.convert.__main__ import main
from caspl.convert.inert import read_inertly
from caspl.errors import CasPLError
from caspl.prompts.templates import template_for
from caspl.towers import CLIP
from caspl.zoo import load_clip, weights_hash
from dassl.optim import build_lr_scheduler, build_optimizer
from tests.conftest import CLASSES
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES, tiny_state_dict

PUBLISHED = json.loads((Path(__file__).parent / "parity/cases/caspl_boost_4_4.json").read_text())
CTX, VPT = "prompt_learner_teacher.ctx", "image_encoder.VPT_FIRST"
DEEP = "{}_encoder.transformer.resblocks.{}.VPT_shallow_FIRST"
TEXT, VISION = [CTX, DEEP.format("text", 1), DEEP.format("text", 2)], [VPT, DEEP.format("image", 1)]

State = dict[str, Any]


def boosting(generator: torch.Generator) -> dict[str, Tensor]:
    """Tokens under the published names: 4 in 3 layers of the text tower, 5 in 2 of the image tower."""
    names = set(PUBLISHED["learnable"]) - {DEEP.format("image", 2)}
    assert names == {*TEXT, *VISION}
    shapes = {name: (4, SIZES.text_width) if name in TEXT else (5, SIZES.vision_width) for name in sorted(names)}
    tokens = {name: 0.02 * torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    return tokens | {CTX: tokens[CTX].half()}


def released_state(seed: int = 0) -> State:
    """What the authors' phase 1 saves: tokens, unused ones, the classes' buffers, both towers, a teacher."""
    state: State = boosting(torch.Generator().manual_seed(4))
    for name in list(state):
        if name != CTX:
            state[name.replace("_FIRST", "")] = torch.randn_like(state[name])
    for key, value in CLIP.from_state_dict(tiny_state_dict(seed)).cast(torch.float16).openai_state_dict().items():
        if key != "token_embedding.weight":
            tower = "" if key == "logit_scale" else "text_encoder."
            name = key.replace("visual.", "image_encoder.") if key.startswith("visual.") else tower + key
            state[name] = value
    state["prompt_learner_teacher.token_prefix"] = torch.randn(8, 1, SIZES.text_width).half()
    state["prompt_learner_teacher.token_suffix"] = torch.randn(8, 72, SIZES.text_width).half()
    state["prompt_learner_teacher.ZS_image_encoder_teacher.proj"] = torch.randn(96, 48).half()
    return state


def scheduler_and_optimizer(student: str) -> State:
    """Their entries as Dassl's original writes them: the scheduler holds another as an object, with its optimizer."""
    model = nn.Linear(3, 4)
    cfg = make_cfg("CasPL", student, SIZES.resolution, OPTIM__MAX_EPOCH=20).OPTIM
    optimizer = build_optimizer(model, cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    for _ in range(3):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        scheduler.step()
    attributes = {key: value for key, value in vars(scheduler).items() if key != "optimizer"}
    assert isinstance(attributes["successor"], torch.optim.lr_scheduler.LRScheduler)
    return {"optimizer": optimizer.state_dict(), "scheduler": attributes}


class Files:
    """Checkpoints below a folder, and conversions of them."""

    def __init__(self, folder: Path, clips: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.clips, self.capsys = folder, clips, capsys
        self.output = folder / "boosting.safetensors"

    def write(self, state: State, prefix: str = "", **entries: Any) -> Path:
        path = self.folder / "model.pth.tar-20"
        named = OrderedDict((prefix + key, value) for key, value in state.items())
        content = {"state_dict": named, "epoch": 20, **scheduler_and_optimizer(self.clips["student"])}
        with patch("torch.serialization.location_tag", return_value="cuda:0"):  # they were saved from a GPU
            torch.save(content | {"val_result": np.float64(61.5)} | entries, path)
        return path

    def convert(self, checkpoint: Path, *more: str) -> str:
        """A conversion that works; returns what it prints."""
        assert main(self.arguments(checkpoint, *more)) == 0
        printed = self.capsys.readouterr()
        assert printed.err == ""
        assert len(printed.out.splitlines()) == 1
        return printed.out

    def refused(self, checkpoint: Path, *more: str) -> str:
        """A conversion that does not; returns its one sentence."""
        before = sorted(self.folder.rglob("*"))
        assert main(self.arguments(checkpoint, *more)) == 2
        printed = self.capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1
        assert sorted(self.folder.rglob("*")) == before
        return printed.err

    def arguments(self, checkpoint: Path, *more: str) -> list[str]:
        line = [str(checkpoint), "--dataset", "EuroSAT", "--student", self.clips["student"], "-o", str(self.output)]
        return [*line, *more]

    def phase2(self, **settings: Any) -> dict[str, Tensor]:
        """The boosting tokens of a CasPL_CoOp that runs on the test student."""
        settings |= {"DATASET__NAME": "EuroSAT", "OUTPUT_DIR": str(self.folder / "run"), "TRAINER__COOP__PREC": "fp32"}
        cfg = make_cfg("CasPL_CoOp", self.clips["student"], SIZES.resolution, **settings)
        segments = make_trainer(cfg, CLASSES).model.segments()
        return {name: segments[name].values for name in ("text.boosting", "vision.boosting")}


@pytest.fixture
def files(tmp_path: Path, clips: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Files:
    return Files(tmp_path, clips, capsys)


def expected_tokens(state: State) -> dict[str, Tensor]:
    return {
        "text.boosting": torch.stack([state[name].float() for name in TEXT]),
        "vision.boosting": torch.stack([state[name].float() for name in VISION]),
    }


@pytest.mark.parametrize("prefix", ["", "module."])
def test_phase_2_runs_on_released_tokens(files: Files, prefix: str) -> None:
    state = released_state()
    checkpoint = files.write(state, prefix)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    printed = files.convert(checkpoint)
    towers = len(tiny_state_dict(0)) - len({"token_embedding.weight", "logit_scale"})
    assert f"4 text tokens in 3 layers, 5 vision tokens in 2 layers, student {files.clips['student']}" in printed
    assert f"({towers} of its {towers + 2} tensors are in the checkpoint and agree)" in printed
    assert printed.endswith(f"TRAINER.CASPL.BOOSTING {files.output}\n")

    tokens = files.phase2(TRAINER__CASPL__BOOSTING=str(files.output))
    for name, expected in expected_tokens(state).items():
        assert tokens[name].dtype == torch.float32
        assert torch.equal(tokens[name], expected)
        assert not tokens[name].requires_grad


def test_header(files: Files) -> None:
    names = files.folder / "names.txt"
    names.write_text("\n".join(CLASSES) + "\n")
    files.convert(files.write(released_state(), epoch=10), "--classnames", str(names), "--temperature", "2")
    header = read_boosting(files.output).header
    assert (header.student, header.teacher) == (files.clips["student"], "ViT-L/14")
    assert header.student_hash == weights_hash(load_clip(files.clips["student"]))
    assert (header.dataset, header.template) == ("EuroSAT", template_for("EuroSAT"))
    assert (header.seed, header.epochs, header.temperature, header.classnames) == (1, 10, 2.0, CLASSES)


def test_phase_2_finds_the_default_place(files: Files) -> None:
    state = released_state()
    line = files.arguments(files.write(state), "--boosting-dir", str(files.folder / "all"))
    at = line.index("-o")
    assert main(line[:at] + line[at + 2 :]) == 0
    tokens = files.phase2(TRAINER__CASPL__BOOSTING_DIR=str(files.folder / "all"))
    assert all(torch.equal(tokens[name], expected) for name, expected in expected_tokens(state).items())


def test_a_phase_2_checkpoint_of_the_release(files: Files) -> None:
    """PromptSRC saves its average over epochs, towers included, in their precision: they lose bits. Epochs are its."""
    state = released_state()
    averaged = {key: sum(value * weight for weight in (0.05, 0.24, 0.4, 0.25, 0.06)) for key, value in state.items()}
    assert any(not torch.equal(averaged[key], state[key]) for key in state if key.endswith("in_proj_weight"))
    averaged["prompt_learner.ctx"] = torch.randn(4, SIZES.text_width).half()
    checkpoint = files.write(averaged)
    assert "does not say how many epochs phase 1 had" in files.refused(checkpoint)
    assert "are in the checkpoint and agree" in files.convert(checkpoint, "--epochs", "7")
    file = read_boosting(files.output)
    assert file.header.epochs == 7
    assert file.text is not None
    assert torch.equal(file.text, expected_tokens(averaged)["text.boosting"])


def test_without_towers_widths_are_checked(files: Files) -> None:
    state = {name: value for name, value in released_state().items() if name in {*TEXT, *VISION}}
    assert "(only widths agree)" in files.convert(files.write(state))
    wide = {name: torch.randn(4, 7) if name in TEXT else value for name, value in state.items()}
    sentence = files.refused(files.write(wide), "--force")
    assert "text tokens of width 7 in 3 layers, but the text tower" in sentence
    assert "has width 128 and 3 layers" in sentence


def test_existing_files(files: Files) -> None:
    checkpoint = files.write(released_state())
    files.convert(checkpoint)
    assert "is there already; replace it with --force" in files.refused(checkpoint)
    files.convert(checkpoint, "--force", "--seed", "3")
    assert read_boosting(files.output).header.seed == 3


def without(*names: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key not in names}


def replaced(name: str, value: Any) -> Callable[[State], State]:
    return lambda state: state | {name: value}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without(DEEP.format("text", 1)), "there is no text_encoder.transformer.resblocks.1.VPT_shallow_FIRST"),
        (without(CTX), "there is no prompt_learner_teacher.ctx"),
        (without(*VISION), "beside the other tower there is no image_encoder.VPT_FIRST"),
        (replaced(DEEP.format("image", 0), torch.ones(5, 64)), "no image_encoder.transformer.resblocks.2.VPT_sh"),
        (replaced(DEEP.format("image", 1), torch.ones(3, 64)), "shape (3, 64) beside image_encoder.VPT_FIRST of (5,"),
        (replaced(CTX, [1.0, 2.0]), "holds list as prompt_learner_teacher.ctx, where numbers (tokens, width) belong"),
        (replaced(CTX, torch.ones(8, 4, 128)), "holds a tensor of shape (8, 4, 128) as prompt_learner_teacher.ctx"),
        (
            replaced(CTX, torch.ones(4, 128).int()),
            "a tensor of shape (4, 128) as prompt_learner_teacher.ctx",
        ),
        (replaced(CTX, torch.ones(0, 128)), "a tensor of shape (0, 128) as prompt_learner_teacher.ctx"),
        (replaced(CTX, torch.ones(1).as_strided((10**9, 10**9), (0, 0))), "a tensor of shape (1000000000, 1000000000)"),
        (replaced(CTX, torch.full((4, 128), torch.nan)), "numbers in prompt_learner_teacher.ctx that are not finite"),
        (replaced(DEEP.format("text", 3), torch.ones(4, 128)), "text tokens of width 128 in 4 layers, but the text"),
        (lambda state: {"prompt_learner.ctx": state[CTX]}, "CoOp becomes the folder of a run, not a file"),
        (lambda state: {"a": 1, "b": 1, "c": 1, "d": 1}, "only a, b, c, ...; give phase 1's checkpoint"),
        (lambda state: {}, "only nothing; give phase 1's checkpoint"),
        (lambda state: {"text.boosting.values": state[CTX]}, "phase 2 takes it as it is"),
        (lambda state: released_state(1), "was made with another student than"),
        (replaced("image_encoder.conv1.weight", torch.ones(64, 3, 4, 4)), "their visual.conv1.weight differ"),
        (replaced("text_encoder.ln_final.bias", torch.full((128,), torch.nan)), "their ln_final.bias differ"),
    ],
)
def test_state_dicts_that_are_refused(files: Files, change: Callable[[State], State], sentence: str) -> None:
    assert sentence in files.refused(files.write(change(released_state())))


@pytest.mark.parametrize("epoch", [None, "20", 0, True])
def test_unknown_epochs(files: Files, epoch: Any) -> None:
    assert "name them with --epochs" in files.refused(files.write(released_state(), epoch=epoch))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            ["--dataset", "eurosat"],
            "DATASET.NAME in the data set's config, e.g. EuroSAT, not 'eurosat'",
        ),
        (["--seed", "-1"], "--seed is 0 or more"),
        (["--temperature", "nan"], "--temperature above 0"),
        (["--epochs", "0"], "--epochs 1 or more"),
        (["-o", "tokens.pth.tar"], "ends in .safetensors, not like tokens.pth.tar"),
        (["--classnames", "/nowhere"], "the class names in /nowhere cannot be read"),
        (["--classnames", os.devnull], "holds no class names"),
        (["--student", "ViT-B/61"], "unknown CLIP 'ViT-B/61'"),
    ],
)
def test_wrong_options(files: Files, more: list[str], sentence: str) -> None:
    assert sentence in files.refused(files.write(released_state()), *more)


def test_files_that_are_no_checkpoint(files: Files) -> None:
    path = files.folder / "model.pth.tar-20"
    assert f"no checkpoint at {path}" in files.refused(path)
    files.write(released_state())
    path.write_bytes(path.read_bytes()[:5000])
    assert "is not a whole checkpoint of torch 1.6 or later" in files.refused(path)
    torch.save({"state_dict": released_state()}, path, _use_new_zipfile_serialization=False)
    assert "is not a whole checkpoint of torch 1.6 or later" in files.refused(path)
    for content in ([1, 2], {"epoch": 20}, {"state_dict": [1]}):
        torch.save(content, path)
        assert "is no checkpoint of Dassl: it has no state_dict" in files.refused(path)


class Harmful:
    """Calls a function when a trusting reader meets it."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


@pytest.mark.parametrize("entry", ["scheduler", "epoch", "state_dict", CTX])
@pytest.mark.parametrize("function", [os.mkdir, eval])
def test_nothing_in_a_file_is_run(files: Files, function: Any, entry: str) -> None:
    made = files.folder / "made"
    harmful = Harmful(function, f"__import__('os').mkdir({str(made)!r})" if function is eval else str(made))
    if entry == CTX:
        checkpoint = files.write(released_state() | {CTX: harmful})
    else:
        checkpoint = files.write(released_state(), **{entry: harmful})
    if entry == "scheduler":
        files.convert(checkpoint)
    else:
        files.refused(checkpoint)
    assert not made.exists()
    torch.load(checkpoint, map_location="cpu", weights_only=False)  # shows that the file is harmful
    assert made.exists()


def test_an_old_file_with_an_archive_behind_it(files: Files) -> None:
    """It looks like a zip archive, but a trusting reader would take its front."""
    made = files.folder / "made"
    harmful = {"state_dict": Harmful(os.mkdir, str(made))}
    checkpoint = files.folder / "model.pth.tar-20"
    torch.save(harmful, checkpoint, _use_new_zipfile_serialization=False)
    front = checkpoint.read_bytes()
    torch.save({}, checkpoint)
    checkpoint.write_bytes(front + checkpoint.read_bytes())
    assert zipfile.is_zipfile(checkpoint)
    files.refused(checkpoint)
    assert not made.exists()


def test_objects_come_back_inert(tmp_path: Path) -> None:
    content = {"queue": deque([1, 2]), "path": tmp_path, "tensor": torch.ones(2), "names": OrderedDict(a=1)}
    torch.save(content, tmp_path / "file")
    read = read_inertly(tmp_path / "file")
    assert [type(read[key]).__name__ for key in content] == ["Inert", "Inert", "Tensor", "OrderedDict"]
    assert vars(read["path"]) == {}
    assert torch.equal(read["tensor"], torch.ones(2))
    assert read["names"] == {"a": 1}


@pytest.mark.filterwarnings("default")  # what torch warns of is refused whatever the filters are
def test_torchscript_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What loads such archives runs code in them."""
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        for name, content in (("data.pkl", pickle.dumps({}, 2)), ("constants.pkl", b""), ("version", b"3\n")):
            archive.writestr(f"archive/{name}", content)
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("the archive was handed over"))
    with pytest.raises(CasPLError, match="cannot be read: 'torch.load' received a zip file that looks like a TorchS"):
        read_inertly(tmp_path / "file")


def test_as_a_program(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "caspl.convert"]
    done = subprocess.run([*line, str(tmp_path), "--dataset", "EuroSAT"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: no checkpoint at {tmp_path}\n"
    helped = subprocess.run([*line, "--help"], capture_output=True, text=True, check=False)
    assert helped.returncode == 0
    assert "--student CLIP" in helped.stdout
