"""Every registered adapting trainer, plain and cascaded: build, one step in each precision, what trains, save, load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from caspl.errors import CasPLError
from caspl.precision import Precision
from dassl.engine import TRAINER_REGISTRY
from tests.cases import CASES, Case
from tests.conftest import CLASSES, boosting_file
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES

ROWS = [(case, boosted) for case in CASES for boosted in (False, True)]
IDS = [("CasPL_" if boosted else "") + case.trainer for case, boosted in ROWS]
every_row = pytest.mark.parametrize(("case", "boosted"), ROWS, ids=IDS)


def build(case: Case, boosted: bool, clips: dict[str, str], folder: Path, precision: str = "fp32", **more: Any) -> Any:
    name = ("CasPL_" if boosted else "") + case.trainer
    section = TRAINER_REGISTRY.get(name).section
    settings = {f"TRAINER__{section}__{key}": value for key, value in (case.options | {"PREC": precision}).items()}
    settings |= {"DATASET__NAME": "EuroSAT", "OUTPUT_DIR": str(folder / "run"), "OPTIM__LR": 0.01}
    settings |= {"OPTIM__MAX_EPOCH": 1, "OPTIM__WARMUP_EPOCH": -1}
    if boosted:
        settings["TRAINER__CASPL__BOOSTING"] = str(boosting_file(folder / "boosting.safetensors"))
    torch.manual_seed(3)
    cfg = make_cfg(name, clips["student"], SIZES.resolution, **(settings | more))
    trainer = make_trainer(cfg, CLASSES)
    trainer.prepare()
    trainer.num_batches, trainer.batch_idx = 2, 0
    return trainer


def batch(seed: int = 0, count: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, SIZES.resolution, SIZES.resolution, generator=generator)
    return {"img": images, "label": torch.randint(len(CLASSES), (count,), generator=generator)}


def logits(trainer: Any) -> Tensor:
    trainer.set_model_mode("eval")
    with torch.no_grad():
        return trainer.model_inference(batch(9)["img"])


def test_every_adapting_trainer_has_a_row() -> None:
    everything = TRAINER_REGISTRY.registered_names()  # among it what other tests register
    ours = {name for name in everything if TRAINER_REGISTRY.get(name).__module__.startswith("trainers.")}
    names = {name for name in ours if not name.startswith("CasPL")}
    assert names == {case.trainer for case in CASES}
    assert ours == names | {f"CasPL_{name}" for name in names} | {"CasPL"}


@every_row
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "amp"])
def test_a_step_changes_exactly_what_is_declared(
    case: Case, boosted: bool, precision: str, clips: dict[str, str], tmp_path: Path
) -> None:
    trainer = build(case, boosted, clips, tmp_path, precision)
    model = trainer.model
    assert {name for name, segment in model.segments().items() if "boosting" in name} == (
        {"text.boosting", "vision.boosting"} if boosted else set()
    )
    if not case.trained:
        assert torch.isfinite(logits(trainer)).all()
        return
    state = trainer._models[trainer.saved_as]
    before = {name: value.clone() for name, value in model.clip.state_dict().items()}
    tokens = {name: value.detach().clone() for name, value in state.named_parameters()}
    summary = trainer.forward_backward(batch())
    assert all(torch.isfinite(torch.tensor(value)) for value in summary.values())
    changed = {name for name, value in state.named_parameters() if not torch.equal(value, tokens[name])}
    assert changed == case.trained
    assert set(trainer.segments.learned()) == case.trained
    assert {name for name, parameter in state.named_parameters() if parameter.requires_grad} == case.trained
    assert all(parameter.dtype == torch.float32 for parameter in state.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.clip.state_dict().items())
    assert all(parameter.grad is None for parameter in model.clip.parameters())


@every_row
def test_precisions_agree(case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    exact = logits(build(case, boosted, clips, tmp_path)).softmax(-1)
    for precision, tolerance in (("bf16", 0.1), ("amp", 0.1)):
        near = logits(build(case, boosted, clips, tmp_path, precision)).softmax(-1)
        assert (near - exact).abs().max() < tolerance, precision


@every_row
def test_save_load_and_new_classes(case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    if not case.trained:
        pytest.skip("nothing to save")
    trainer = build(case, boosted, clips, tmp_path)
    trainer.forward_backward(batch())
    trainer.save_model(0, str(tmp_path / "run"))
    expected = logits(trainer)

    again = build(case, boosted, clips, tmp_path, SEED=5)
    assert not torch.equal(logits(again), expected)
    again.load_model(str(tmp_path / "run"), epoch=1)
    assert torch.equal(logits(again), expected)
    again.load_model(str(tmp_path / "run"))  # without an epoch: the last
    again.model.set_classes(["Pasture", "River", "A new class"])
    new = logits(again)
    assert new.shape == (4, 3)
    kept = torch.tensor([CLASSES.index("Pasture"), CLASSES.index("River")])
    torch.testing.assert_close(new[:, :2], expected[:, kept], rtol=0, atol=1e-3)


def test_another_methods_checkpoint_is_refused(clips: dict[str, str], tmp_path: Path) -> None:
    coop, ivlp, promptsrc = CASES[1], CASES[2], CASES[3]
    trainer = build(promptsrc, False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    with pytest.raises(CasPLError, match="no checkpoint at"):
        build(coop, False, clips, tmp_path).load_model(str(tmp_path / "run"))
    with pytest.raises(CasPLError, match=r"no checkpoint of CasPL_IVLP.*text\.boosting"):
        build(ivlp, True, clips, tmp_path).load_model(str(tmp_path / "run"))
    longer = build(ivlp, False, clips, tmp_path, TRAINER__IVLP__N_CTX_TEXT=5)
    with pytest.raises(CasPLError, match=r"text\.adapting\.values of shape \(2, 4, 128\)"):
        longer.load_model(str(tmp_path / "run"), epoch=1)


def test_boosting_depth_and_length_come_from_the_file(clips: dict[str, str], tmp_path: Path) -> None:
    """Whatever the config of the adapting phase says: depths of the two phases are independent."""
    more = {"TRAINER__CASPL__N_CTX_TEXT": 9, "TRAINER__IVLP__PROMPT_DEPTH_TEXT": 1}
    segments = build(CASES[2], True, clips, tmp_path, **more).model.segments()
    assert segments["text.boosting"].values.shape == (3, 3, SIZES.text_width)
    assert segments["vision.boosting"].values.shape == (3, 2, SIZES.vision_width)
    assert segments["text.adapting"].depth == 1


def test_boosting_can_train_on(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], True, clips, tmp_path, TRAINER__CASPL__TRAINABLE=True)
    before = trainer.model.segments()["vision.boosting"].values.clone()
    trainer.forward_backward(batch())
    assert not torch.equal(trainer.model.segments()["vision.boosting"].values, before)


def test_the_reference_of_promptsrc_can_be_boosted(clips: dict[str, str], tmp_path: Path) -> None:
    plain = build(CASES[3], True, clips, tmp_path)
    boosted = build(CASES[3], True, clips, tmp_path, TRAINER__CASPL__REFERENCE="boosted")
    alone = build(CASES[0], True, clips, tmp_path)  # boosting alone
    images = batch()["img"]
    with torch.no_grad():
        torch.testing.assert_close(boosted.reference.encode_image(images), alone.model.encode_image(images))
        torch.testing.assert_close(boosted.reference.text, alone.model.encode_text())
    assert (plain.reference.text - boosted.reference.text).abs().max() > 1e-3


def test_a_boosting_file_of_another_student(clips: dict[str, str], tmp_path: Path) -> None:
    file = boosting_file(tmp_path / "other.safetensors", student="other")
    with pytest.raises(CasPLError, match="was made for the student other"):
        build(CASES[1], True, clips, tmp_path, TRAINER__CASPL__BOOSTING=str(file))


def test_no_boosting_file(clips: dict[str, str], tmp_path: Path) -> None:
    more = {"TRAINER__CASPL__BOOSTING": "", "TRAINER__CASPL__BOOSTING_DIR": str(tmp_path)}
    with pytest.raises(CasPLError, match=r"no boosting file for EuroSAT.*--trainer CasPL"):
        build(CASES[1], True, clips, tmp_path, **more)


def test_wrong_precision_and_wrong_image_size(clips: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="unknown precision 'fp8'"):
        build(CASES[1], False, clips, tmp_path, "fp8")
    with pytest.raises(CasPLError, match=r"takes images of 32 pixels, but INPUT\.SIZE is \(224, 224\)"):
        build(CASES[1], False, clips, tmp_path, INPUT__SIZE=(224, 224))


def test_another_students_tokens_are_refused(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[1], False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    other = build(CASES[1], False, clips | {"student": clips["other"]}, tmp_path)
    with pytest.raises(CasPLError, match="learned for the student"):
        other.load_model(str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("row", "settings", "sentence"),
    [
        (1, {"TRAINER__COOP__N_CTX": 0}, "at least one token"),
        (1, {"TRAINER__COOP__CLASS_TOKEN_POSITION": "centre"}, "unknown class token position 'centre'"),
        (2, {"TRAINER__IVLP__N_CTX_TEXT": -1}, "cannot have -1 tokens"),
        (2, {"TRAINER__IVLP__CTX_INIT": "a", "TRAINER__IVLP__N_CTX_TEXT": 3}, "fewer than the 3 to learn"),
        (2, {"TRAINER__IVLP__N_CTX_TEXT": 74}, "needs .* positions and the tokens before it 75"),
        (3, {"TRAINER__PROMPTSRC__GPA_STD": 0}, "standard deviation 0"),
        (3, {"TRAINER__PROMPTSRC__GPA_MEAN": 1000}, "vanish on all"),
        (0, {"TRAINER__ZSCLIP__TEMPLATE": "a photo."}, "must hold {} once"),
        (0, {"TRAINER__ZSCLIP__TEMPLATE": "a {} of {name}."}, "must hold {} once"),
        (1, {"TRAINER__CASPL__TEACHER_SCALE": "studnt"}, "student or teacher, not 'studnt'"),
        (1, {"TRAINER__CASPL__REFERENCE": "boostd"}, "plain or boosted"),
        (1, {"TEST__FINAL_MODEL": "foo"}, "last_step or best_val"),
    ],
)
def test_wrong_settings(
    row: int, settings: dict[str, Any], sentence: str, clips: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(CasPLError, match=sentence):
        build(CASES[row], False, clips, tmp_path, **settings)


def test_a_skipped_step_leaves_the_tokens(clips: dict[str, str], tmp_path: Path) -> None:
    """What a loss scaler does when gradients overflow; the schedule goes on all the same."""

    class Skipping:
        def scale(self, loss: Tensor) -> Tensor:
            return loss * 1024

        def step(self, optimizer: Any) -> None: ...

        def update(self) -> None: ...

    trainer = build(CASES[1], False, clips, tmp_path)
    trainer.scaler = Skipping()
    before = trainer.segments.learned()["text.adapting.values"].clone()
    trainer.forward_backward(batch())
    assert torch.equal(trainer.segments.learned()["text.adapting.values"], before)


@pytest.mark.parametrize(
    ("mode", "device", "weights", "autocast", "scaled"),
    [
        ("fp32", "cuda", torch.float32, None, False),
        ("fp16", "cuda", torch.float16, None, True),
        ("fp16", "cpu", torch.float32, None, False),
        ("bf16", "cuda", torch.bfloat16, None, False),
        ("amp", "cuda", torch.float32, torch.float16, True),
        ("amp", "cpu", torch.float32, torch.bfloat16, False),
    ],
)
def test_precision_modes(
    mode: str, device: str, weights: torch.dtype, autocast: torch.dtype | None, scaled: bool
) -> None:
    precision = Precision(mode, torch.device(device))
    assert (precision.weights, precision.autocast, precision.scaled) == (weights, autocast, scaled)
