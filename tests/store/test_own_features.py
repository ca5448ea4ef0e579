"""A method's own frozen image features from a store: the same bits as without, and an image tower that rests."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import train
from caspl.classifier import Classifier
from caspl.dassl.views import NamedViews
from caspl.model import Output
from caspl.step import Batch, Terms
from caspl.store import Store, encode_alike, rounded
from caspl.store.__main__ import main
from caspl.teachers import CLIPTeacher, Reference
from caspl.towers.vision import VisionTower
from tests.runs import Runs, learned
from tests.store.test_phase1 import CROPS
from trainers.coop import CoOp

CONFIGS = {
    "CoOp": "CoOp/vit_b16",
    "CoCoOp": "CoCoOp/vit_b16_c4_ep10_batch1_ctxv1",
    "KgCoOp": "KgCoOp/vit_b16_ep100_ctxv1",
    "PromptSRC": "PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx",
    "PromptOT": "PromptOT/vit_b16_ep40_batch4_4+4ctx",
    "ProGrad": "ProGrad/vit_b16_ep100",
    "TCP": "TCP/vit_b16_ep50",
    "LASP": "LASP/vit_b16_ep25_batch32",
    "BayesPrompt": "BayesPrompt/vit_b16_c4_ep10_batch1_ctxv1",
    "ZeroshotCLIP": "ZeroshotCLIP/vit_b16",
    "MaPLe": "MaPLe/vit_b16_c2_ep5_batch4_2ctx",
}
SHORT = ["DATASET.NUM_SHOTS", "2", "OPTIM.MAX_EPOCH", "2", "TEST.SAVE_PREDICTIONS", "True"]


def arguments(runs: Runs, trainer: str, out: str, store: str = "", views: int = 2, *more: str) -> list[str]:
    method = trainer.removeprefix("CasPL_").removeprefix("KDPL_").removeprefix("FDBPL_")
    section = {"ZeroshotCLIP": "ZSCLIP", "BayesPrompt": "BAYES"}.get(method, method.upper())
    options = ["TRAINER.CASPL.VIEWS", str(views), "TRAINER.CASPL.STORE", store and str(runs.folder / store)]
    options += [f"TRAINER.{section}.PREC", "fp32", "TRAINER.KDPL.TEACHER", runs.clips["teacher"]]
    options += ["TRAINER.FDBPL.TEACHER", runs.clips["teacher"], "TRAINER.MAPLE.PROMPT_DEPTH", "2"]
    options += ["TRAINER.TCP.LAYER", "1"]  # the small tower has few
    options += ["TRAINER.LASP.FINETUNE_VIT_LN", "False"]  # else the image tower learns
    return runs.arguments(trainer, CONFIGS[method], out, *CROPS, *SHORT, *options, *more)


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("the image tower looked")


def answers(folder: Path) -> list[list[str]]:
    (path,) = folder.rglob("predictions*.csv")
    with path.open(newline="") as file:
        return list(csv.reader(file))


def rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests that look at images see features as a store would give them."""
    encode = Classifier.encode_image

    class Own:
        identity = ""

        def __init__(self, classifier: Classifier) -> None:
            self.classifier = classifier

        def encode_image(self, images: Tensor) -> Tensor:
            return encode(self.classifier, images)

    monkeypatch.setattr(Classifier, "encode_image", lambda self, images: rounded(encode_alike(Own(self), images)))


