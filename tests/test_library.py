"""Losses, averaging, boosting files and teacher, against definitions written out here."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import caspl
from caspl.boosting import Header, read_boosting, write_boosting
from caspl.boosting.file import KEY
from caspl.boosting.find import boosting_path, find_boosting, student_slug
from caspl.errors import CasPLError
from caspl.files import write_atomically
from caspl.losses import distillation, feature_distance, logit_divergence
from caspl.pixels import Pixels
from caspl.prompts import normal_tokens
from caspl.step import Batch, GaussianAverage
from caspl.teachers import CLIPEncoder, CLIPTeacher
from caspl.towers import Sizes
from caspl.zoo import Weights, computes_the_same, read_model
from tests.tiny_clip import SIZES, tiny_clip

HEADER = Header("ViT-B/16", "0123", "ViT-L/14", "EuroSAT", ("a", "b"), "a photo of a {}.", 1, 20, 1.0)
SIZE = (8, 12)


def test_distillation_is_the_divergence_from_teacher_to_student() -> None:
    student, teacher = torch.randn(5, 7), torch.randn(5, 7)
    q, p = (teacher / 2).softmax(1), (student / 2).softmax(1)
    expected = 4 * (q * (q.log() - p.log())).sum() / 5
    torch.testing.assert_close(distillation(student, teacher, 2.0), expected)
    torch.testing.assert_close(distillation(student, teacher, 2.0, "mean"), expected / 7)
    assert distillation(teacher, teacher).abs() < 1e-6


def test_self_regulation() -> None:
    a, b = torch.randn(3, 8), torch.randn(3, 8)
    torch.testing.assert_close(feature_distance(a, b), (a - b).abs().sum() / 24)
    q, p = b.softmax(1), a.softmax(1)
    torch.testing.assert_close(logit_divergence(a, b), (q * (q.log() - p.log())).sum() / 24)


def test_gaussian_average_has_the_published_weights() -> None:
    """PromptSRC's 20 epochs with mean 15 and std 1."""
    average = GaussianAverage(15, 1, 20)
    expected = {10: 1.48672e-6, 11: 1.338302e-4, 12: 4.431848e-3, 13: 5.399097e-2, 14: 0.2419707, 15: 0.3989423}
    for epoch, weight in expected.items():
        assert math.isclose(average.weights[epoch - 1], weight, rel_tol=1e-5)
    for epoch in range(1, 21):
        average.add(epoch, {"x": torch.tensor(float(epoch))})
    mean = sum(weight * epoch for epoch, weight in enumerate(average.weights, start=1))
    torch.testing.assert_close(average.result()["x"], torch.tensor(mean))


def test_an_interrupted_average_goes_on() -> None:
    whole, first, second = (GaussianAverage(2, 1, 3) for _ in range(3))
    values = [torch.randn(4) for _ in range(3)]
    for epoch, value in enumerate(values, start=1):
        whole.add(epoch, {"x": value})
    for epoch in (1, 2):
        first.add(epoch, {"x": values[epoch - 1]})
    second.load_state_dict(first.state_dict())
    second.add(3, {"x": values[2]})
    assert torch.equal(whole.result()["x"], second.result()["x"])


def test_a_resumed_average_may_lie_elsewhere() -> None:
    """Snapshots are read to the CPU, whatever the device of the run."""
    average = GaussianAverage(2, 1, 2)
    average.load_state_dict({"epochs_seen": 1, "sum": {"x": torch.ones(3)}})
    average.add(2, {"x": torch.empty(3, device="meta")})
    assert average.result()["x"].device.type == "meta"


def test_open_clips_activation_and_layout_are_found_out() -> None:
    open_clip = pytest.importorskip("open_clip")

    def model(head_width: int, quick: bool) -> tuple[object, Weights]:
        vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": head_width}
        text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
        built = open_clip.CLIP(embed_dim=32, quick_gelu=quick, vision_cfg=vision, text_cfg=text).eval()
        state = {key: value * 3 if value.dim() > 1 else value for key, value in built.state_dict().items()}
        built.load_state_dict(state)
        weights = {key: value for key, value in state.items() if key != "attn_mask"}
        return built, Weights(weights, "quick_gelu" if quick else "gelu", (64 // head_width, 1))

    for quick in (True, False):
        for head_width in (64, 32, 16):
            built, weights = model(head_width, quick)
            found = read_model(built)
            assert found is not None
            assert (found.activation, found.heads) == (weights.activation, weights.heads)
            assert computes_the_same(built, weights)
            other = "gelu" if quick else "quick_gelu"
            assert not computes_the_same(built, replace(weights, activation=other))
            assert not computes_the_same(built, replace(weights, heads=(8, 1)))


def test_boosting_file_round_trip(tmp_path: Path) -> None:
    text, vision = normal_tokens(3, 4, 8), normal_tokens(2, 5, 6)
    path = write_boosting(tmp_path / "deep" / "folder" / "file.safetensors", HEADER, text, vision)
    file = read_boosting(path)
    assert file.header == HEADER
    assert file.text is not None
    assert torch.equal(file.text, text)
    assert read_boosting(write_boosting(path, HEADER, text, None)).vision is None
    assert [p.name for p in path.parent.iterdir()] == ["file.safetensors"]
    file.require_student("ViT-B/16", "0123")
    with pytest.raises(CasPLError, match="ViT-B/32"):
        file.require_student("ViT-B/32", "9999")


def test_broken_boosting_files(tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="no boosting file at"):
        read_boosting(tmp_path / "absent")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"text": torch.zeros(1)}, foreign)
    with pytest.raises(CasPLError, match="not a boosting file"):
        read_boosting(foreign)
    whole = write_boosting(tmp_path / "whole.safetensors", HEADER, torch.zeros(1, 2, 3), None).read_bytes()
    foreign.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CasPLError, match=r"foreign\.safetensors"):
        read_boosting(foreign)
    content = {"format": 99}
    save_file({"text": torch.zeros(1)}, foreign, metadata={KEY: json.dumps(content)})
    with pytest.raises(CasPLError, match="format 99"):
        read_boosting(foreign)
    for damaged in ("no json", "{}", "[]"):
        save_file({"text": torch.zeros(1)}, foreign, metadata={KEY: damaged})
        with pytest.raises(CasPLError, match=r"foreign\.safetensors"):
            read_boosting(foreign)


