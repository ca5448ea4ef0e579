"""``caspl.load``: one object for every method, whatever it was trained with, equal to the trainer that it came from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import caspl
from caspl.errors import CasPLError
from caspl.pixels import Pixels
from caspl.predictor.images import Transform, read_picture
from caspl.predictor.merged import HEADER, WEIGHTS, read_merged, write_merged
from caspl.predictor.onnx import name_ids, open_text
from dassl.data.transforms import build_transform
from dassl.utils import read_image
from tests.cases import CASES, Case
from tests.conftest import CLASSES, boosting_file
from tests.stubs import make_cfg
from tests.test_build import LEARNING, NAMES, PAIRS
from tests.tiny_clip import SIZES, tiny_clip
from tests.trainers.building import batch, build, logits


def saved(case: Case, boosted: bool, clips: dict[str, str], folder: Path, **more: Any) -> Any:
    """A trainer after a step, which has left a run."""
    trainer = build(case, boosted, clips, folder, **more)
    trainer.forward_backward(batch())
    trainer.save_model(0, str(folder / "run"))
    return trainer


def export(model: caspl.Predictor, folder: Path) -> caspl.Predictor:
    model.export(folder)
    return caspl.load(folder, device="cpu")


@pytest.mark.parametrize(("case", "boosted"), PAIRS, ids=NAMES)
def test_loaded_and_exported_it_answers_as_the_trainer(
    case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path
) -> None:
    trainer = saved(case, boosted, clips, tmp_path)
    expected, pixels = logits(trainer), batch(9)["img"]
    model = caspl.load(tmp_path / "run", device="cpu")
    torch.testing.assert_close(model.logits(pixels), expected, rtol=0, atol=1e-5)
    top = [prediction.name for prediction in model.predict(pixels)]
    assert top == [CLASSES[place] for place in expected.argmax(dim=1).tolist()]
    if case.trainer == "CoCoOp":
        with pytest.raises(CasPLError, match="depend on the image"):
            model.export(tmp_path / "merged")
        with pytest.raises(CasPLError, match="depend on the image"):
            model.encode_text(["a"])
        return
    merged = export(model, tmp_path / "merged")
    assert merged.model is None
    torch.testing.assert_close(merged.logits(pixels), expected, rtol=0, atol=1e-5)
    assert merged.classes == model.classes
    assert merged.pixels == model.pixels


QUICK = ("CasPL_PromptSRC", "CasPL_CoCoOp")  # an export takes seconds
ONNX = [
    pytest.param(*pair, id=name, marks=() if name in QUICK else pytest.mark.slow)
    for pair, name in zip(PAIRS, NAMES, strict=True)
]


@pytest.mark.parametrize(("case", "boosted"), ONNX)
def test_onnx_answers_as_the_trainer(case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    trainer = saved(case, boosted, clips, tmp_path)
    model = caspl.load(tmp_path / "run", device="cpu")
    if case.trainer == "CoCoOp":
        with pytest.raises(CasPLError, match="needs its text tower for every picture"):
            model.export(tmp_path / "merged", onnx=True)
        return
    model.export(tmp_path / "merged", onnx=True)
    session = onnxruntime.InferenceSession(tmp_path / "merged" / "image.onnx")
    pixels, expected = batch(9)["img"], logits(trainer)
    for count in (1, 4):
        found, features = session.run(None, {"pixels": pixels[:count].numpy()})
        off = (torch.from_numpy(found) - expected[:count]).abs().max() / model.classifier.scale
        assert off <= 1e-4
        assert (found.argmax(1) == expected[:count].argmax(1).numpy()).all()
        torch.testing.assert_close(torch.from_numpy(features), model.encode_image(pixels[:count]), rtol=0, atol=1e-4)
    assert model.model is not None
    if open_text(model.model) is not None:
        assert not (tmp_path / "merged" / "text.onnx").exists()
        return
    names = ["a lake", CLASSES[0], "a very long name of a class"]
    session = onnxruntime.InferenceSession(tmp_path / "merged" / "text.onnx")
    ids, end = name_ids(model.model, names)
    (found,) = session.run(None, {"ids": ids.numpy(), "end": end.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), model.encode_text(names), rtol=0, atol=1e-4)


def test_features_classes_and_what_stays(clips: dict[str, str], tmp_path: Path) -> None:
    saved(CASES[5], True, clips, tmp_path)
    model = caspl.load(tmp_path / "run", device="cpu")
    pixels = batch(9)["img"]
    before = model.logits(pixels)
    image, text = model.encode_image(pixels), model.encode_text()
    scale = float(model.classifier.scale)
    torch.testing.assert_close(scale * image @ text.t(), before, rtol=0, atol=1e-4)
    new = model.encode_text(["a lake", CLASSES[0]])
    torch.testing.assert_close(new[1], text[0], rtol=0, atol=1e-5)
    assert torch.equal(model.logits(pixels), before)  # asking for features changes nothing
    model.set_classes([CLASSES[0], "a_lake"])
    assert model.classes == [CLASSES[0], "a lake"]
    torch.testing.assert_close(model.logits(pixels)[:, 0], before[:, 0], rtol=0, atol=1e-5)
    merged = export(model, tmp_path / "merged").set_classes(["a lake"])
    torch.testing.assert_close(merged.logits(pixels), model.logits(pixels)[:, 1:], rtol=0, atol=1e-5)
    with pytest.raises(CasPLError, match="'a tree' is not to be had"):
        merged.set_classes(["a tree"])


def test_class_specific_tokens_keep_their_classes(clips: dict[str, str], tmp_path: Path) -> None:
    saved(CASES[2], False, clips, tmp_path, TRAINER__COOP__CSC=True)
    model = caspl.load(tmp_path / "run", device="cpu")
    with pytest.raises(CasPLError, match="class-specific"):
        model.set_classes([f"other {name}" for name in CLASSES])


def test_a_boosting_file_and_a_student(tmp_path: Path, clips: dict[str, str]) -> None:
    path = boosting_file(tmp_path / "boosting.safetensors")
    assert caspl.load(path, tiny_clip(), device="cpu").classes == list(CLASSES)
    model = caspl.load(path, clips["student"], ["a cat", "a dog"], device="cpu")
    alone = build(CASES[0], True, clips, tmp_path)
    model.set_classes(CLASSES)
    torch.testing.assert_close(model.logits(batch(9)["img"]), logits(alone), rtol=0, atol=1e-5)
    with pytest.raises(CasPLError, match="were made for the student"):
        caspl.load(path, clips["other"])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of odd pictures."""
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number, mode in enumerate(("RGB", "L", "RGBA", "CMYK", "P")):
        pixels = generator.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
        suffix = "jpg" if mode in ("RGB", "CMYK") else "png"
        Image.fromarray(pixels).convert(mode).save(folder / "deeper" / f"{number}.{suffix}")
    Image.fromarray(generator.integers(0, 2**16, (40, 40), dtype=np.uint16)).save(folder / "grey16.png")
    (folder / ".hidden.png").write_text("nothing")
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_pictures_are_read_and_shaped_as_in_tests_of_a_run(pictures: Path) -> None:
    cfg = make_cfg("CoOp", "student", SIZES.resolution, INPUT__TRANSFORMS=("normalize",))
    theirs = build_transform(cfg, is_train=False)
    given = Pixels(cfg.INPUT.SIZE[0], tuple(cfg.INPUT.PIXEL_MEAN), tuple(cfg.INPUT.PIXEL_STD), cfg.INPUT.INTERPOLATION)
    ours = Transform(given)
    paths = [path for path in pictures.rglob("*.*g") if not path.name.startswith(".")]
    assert len(paths) == 6
    for path in paths:
        assert np.array_equal(np.asarray(read_picture(path)), np.asarray(read_image(str(path))))
        assert torch.equal(ours(path), theirs(read_image(str(path)))), path