def kept_as_online(trainer: str, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a store the same is learned as without, while no tower looks at an image and no file is opened."""
    if trainer.startswith("CasPL_"):
        assert train.main(runs.phase1("boost", "OPTIM.MAX_EPOCH", "1")) == 0
    with monkeypatch.context() as patched:
        rounding(patched)
        assert train.main(arguments(runs, trainer, "online")) == 0
    assert main(["build", *arguments(runs, trainer, "built", "store")]) == 0
    assert main(["verify", str(runs.folder / "store")]) == 0
    monkeypatch.setattr(VisionTower, "forward", never)
    monkeypatch.setattr(NamedViews, "load", never)
    assert train.main(arguments(runs, trainer, "kept", "store")) == 0
    expected = learned(runs.folder / "online")
    assert expected
    assert learned(runs.folder / "kept") == expected


@pytest.mark.parametrize("trainer", ["CoOp", "CoCoOp", "KgCoOp", "TCP", "CasPL_CoOp", "LASP", "BayesPrompt"])
def test_the_image_tower_of_a_text_only_method_looks_once(
    trainer: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_as_online(trainer, runs, monkeypatch)
    assert answers(runs.folder / "kept") == answers(runs.folder / "online")


def test_losses_of_ones_own_may_look_at_images() -> None:
    """Those of a subclass, unless it says what its losses do."""

    class Looks(CoOp):
        def losses(self, output: Output, batch: Batch) -> Terms:
            return {"ce": output.logits.sum() + batch.images.sum()}

    class SaysSo(Looks):
        text_only = True

    assert CoOp._looks_at_no_image()
    assert not Looks._looks_at_no_image()
    assert SaysSo._looks_at_no_image()


def test_views_and_not_the_store_decide_what_is_learned(runs: Runs) -> None:
    assert train.main(arguments(runs, "CoOp", "two")) == 0
    assert train.main(arguments(runs, "CoOp", "one", "", 1)) == 0
    assert learned(runs.folder / "one") != learned(runs.folder / "two")


@pytest.mark.parametrize("trainer", ["PromptSRC", "PromptOT", "ProGrad", "KDPL_PromptSRC"])
def test_a_reference_looks_once(trainer: str, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    more = ("TRAINER.PROMPTSRC.GPA_MEAN", "2")
    assert train.main(arguments(runs, trainer, "online", "", 2, *more)) == 0
    monkeypatch.setattr(Reference, "encode_image", never)
    assert train.main(arguments(runs, trainer, "kept", "store", 2, *more)) == 0
    assert learned(runs.folder / "kept") == learned(runs.folder / "online")
    # Of plain CLIP: a text-only method with the same student reads the very same store.
    before = {path: path.read_bytes() for path in runs.folder.glob("store/*/*/*")}
    assert train.main(arguments(runs, "CoOp", "coop", "store")) == 0
    assert before
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("trainer", ["KDPL_CoOp", "FDBPL_CoOp", "CasPL_FDBPL_CoOp"])
def test_a_text_only_method_is_taught_without_any_image(
    trainer: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the teacher nor the student looks at any."""
    kept_as_online(trainer, runs, monkeypatch)
    assert answers(runs.folder / "kept") == answers(runs.folder / "online")


@pytest.mark.parametrize("trainer", ["KDPL_MaPLe", "FDBPL_PromptSRC"])
def test_a_teacher_looks_once(trainer: str, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing of the student is frozen."""
    more = ("TRAINER.PROMPTSRC.GPA_MEAN", "2")
    assert train.main(arguments(runs, trainer, "online", "", 2, *more)) == 0
    assert train.main(arguments(runs, trainer, "first", "store", 2, *more)) == 0
    monkeypatch.setattr(CLIPTeacher, "encode_image", never)
    assert train.main(arguments(runs, trainer, "kept", "store", 2, *more, "--seed", "1")) == 0
    assert learned(runs.folder / "kept") == learned(runs.folder / "first") == learned(runs.folder / "online")


def test_phase_1_and_taught_methods_share_the_teachers_store(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the method, the classes and the template: features are kept, and labels computed from them."""
    options = ["TRAINER.CASPL.VIEWS", "2", "TRAINER.CASPL.STORE", str(runs.folder / "store"), *CROPS]
    assert main(["build", *runs.phase1("boost", *options, "OPTIM.MAX_EPOCH", "2")]) == 0
    monkeypatch.setattr(CLIPTeacher, "encode_image", never)
    for trainer in ("KDPL_CoOp", "FDBPL_CoOp"):
        own = ["TRAINER.KDPL.TEACHER_TEMPLATE", "a {}.", "DATASET.SUBSAMPLE_CLASSES", "base"]
        assert train.main(arguments(runs, trainer, trainer, "store", 2, *own)) == 0


def test_plain_and_boosted_students_have_stores_of_their_own(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train.main(runs.phase1("boost", "OPTIM.MAX_EPOCH", "1")) == 0
    for trainer in ("ZeroshotCLIP", "CasPL_ZeroshotCLIP"):
        with monkeypatch.context() as patched:
            rounding(patched)
            assert train.main(arguments(runs, trainer, f"{trainer}-online", views=0)) == 0
        assert main(["build", *arguments(runs, trainer, "built", "store", 0)]) == 0
    folders = [path.parent for path in sorted(runs.folder.glob("store/*/*/store.json"))]
    assert len(folders) == 2
    first, second = (Store.there(folder) for folder in folders)
    assert first.header.identity != second.header.identity
    monkeypatch.setattr(VisionTower, "forward", never)
    for trainer in ("ZeroshotCLIP", "CasPL_ZeroshotCLIP"):
        assert train.main(arguments(runs, trainer, trainer, "store", 0)) == 0
        assert answers(runs.folder / trainer) == answers(runs.folder / f"{trainer}-online")


def test_where_nothing_is_frozen_that_is_said(runs: Runs) -> None:
    assert train.main(arguments(runs, "MaPLe", "maple", "store")) == 0
    log = (runs.folder / "maple" / "log.txt").read_text()
    assert log.count("nothing in MaPLe sees images frozen") == 1
    assert not (runs.folder / "store").exists()
    assert train.main(arguments(runs, "ZeroshotCLIP", "zero")) == 0
    assert "ZeroshotCLIP sees no training images" in (runs.folder / "zero" / "log.txt").read_text()
