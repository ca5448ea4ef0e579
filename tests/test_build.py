"""A model from its checkpoint alone: no config, no data manager, no trainer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from caspl.boosting import Header, read_boosting, write_boosting
from caspl.boosting.file import KEY
from caspl.build import load_model
from caspl.checkpoint import ABOUT
from caspl.errors import CasPLError
from caspl.head import HEADS
from caspl.prompts import Prompts, Segment, normal_tokens
from caspl.prompts.segment import KINDS
from caspl.towers import CLIP
from caspl.zoo import weights_hash
from tests.cases import CASES, Case
from tests.conftest import CLASSES, boosting_file
from tests.tiny_clip import SIZES, tiny_clip, tiny_state_dict
from tests.trainers.building import batch, build, logits

SOME = {case.trainer for case in CASES[:9]} | {"BayesPrompt", "COMMA", "CoPrompt", "LASP", "PromptKD"}
"""Trainers whose segments differ from each other's."""
LEARNING = [case for case in CASES if case.trained and case.trainer in SOME]
PAIRS = [(case, boosted) for case in LEARNING for boosted in (False, True)]
NAMES = [("CasPL_" if boosted else "") + case.trainer for case, boosted in PAIRS]


@pytest.mark.parametrize(("case", "boosted"), PAIRS, ids=NAMES)
def test_a_checkpoint_alone_gives_back_the_model(
    case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path
) -> None:
    trainer = build(case, boosted, clips, tmp_path)
    trainer.forward_backward(batch())
    trainer.save_model(0, str(tmp_path / "run"))
    description = trainer.model.description
    assert json.loads(json.dumps(description)) == description
    state = torch.random.get_rng_state()
    model = load_model(tmp_path / "run")
    assert torch.equal(torch.random.get_rng_state(), state)  # nothing was drawn
    with torch.no_grad():
        found = model(batch(9)["img"]).logits
    torch.testing.assert_close(found, logits(trainer), rtol=0, atol=1e-5)
    assert Prompts.of(description).describe() == description
    trained = [value for value in model.parameters() if value.requires_grad]
    assert len(trained) == len(case.trained)


def test_other_classes_and_another_place_of_the_student(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], True, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    file = tmp_path / "run" / "prompt_learner" / "model.pth.tar-1"
    model = load_model(file, tiny_clip(), ["Pasture", "a new class"])
    assert model(batch()["img"]).logits.shape == (4, 2)
    with pytest.raises(CasPLError, match="were made for the student .*student"):
        load_model(file, CLIP.from_state_dict(tiny_state_dict(1)))


def test_class_specific_tokens_stay_with_their_classes(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path, TRAINER__COOP__CSC=True)
    trainer.save_model(0, str(tmp_path / "run"))
    assert load_model(tmp_path / "run").text.classnames == list(CLASSES)
    with pytest.raises(CasPLError, match="class-specific: they fit no other classes"):
        load_model(tmp_path / "run", classnames=[f"other {name}" for name in CLASSES])


def test_a_boosting_file_gives_boosting_alone(clips: dict[str, str], tmp_path: Path) -> None:
    path = boosting_file(tmp_path / "boosting.safetensors")
    model = load_model(path, tiny_clip())
    assert not any(value.requires_grad for value in model.parameters())
    alone = build(CASES[0], True, clips, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(model(batch(9)["img"]).logits, logits(alone), rtol=0, atol=1e-5)


def rewritten(path: Path, change: Any) -> Path:
    content = torch.load(path, weights_only=True)
    change(content["state_dict"])
    torch.save(content, path)
    return path


def adapting(state: dict[str, Any]) -> dict[str, Any]:
    return state[ABOUT]["description"]["segments"]["text"]["adapting"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state[ABOUT].pop("description"), "does not say how its model is built"),
        (lambda state: state[ABOUT]["description"].pop("segments"), "description of the prompts is damaged"),
        (lambda state: adapting(state).update(kind="os.system"), "the kind 'os.system', which is not known"),
        (lambda state: adapting(state).update(shape=[9, 10**9, 10**10]), "damaged"),
        (lambda state: adapting(state).update(shape=[9, 10**5, 10**4]), "not those that it describes"),
        (lambda state: state.update({"text.adapting.values": torch.zeros(1, 9, 128)}), "not those that it describes"),
        (lambda state: state.pop(ABOUT), "no checkpoint of this library"),
        (lambda state: state[ABOUT].pop("student"), "damaged checkpoint"),
    ],
)
def test_damaged_checkpoints(change: Any, sentence: str, clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    path = rewritten(tmp_path / "run" / "prompt_learner" / "model.pth.tar-1", change)
    with pytest.raises(CasPLError, match=sentence):
        load_model(path)


def test_where_there_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="no run and no checkpoint"):
        load_model(tmp_path / "absent")
    with pytest.raises(CasPLError, match="holds no checkpoint"):
        load_model(tmp_path)


def test_a_kind_of_ones_own_comes_back_once_its_module_is_there() -> None:
    class Mine(Segment, kind="tests.mine"):
        pass

    class Nameless(Segment):
        pass

    for segment_type, known in ((Mine, True), (Nameless, False)):
        prompts = Prompts([segment_type("adapting", normal_tokens(1, 2, SIZES.text_width))])
        description = prompts.describe()
        if known:
            assert type(Prompts.of(description).before[0]) is Mine
        else:
            with pytest.raises(CasPLError, match=r"kind .*Nameless.* not known"):
                Prompts.of(description)


def test_boosting_files_of_both_formats(tmp_path: Path) -> None:
    student = weights_hash(tiny_clip())
    whole = Header(
        *("student", student, "teacher", "EuroSAT", CLASSES, "a {}.", 1, 20, 1.0),
        description=Prompts().describe(), split="abc", pixels={"size": 32}, steps=7,
    )  # fmt: skip
    path = write_boosting(tmp_path / "new.safetensors", whole, torch.zeros(1, 2, 3), None)
    assert read_boosting(path).header == whole
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()[KEY])
    for key in ("description", "split", "pixels", "steps"):
        del content[key]
    save_file({"text": torch.zeros(1, 2, 3)}, tmp_path / "old.safetensors", {KEY: json.dumps(content | {"format": 1})})
    header = read_boosting(tmp_path / "old.safetensors").header
    assert (header.format, header.description, header.split, header.steps) == (1, None, "", 0)


def test_a_process_that_knows_no_trainer_knows_all_kinds() -> None:
    """Of segments and heads that the library itself brings."""
    lines = (
        "import caspl.build; from caspl.prompts.segment import KINDS; from caspl.head import HEADS; "
        "print(sorted(KINDS), sorted(HEADS))"
    )
    said = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout
    here = [
        sorted(name for name, kind in kinds.items() if kind.__module__.startswith("caspl.")) for kinds in (KINDS, HEADS)
    ]
    assert "projector" in here[0]
    assert said == f"{here[0]} {here[1]}\n"