def test_everything_that_a_picture_can_be(pictures: Path, clips: dict[str, str], tmp_path: Path) -> None:
    saved(CASES[2], False, clips, tmp_path)
    model = caspl.load(tmp_path / "run", device="cpu")
    path = pictures / "deeper" / "0.jpg"
    opened = read_picture(path)
    expected = model.logits(path)
    for given in (str(path), opened, np.asarray(opened), model.transform(path), [path], model.transform(path)[None]):
        assert torch.equal(model.logits(given), expected)
    stream = model.stream(pictures, top=2, batch_size=2)
    first = next(stream)
    found = [first, *stream]
    assert [Path(str(one.picture)).name for one in found] == [
        *("grey16.png", "0.jpg", "1.png", "2.png", "3.jpg", "4.png"),
    ]
    assert found[1].probability == pytest.approx(float(expected.softmax(-1).max()), rel=1e-4)
    assert [len(one.answers) for one in found] == [2] * 6
    assert len(model.predict(path, top=99)[0].answers) == len(CLASSES)
    assert not model.predict(path, threshold=1.1)[0].known
    for wrong, sentence in (
        (tmp_path / "absent.png", "there is no picture"),
        (pictures / "notes.txt", "cannot be read"),
        (torch.zeros(3, 5, 5), "normalised pixels"),
        (np.zeros((5, 5, 3)), "holds bytes"),
        ([], "no pictures"),
    ):
        with pytest.raises(CasPLError, match=sentence):
            model.logits(wrong)


