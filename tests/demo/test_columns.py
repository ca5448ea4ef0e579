"""The columns of ``caspl demo``: each says what the model that it stands for says by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import caspl
from caspl.build import boosting_tokens, read_built
from caspl.demo.columns import SideBySide, side_by_side
from caspl.demo.examples import drawn, of_folder
from caspl.errors import CasPLError
from caspl.pixels import Pixels
from caspl.predictor.calibration import write_temperature
from caspl.predictor.images import Transform
from caspl.results.record import RunRecord, write_record
from caspl.towers import tokenize
from caspl.zoo import at_hand, load_clip
from tests.cases import CASES
from tests.conftest import CLASSES, boosting_file
from tests.test_front_door import saved

PICTURE = drawn()[0].read()
OTHERS = ["a cat", "a dog", "a cow"]


def titles(shown: SideBySide) -> list[str]:
    return [column.title for column in shown.columns]


def zero_shot(name: str, template: str, pixels: Pixels) -> list[float]:
    """By CLIP's own recipe, of ``OTHERS``."""
    clip = load_clip(name)
    with torch.no_grad():
        image = F.normalize(clip.encode_image(Transform(pixels)(PICTURE)[None]))
        text = F.normalize(clip.encode_text(tokenize([template.format(one) for one in OTHERS])))
        return (clip.logit_scale.exp() * image @ text.t()).softmax(-1)[0].tolist()


def of(model: caspl.Predictor) -> list[float]:
    return (model.logits(PICTURE) / model.temperature).softmax(-1)[0].tolist()


def test_a_cascade_beside_what_it_is_made_of(run: Path, clips: dict[str, str], tmp_path: Path) -> None:
    shown = side_by_side(run, device="cpu", teacher=clips["teacher"], template="it is {}.")
    assert titles(shown) == ["Student", "Boosted", "Cascade", "Teacher"]
    assert (shown.lead, shown.classes, shown.note) == (2, list(CLASSES), "")
    cascade = caspl.load(run, device="cpu")
    boosted = caspl.load(_boosting(run, tmp_path), clips["student"], device="cpu")
    for classes in (list(CLASSES), OTHERS):  # and back to others
        found = [column.probabilities(PICTURE, classes) for column in shown.columns]
        assert all(sum(one) == pytest.approx(1) for one in found)
        assert found[1] == pytest.approx(of(boosted.set_classes(classes)), abs=1e-5)
        assert found[2] == pytest.approx(of(cascade.set_classes(classes)), abs=1e-5)
    assert found[0] == pytest.approx(zero_shot(clips["student"], "it is {}.", cascade.pixels), abs=1e-5)
    assert found[3] == pytest.approx(zero_shot(clips["teacher"], "it is {}.", Pixels(32)), abs=1e-5)
    assert len({tuple(one) for one in found}) == 4


def _boosting(run: Path, folder: Path) -> Path:
    """The boosting file that the run was given."""
    text, _ = boosting_tokens(read_built(run))
    for path in folder.rglob("*.safetensors"):
        if "boosting" in path.as_posix() and torch.equal(boosting_tokens(read_built(path))[0], text):  # type: ignore[arg-type]
            return path
    raise AssertionError("the case has no boosting file")


def test_a_temperature_counts(run: Path) -> None:
    before = side_by_side(run, device="cpu", teacher="").columns[2].probabilities(PICTURE, CLASSES)
    write_temperature(run, 2.0, caspl.load(run, device="cpu").tokens, {})
    column = side_by_side(run, device="cpu", teacher="").columns[2]
    expected = (torch.tensor(before).log() / 2).softmax(-1).tolist()
    assert column.probabilities(PICTURE, CLASSES) == pytest.approx(expected, abs=1e-5)
    assert column.what.endswith(", calibrated")


def test_without_boosting_and_boosting_alone(clips: dict[str, str], tmp_path: Path) -> None:
    saved(CASES[2], False, clips, tmp_path)
    shown = side_by_side(tmp_path / "run", device="cpu")
    assert titles(shown) == ["Student", "Adapted"]
    assert shown.note.startswith("The teacher ViT-L/14 is not on this machine; --teacher ViT-L/14 fetches it")
    path = boosting_file(tmp_path / "boosting.safetensors")
    shown = side_by_side(path, clips["student"], device="cpu")
    assert titles(shown) == ["Student", "Boosted"]
    assert "The teacher teacher is not" in shown.note  # as its header has it
    assert "“a photo of a {}.”" in shown.columns[0].what


def test_an_exported_predictor_stands_alone(run: Path, tmp_path: Path) -> None:
    caspl.load(run, device="cpu").export(tmp_path / "merged")
    shown = side_by_side(tmp_path / "merged", device="cpu")
    assert titles(shown) == ["Exported"]
    (column,) = shown.columns
    whole = column.probabilities(PICTURE, CLASSES)
    assert len(column.probabilities(PICTURE, CLASSES[:2])) == 2
    assert column.probabilities(PICTURE, CLASSES) == whole  # some, and then all again
    with pytest.raises(CasPLError, match="'a cat' is not to be had"):
        column.probabilities(PICTURE, OTHERS)


def test_the_boosting_file_names_the_teacher(run: Path, clips: dict[str, str], tmp_path: Path) -> None:
    """That with the very tokens, found where ``caspl fit`` keeps it or where the record says."""
    assert "TEACHER" not in side_by_side(run, device="cpu").note  # none is found: the paper's is named
    path = _boosting(run, tmp_path)
    (run / "boost").mkdir()
    path.rename(run / "boost" / "seed1.safetensors")
    note = side_by_side(run, device="cpu").note
    (run / "boost").rename(tmp_path / "elsewhere")
    settings = {"TRAINER": {"CASPL": {"BOOSTING_DIR": str(tmp_path / "elsewhere")}}}
    write_record(run, RunRecord(trainer="CasPL_PromptSRC", dataset="EuroSAT", shots=4, seed=1, classes="all",
                                metrics={"accuracy": 1.0}, settings=settings))  # fmt: skip
    assert "The teacher teacher is not" in note
    assert side_by_side(run, device="cpu").note == note


def test_at_hand(clips: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASPL_WEIGHTS", str(tmp_path))
    assert at_hand("tiny-teacher")
    assert at_hand(clips["teacher"])
    assert at_hand(f"ViT-B-16:{clips['teacher']}")
    assert not at_hand("ViT-L/14")
    assert not at_hand("ViT-B-16:openai")
    (tmp_path / "ViT-L-14.pt").write_bytes(b"")
    assert at_hand("ViT-L/14")


def test_examples(tmp_path: Path) -> None:
    names = [example.name for example in drawn()]
    assert len(set(names)) == len(names) == 10
    for number in range(30):
        PICTURE.save(tmp_path / f"{number:02d}.png")
    found = of_folder(tmp_path)
    assert (len(found), found[0].name, found[-1].name) == (24, "00.png", "29.png")
    assert [found[0].read().getpixel((x, 3)) for x in range(9)] == [PICTURE.getpixel((x, 3)) for x in range(9)]
