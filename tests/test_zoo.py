"""Weights files: read as they were trained, or refused; never as something else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from caspl.errors import CasPLError
from caspl.towers import tokenize
from caspl.towers.weights import HEADER, write_clip
from caspl.zoo import load_clip, weights_hash
from tests.tiny_clip import SIZES, tiny_state_dict

open_clip = pytest.importorskip("open_clip")

CONFIGS = {
    "tests-wide-heads": {"width": 320, "head_width": 80, "quick": True},  # as ViT-H/14's 80
    "tests-plain-gelu": {"width": 128, "head_width": 64, "quick": False},  # as those of LAION and DataComp
}


@pytest.fixture(scope="module", params=list(CONFIGS))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    """An architecture that open_clip knows, a model of it, and a file of its weights."""
    name, kind = request.param, CONFIGS[request.param]
    folder = tmp_path_factory.mktemp(name)
    vision = {"image_size": 32, "layers": 4, "width": kind["width"], "head_width": kind["head_width"], "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
    config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": text, "quick_gelu": kind["quick"]}
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    made = open_clip.create_model(name).eval()
    with torch.no_grad():
        for value in made.parameters():
            if value.dim() > 1:
                value.mul_(3)
    save_file({k: v.contiguous() for k, v in made.state_dict().items()}, folder / "weights.safetensors")
    return name, made, folder / "weights.safetensors"


def test_a_file_with_its_architecture_computes_what_open_clip_does(
    model: tuple[str, Any, Path], caplog: pytest.LogCaptureFixture
) -> None:
    name, theirs, path = model
    with caplog.at_level(logging.INFO, logger="caspl"):
        ours = load_clip(f"{name}:{path}")
    kind = CONFIGS[name]
    heads, activation = kind["width"] // kind["head_width"], "quick_gelu" if kind["quick"] else "gelu"
    assert f"{activation}, {heads} heads in the image tower and 1 in the text tower" in caplog.text
    images, ids = torch.randn(3, 3, 32, 32), tokenize(["a cat.", "a photo of a dog."])
    with torch.no_grad():
        for mine, other in (
            (ours.encode_image(images), theirs.encode_image(images)),
            (ours.encode_text(ids), theirs.encode_text(ids)),
        ):
            assert torch.nn.functional.cosine_similarity(mine, other).min() > 0.9999


def test_a_bare_file_is_refused_and_the_way_out_is_named(model: tuple[str, Any, Path]) -> None:
    _, _, path = model
    with pytest.raises(CasPLError, match=rf"name its open_clip architecture too, ARCHITECTURE:{path}"):
        load_clip(str(path))


def test_what_a_file_says_and_its_architecture_must_agree(model: tuple[str, Any, Path], tmp_path: Path) -> None:
    name, theirs, path = model
    state = {key: value.contiguous() for key, value in theirs.state_dict().items()}
    other = "gelu" if CONFIGS[name]["quick"] else "quick_gelu"
    written = write_clip(tmp_path / "clip.safetensors", state, other, (4, 1))
    with pytest.raises(CasPLError, match=rf"says {other} .*: name the file alone"):
        load_clip(f"{name}:{written}")
    hashes = {weights_hash(load_clip(found)) for found in (str(written), f"{name}:{path}")}
    assert len(hashes) == 2  # the same weights, read otherwise, are another student


def test_a_header_against_an_openai_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CASPL_WEIGHTS", str(tmp_path))
    write_clip(tmp_path / "ViT-B-16.safetensors", tiny_state_dict(), "gelu", SIZES.heads)
    with pytest.raises(CasPLError, match="says gelu, which ViT-B/16 is not"):
        load_clip("ViT-B/16")
    with pytest.raises(CasPLError, match="ViT-H-14-worldwide is not a CLIP of the classic layout"):
        load_clip(f"ViT-H-14-worldwide:{tmp_path / 'ViT-B-16.safetensors'}")


def test_another_architecture_than_the_files(model: tuple[str, Any, Path]) -> None:
    name, _, path = model
    with pytest.raises(CasPLError, match="is no ViT-B-16: it has embed_dim 64 instead of 512"):
        load_clip(f"ViT-B-16:{path}")
    typo = name.removesuffix("s") if name.endswith("s") else f"{name}u"
    with pytest.raises(CasPLError, match=f"open_clip knows no architecture {typo}; near are .*{name}"):
        load_clip(f"{typo}:{path}")
    with pytest.raises(CasPLError, match="not a CLIP of the classic layout"):
        load_clip(f"RN50:{path}")
    with pytest.raises(CasPLError, match="no weights file at"):
        load_clip(f"{name}:absent.pt")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_found_when_they_are_read(number: float, tmp_path: Path) -> None:
    state = tiny_state_dict()
    key = "visual.transformer.resblocks.1.mlp.c_fc.weight"
    state = state | {key: state[key].clone()}
    state[key][0, 0] = number
    path = write_clip(tmp_path / "clip.safetensors", state, "quick_gelu", SIZES.heads)
    with pytest.raises(CasPLError, match=rf"{path}: the weights hold numbers in {key} that are not finite"):
        load_clip(str(path))


@pytest.mark.parametrize(
    "said", ["no json", "{}", '{"activation": "relu", "heads": [1, 2]}', '{"activation": "gelu", "heads": [1]}']
)
def test_a_damaged_header(said: str, tmp_path: Path) -> None:
    save_file(tiny_state_dict(), tmp_path / "clip.safetensors", {HEADER: said})
    with pytest.raises(CasPLError, match="damaged header"):
        load_clip(str(tmp_path / "clip.safetensors"))


def test_heads_that_do_not_fit(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.safetensors", tiny_state_dict(), "quick_gelu", (3, 2))
    with pytest.raises(CasPLError, match="the image tower is 64 wide, which 3 heads do not divide"):
        load_clip(str(path))


def test_a_whole_pickled_model(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(CasPLError, match=r"a whole pickled model does: .* save its state_dict\(\)") as refused:
        load_clip(str(tmp_path / "model.pt"))
    assert "weights_only" not in str(refused.value)


def test_other_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="RN50 has a ResNet image tower"):
        load_clip("RN50")
    monkeypatch.setenv("CASPL_WEIGHTS", str(tmp_path / "absent"))
    with pytest.raises(CasPLError, match=r"there is no folder .*absent \(\$CASPL_WEIGHTS\)"):
        load_clip("ViT-B/16")