def test_half_precision_is_near(clips: dict[str, str], tmp_path: Path) -> None:
    saved(CASES[5], True, clips, tmp_path)
    pixels = batch(9)["img"]
    exact = caspl.load(tmp_path / "run", device="cpu").encode_image(pixels)
    half = caspl.load(tmp_path / "run", device="cpu", precision="bf16").encode_image(pixels)
    assert half.dtype == torch.float32
    assert not torch.equal(exact, half)
    assert (exact * half).sum(-1).min() > 0.99
    with pytest.raises(CasPLError, match="unknown precision 'fp8'"):
        caspl.load(tmp_path / "run", precision="fp8")


@pytest.mark.parametrize(
    ("file", "damage", "sentence"),
    [
        (HEADER, lambda text: text.replace(b'"format": 1', b'"format": 9'), "upgrade caspl"),
        (HEADER, lambda text: text[:40], "no header of a predictor"),
        (HEADER, lambda text: text.replace(b'"vision_width": 64', b'"vision_width": 65'), "damaged predictor"),
        (HEADER, lambda text: text.replace(b'"vision_width": 64', b'"vision_width": 9999999999'), "damaged predictor"),
        (HEADER, lambda text: text.replace(b"quick_gelu", b"os.system"), "damaged predictor"),
        (HEADER, lambda text: text.replace(b'"removed"', b'"moved"'), "damaged predictor"),
        (WEIGHTS, lambda whole: whole[: len(whole) // 2], "damaged predictor"),
    ],
)
def test_damaged_predictors(file: str, damage: Any, sentence: str, clips: dict[str, str], tmp_path: Path) -> None:
    saved(CASES[5], False, clips, tmp_path)
    caspl.load(tmp_path / "run", device="cpu").export(tmp_path / "merged")
    path = tmp_path / "merged" / file
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    with pytest.raises(CasPLError, match=sentence):
        caspl.load(tmp_path / "merged")


def test_public_names_come_late() -> None:
    program = (
        "import sys, caspl\nassert 'torch' not in sys.modules\nassert callable(caspl.load) and 'torch' in sys.modules\n"
        "assert set(caspl.__all__) <= set(dir(caspl))\n[getattr(caspl, name) for name in caspl.__all__]\n"
        "assert not {'dassl', 'yacs', 'trainers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = caspl.lod  # type: ignore[attr-defined]


def test_lists() -> None:
    assert {"tiny-student", "ViT-B/16"} <= set(caspl.list_students())
    assert {case.trainer for case in LEARNING} <= set(caspl.list_methods())


def test_writing_needs_class_features(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    made = write_merged(
        tmp_path / "m", trainer.model.fixed(), trainer.model.clip.sizes, "quick_gelu", Pixels(32), {"note": "x"}
    )
    classifier, pixels, about = read_merged(made / WEIGHTS)
    assert (pixels.size, about) == (32, {"note": "x"})
    with torch.no_grad():
        torch.testing.assert_close(classifier(batch(9)["img"]), logits(trainer), rtol=0, atol=1e-5)