def test_finding_boosting_files(tmp_path: Path) -> None:
    def place(sizes: tuple[int, int], seed: int = 1) -> Path:
        path = boosting_path(tmp_path, "EuroSAT", "ViT-B/16", seed, sizes, sizes)
        return write_boosting(path, HEADER, torch.zeros(1, 2, 3), None)

    with pytest.raises(CasPLError, match="no boosting file for EuroSAT, student ViT-B/16, seed 1"):
        find_boosting(tmp_path, "EuroSAT", "ViT-B/16", 1, SIZE, SIZE)
    small = place((4, 12))
    assert find_boosting(tmp_path, "EuroSAT", "ViT-B/16", 1, SIZE, SIZE) == small  # the only one
    place((2, 12))
    with pytest.raises(CasPLError, match="several sizes"):
        find_boosting(tmp_path, "EuroSAT", "ViT-B/16", 1, SIZE, SIZE)
    exact = place(SIZE)
    assert find_boosting(tmp_path, "EuroSAT", "ViT-B/16", 1, SIZE, SIZE) == exact
    with pytest.raises(CasPLError, match="seed 2"):
        find_boosting(tmp_path, "EuroSAT", "ViT-B/16", 2, SIZE, SIZE)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("ViT-B/16", "vit_b_16"), ("/models/My CLIP.pt", "my_clip"), ("ViT-B-16:datacomp_xl", "vit_b_16_datacomp_xl")],
)
def test_student_slug(name: str, slug: str) -> None:
    assert student_slug(name) == slug


def test_atomic_writes_leave_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full_disk(temporary: str) -> None:
        Path(temporary).write_text("half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(CasPLError, match="No space left on device"):
        write_atomically(path, full_disk)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_teacher_sees_its_own_normalisation_and_size() -> None:
    sizes = Sizes(32, 48, 16, vision_width=64, vision_layers=2, text_width=64, text_layers=2)
    clip = tiny_clip(1, sizes)
    pixels = torch.rand(2, 3, 32, 32)
    given = Pixels(32, (0.5,) * 3, (0.25,) * 3)
    teacher = CLIPTeacher(CLIPEncoder(clip, "it", Pixels(48, (0.4,) * 3, (0.2,) * 3)), ["a cat.", "a dog."], given)
    resized = torch.nn.functional.interpolate((pixels - 0.4) / 0.2, (48, 48), mode="bicubic", antialias=True)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(clip.encode_image(resized), dim=-1)
    torch.testing.assert_close(teacher.encode_image((pixels - 0.5) / 0.25), expected, rtol=1e-4, atol=1e-4)


def test_teacher_scale() -> None:
    same = Pixels(SIZES.resolution)
    teacher = CLIPTeacher(CLIPEncoder(tiny_clip(), "it", same), ["a cat.", "a dog."], same)
    batch = Batch(torch.randn(2, 3, SIZES.resolution, SIZES.resolution), torch.zeros(2))
    own = teacher.logits(batch)
    torch.testing.assert_close(teacher.logits(batch, torch.tensor(100.0)), own / teacher.encoder.scale * 100)
    assert not own.requires_grad


def test_only_dassls_side_of_the_library_knows_dassl() -> None:
    """``caspl/dassl`` reads configs and imports the engine; nothing else does, or imports it but its other name."""
    root = Path(caspl.__file__).parent
    wrong = re.compile(r"^\s*(from|import) (dassl|yacs|trainers|datasets|caspl\.dassl|caspl\.plugin)\b", re.M)
    files = [path for path in root.rglob("*.py") if path.relative_to(root).parts[0] != "dassl"]
    assert len(files) > 50
    assert [path.relative_to(root).as_posix() for path in files if wrong.search(path.read_text())] == [
        "plugin/__init__.py"
    ]
    above = re.compile(r"^\s*(from|import) (caspl\.dassl\.plugin|caspl\.plugin)\b", re.M)
    shared = list((root / "dassl").glob("*.py"))
    assert len(shared) > 3
    assert [path.name for path in shared if above.search(path.read_text())] == []
