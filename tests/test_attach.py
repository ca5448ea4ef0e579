"""``caspl.attach``: boosting tokens in models of open_clip and transformers, equal to our own boosted student."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import caspl
from caspl.errors import CasPLError
from caspl.towers import tokenize
from caspl.zoo.huggingface import OUTSIDE, WITHIN, is_huggingface, openai_weights
from tests.conftest import boosting_file
from tests.test_documents import fenced
from tests.tiny_clip import SIZES, tiny_state_dict

NAMES = ["forest", "a very wide river", "sea"]
TEXTS = [f"{name}." for name in NAMES]
PIXELS = torch.randn(3, 3, SIZES.resolution, SIZES.resolution, generator=torch.Generator().manual_seed(0))


def of_open_clip(seed: int = 0) -> Any:
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 32, "layers": 3, "width": 64, "patch_size": 8, "head_width": 64}
    text = {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3}
    made = open_clip.CLIP(embed_dim=SIZES.embed_dim, quick_gelu=True, vision_cfg=vision, text_cfg=text).eval()
    made.load_state_dict(tiny_state_dict(seed))
    return made


def of_transformers(attention: str = "sdpa") -> Any:
    """The same student; its weights are brought under their names by a way of the test's own."""
    transformers = pytest.importorskip("transformers")
    text = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 1}
    sizes = {"text_config": text, "vision_config": vision | {"image_size": 32, "patch_size": 8}}
    config = transformers.CLIPConfig(**sizes, projection_dim=SIZES.embed_dim, attn_implementation=attention)
    made, state = transformers.CLIPModel(config).eval(), tiny_state_dict()
    theirs = {name: state[ours] for name, ours in OUTSIDE.items()}
    theirs |= {
        "visual_projection.weight": state["visual.proj"].t(),
        "text_projection.weight": state["text_projection"].t(),
    }
    for tower, prefix in (("text_model", ""), ("vision_model", "visual.")):
        for layer in range(3):
            ours, other = f"{prefix}transformer.resblocks.{layer}.", f"{tower}.encoder.layers.{layer}."
            for kind in ("weight", "bias"):
                theirs |= {f"{other}{name}.{kind}": state[f"{ours}{own}.{kind}"] for name, own in WITHIN.items()}
                parts = state[f"{ours}attn.in_proj_{kind}"].chunk(3)
                theirs |= {f"{other}self_attn.{one}_proj.{kind}": part for one, part in zip("qkv", parts, strict=True)}
    missing, unexpected = made.load_state_dict(theirs, strict=False)
    assert not unexpected
    assert all("position_ids" in name for name in missing)
    return made


def expected(file: Path, clips: dict[str, str]) -> tuple[Tensor, Tensor]:
    model = caspl.load(file, student=clips["student"], classes=NAMES, device="cpu")
    return model.encode_image(PIXELS), model.encode_text()


def unit(features: Any) -> Tensor:
    values = getattr(features, "pooler_output", features)  # transformers 5 gives more than the features
    return torch.nn.functional.normalize(values, dim=-1).detach()


@torch.no_grad()
def found(model: Any, **ids: Any) -> tuple[Tensor, Tensor]:
    if is_huggingface(model):
        ids = ids or {"input_ids": tokenize(TEXTS)}
        return unit(model.get_image_features(pixel_values=PIXELS)), unit(model.get_text_features(**ids))
    return unit(model.encode_image(PIXELS)), unit(model.encode_text(tokenize(TEXTS)))


def padded() -> dict[str, Tensor]:
    """As a tokenizer of transformers' gives it: as long as the longest text, and a mask."""
    ids = tokenize(TEXTS)
    length = int(ids.argmax(dim=-1).max()) + 1
    mask = torch.arange(length)[None] <= ids.argmax(dim=-1)[:, None]
    return {"input_ids": ids[:, :length], "attention_mask": mask.long()}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("build", [of_open_clip, of_transformers, lambda: of_transformers("eager")])
def test_it_computes_what_the_boosted_student_does(
    build: Any, depth: int, clips: dict[str, str], tmp_path: Path
) -> None:
    model, file = build(), boosting_file(tmp_path / "seed1.safetensors", depth=depth)
    plain = found(model)
    attached = caspl.attach(model, file)
    assert attached.file.header.student == "student"
    for mine, other, before in zip(found(model), expected(file, clips), plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)
        assert (mine - before).abs().max() > 1e-2
    if is_huggingface(model):
        places = torch.arange(padded()["input_ids"].shape[1])[None]
        torch.testing.assert_close(found(model, **padded(), position_ids=places)[1], expected(file, clips)[1])
        torch.testing.assert_close(found(model, **padded())[1], expected(file, clips)[1], rtol=0, atol=1e-5)
    attached.remove()
    for mine, before in zip(found(model), plain, strict=True):
        assert torch.equal(mine, before)
    caspl.attach(model, file)  # it has none now


def test_what_is_refused(clips: dict[str, str], tmp_path: Path) -> None:
    file = boosting_file(tmp_path / "seed1.safetensors")
    with pytest.raises(CasPLError, match="made for the student student"):
        caspl.attach(of_open_clip(1), file)
    with pytest.raises(CasPLError, match="Linear is not understood"):
        caspl.attach(torch.nn.Linear(2, 2), file)
    with pytest.raises(CasPLError, match="no boosting file"):
        caspl.attach(of_open_clip(), tmp_path / "none")
    for model in (of_open_clip(), of_transformers()):
        caspl.attach(model, file)
        with pytest.raises(CasPLError, match="has boosting tokens already"):
            caspl.attach(model, file)
        encode = model.get_text_features if is_huggingface(model) else model.encode_text
        with pytest.raises(CasPLError, match="more than 74 tokens"):
            encode(tokenize(["word " * 73 + "."]))


def test_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second block of docs/library.md."""
    monkeypatch.chdir(tmp_path)
    boosting_file(tmp_path / "output/boosting/EuroSAT/vit_b_16/text8x12_vision8x12/seed1.safetensors")
    library = SimpleNamespace(create_model=lambda *_, **__: of_open_clip())
    names: dict[str, Any] = {"open_clip": library, "caspl": caspl, "tokenizer": tokenize}
    exec(fenced("docs/library.md", "python")[1], names)  # our own document
    assert names["features"].shape == (2, SIZES.embed_dim)


def test_weights_of_transformers_are_openais() -> None:
    weights, state = openai_weights(of_transformers()), tiny_state_dict()
    assert weights.state_dict.keys() == state.keys()
    assert all(torch.equal(weights.state_dict[key], value) for key, value in state.items())
    assert (weights.activation, weights.heads) == ("quick_gelu", (1, 2))


def test_it_can_be_saved_whole_and_brain_floats_are_told(tmp_path: Path) -> None:
    file, model = boosting_file(tmp_path / "seed1.safetensors"), of_open_clip()
    with pytest.raises(CasPLError, match="attach first, then cast"):
        caspl.attach(of_open_clip().bfloat16(), file)
    caspl.attach(model, file)
    pickle.loads(pickle.dumps(model))  # our own


def test_in_another_precision_it_stays_near(clips: dict[str, str], tmp_path: Path) -> None:
    file = boosting_file(tmp_path / "seed1.safetensors")
    model = of_open_clip()
    caspl.attach(model, file)
    model = model.double()
    image = unit(model.encode_image(PIXELS.double()))
    torch.testing.assert_close(image.float(), expected(file, clips)[0], rtol=0, atol=1e-5)
