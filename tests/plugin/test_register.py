"""What ``extend_cfg`` and ``cascade`` register, and how the plug-in speaks."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from yacs.config import CfgNode

import caspl.plugin
from caspl.dassl.plugin.own_name import OWN
from caspl.dassl.plugin.phase1_trainer import CasPL
from caspl.dassl.plugin.speech import speak
from caspl.dassl.section import DEFAULTS
from caspl.errors import CasPLError
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from tests.conftest import CLASSES
from tests.no_data import without_data
from tests.plugin import standins
from tests.stubs import make_cfg
from tests.tiny_clip import SIZES


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The registry, the logger and the hook are the process's: put them back."""
    logger, hook, disabled = logging.getLogger("caspl"), sys.excepthook, logging.root.manager.disable
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    before = dict(TRAINER_REGISTRY._objects)
    for name, trainer in before.items():  # what other tests have registered is not to be cascaded here
        if not trainer.__module__.startswith("trainers."):
            del TRAINER_REGISTRY._objects[name]
    yield
    logger.handlers[:], logger.propagate, sys.excepthook = handlers, propagate, hook
    logger.setLevel(level)
    logging.disable(disabled)
    caspl.dassl.plugin.speech._installed.clear()
    TRAINER_REGISTRY._objects.clear()
    TRAINER_REGISTRY._objects.update(before)


class Foreign(standins.CoOp):
    """A trainer of another code base."""


class Declines(standins.CoOp):
    cascades = False


def test_extend_cfg(capsys: pytest.CaptureFixture[str]) -> None:
    for trainer in (Foreign, Declines):
        TRAINER_REGISTRY.register(trainer)
    cfg = get_cfg_default()
    cfg.TRAINER.CASPL = CfgNode({"TEMPERATURE": 2.0})
    caspl.plugin.extend_cfg(cfg)
    caspl.plugin.extend_cfg(cfg)  # changes nothing
    assert cfg.TRAINER.CASPL == DEFAULTS | OWN | {"TEMPERATURE": 2.0}
    assert "CasPL_Foreign" in TRAINER_REGISTRY
    assert "CasPL_Declines" not in TRAINER_REGISTRY
    assert TRAINER_REGISTRY.get("CasPL").__module__ == "trainers.caspl"  # ours was there: it stays, and that is said
    printed = capsys.readouterr().out
    assert printed.count("registered: CasPL_Foreign") == 1
    assert "a trainer CasPL is registered already" in printed


def test_trainers_that_come_too_late_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    TRAINER_REGISTRY._objects.clear()
    caspl.plugin.extend_cfg(get_cfg_default())
    assert TRAINER_REGISTRY.registered_names() == ["CasPL"]
    assert TRAINER_REGISTRY.get("CasPL").__module__ == "caspl.dassl.plugin.phase1_trainer"
    assert "there are no trainers to cascade: import yours before" in capsys.readouterr().out


def test_one_trainer_with_hints() -> None:
    made = caspl.plugin.cascade(Foreign, class_start=5)
    assert TRAINER_REGISTRY.get("CasPL_Foreign") is made
    assert issubclass(made, Foreign)
    assert made.__module__ == Foreign.__module__
    assert caspl.plugin.register_cascades() == []
    with pytest.raises(CasPLError, match=r"call caspl.plugin.extend_cfg\(cfg\) in train.py"):
        made(get_cfg_default())


def test_wrong_input_ends_in_a_sentence_and_all_else_in_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[type[BaseException]] = []
    sys.excepthook = lambda kind, error, trace: seen.append(kind)
    speak()
    outer = sys.excepthook
    sys.excepthook = lambda *args: outer(*args)  # somebody wraps ours ...
    speak()  # ... and it is called again
    sys.excepthook(CasPLError, CasPLError("two\nlines"), None)
    sys.excepthook(ValueError, ValueError(), None)
    assert capsys.readouterr().err == "error: two lines\n"
    assert seen == [ValueError]


def test_our_sentence_stays_the_last_word_where_a_program_raises_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    sys.excepthook = lambda kind, error, trace: seen.append(kind.__name__)
    speak()
    try:
        try:
            raise CasPLError("do this")
        except CasPLError as inner:
            raise RuntimeError("training failed") from inner
    except RuntimeError as outer:
        sys.excepthook(RuntimeError, outer, None)
    assert capsys.readouterr().err == "error: do this\n"
    assert seen == ["RuntimeError"]


@pytest.mark.parametrize(
    ("pair", "note"),
    [
        (
            ["TRAINER.COOP.CTX_INIT", "a photo"],
            "TRAINER.COOP.CTX_INIT is a key of this code base's own config, none of ",
        ),
        (
            ["TRAINER.COOP.OTHER", "1"],
            "TRAINER.COOP.OTHER is a key of this code base's own config, which does not know ",
        ),
        (["TRAINER.CASPL.TEMPERATURE", "2"], "TRAINER.CASPL.TEMPERATURE is a setting of CasPL: it is a float, 1.0 by "),
        (
            ["TRAINER.CASPL.TEMPERTURE", "2.0"],
            "there is no setting TRAINER.CASPL.TEMPERTURE of CasPL; there are IMAGES",
        ),
    ],
)
def test_a_clash_of_types_says_whose_key_it_is(pair: list[str], note: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a code base whose default is False where its users write words (ProGrad's CTX_INIT)."""
    cfg = get_cfg_default()
    cfg.TRAINER.COOP = CfgNode({"CTX_INIT": False})
    sys.excepthook = lambda *args: None
    caspl.plugin.extend_cfg(cfg)
    capsys.readouterr()
    with pytest.raises((ValueError, AssertionError)) as caught:
        cfg.merge_from_list(pair)
    sys.excepthook(caught.type, caught.value, None)
    assert capsys.readouterr().err.startswith(f"note: {note}")


def test_a_key_of_ours_that_a_code_base_has_otherwise_is_refused() -> None:
    cfg = get_cfg_default()
    cfg.TRAINER.CASPL = CfgNode({"TRAINABLE": "False"})
    with pytest.raises(CasPLError, match=r"own config has TRAINER.CASPL.TRAINABLE = 'False' \(str\), a key that the"):
        caspl.plugin.extend_cfg(cfg)


def test_messages_are_seen_although_all_logging_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    """The original Dassl turns it off when it is imported."""
    logging.disable(logging.WARNING)
    speak()
    logging.getLogger("caspl.dassl.plugin.texts").warning("something to know")
    assert capsys.readouterr().out == "something to know\n"


def test_phase_1_checkpoints_of_version_0_1_0_load(clips: dict[str, str], tmp_path: Path) -> None:
    """They called the tokens otherwise and said nothing of them; for evaluation there is no step to give its state."""
    settings = {"TRAINER__CASPL__BOOSTING_DIR": str(tmp_path), "DATASET__NAME": "EuroSAT"}
    cfg = make_cfg("CasPL", clips["student"], SIZES.resolution, **settings)
    trainer = without_data(CasPL, CLASSES)(cfg)
    (module,) = trainer._models.values()
    tokens = {name.replace(".boosting", ""): torch.full_like(value, 2.0) for name, value in module.tensors().items()}
    assert set(tokens) == {"text.values", "vision.values"}
    module.load_state_dict(tokens)
    assert all((value == 2.0).all() for value in module.tensors().values())
    assert not hasattr(trainer, "step")
