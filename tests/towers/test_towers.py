"""Towers: sizes from weights, file formats, precision, names; equality with open_clip."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from caspl.errors import CasPLError
from caspl.towers import CLIP, Sizes, random_state_dict, read_state_dict, tokenize
from caspl.towers.weights import write_clip
from caspl.zoo import load_clip, weights_hash
from tests.tiny_clip import SIZES, tiny_clip, tiny_state_dict

TEXTS = ["a photo of a cat.", "a photo of an annual crop land, seen from above.", "a photo of a dog."]


def images(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 3, SIZES.resolution, SIZES.resolution, generator=torch.Generator().manual_seed(seed))


def test_equal_to_open_clip() -> None:
    open_clip = pytest.importorskip("open_clip")
    state = tiny_state_dict()
    other = open_clip.CLIP(
        embed_dim=SIZES.embed_dim,
        quick_gelu=True,
        vision_cfg={"image_size": 32, "layers": 3, "width": 64, "patch_size": 8, "head_width": 64},
        text_cfg={"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3},
    ).eval()
    other.load_state_dict(state)
    ours, ids = tiny_clip(), tokenize(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode_image(images()), other.encode_image(images()), rtol=0, atol=1e-5)
        torch.testing.assert_close(ours.encode_text(ids), other.encode_text(ids), rtol=0, atol=1e-5)


def test_sizes_come_from_the_weights() -> None:
    assert Sizes.of(tiny_state_dict()) == SIZES
    other = Sizes(64, 48, 16, 192, 2, 64, 5, context_length=40, vocabulary=49408)
    assert Sizes.of(random_state_dict(other)) == other


def test_state_dict_round_trip() -> None:
    state = tiny_state_dict()
    again = tiny_clip().openai_state_dict()
    assert set(again) == set(state)
    assert all(torch.equal(again[key], state[key]) for key in state)


class Archive(torch.nn.Module):
    """A module whose archive looks as OpenAI's: CLIP's tensors and three scalars."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for key, value in state.items():
            *parents, leaf = key.split(".")
            node: torch.nn.Module = self
            for name in parents:
                if not hasattr(node, name):
                    node.add_module(name, torch.nn.Module())
                node = getattr(node, name)
            node.register_buffer(leaf, value.half())
        for name, number in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(number))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def write_torchscript(state: dict[str, torch.Tensor], path: Path) -> None:
    torch.jit.trace(Archive(state), torch.zeros(1)).save(str(path))


@pytest.mark.filterwarnings("ignore:.*torch.jit.(trace|save).*")
@pytest.mark.parametrize("kind", ["torchscript", "plain", "nested", "under model", "safetensors", "with header"])
def test_file_formats(kind: str, tmp_path: Path) -> None:
    state = tiny_state_dict()
    path = tmp_path / ("ViT.safetensors" if kind in ("safetensors", "with header") else "ViT.pt")
    if kind == "torchscript":
        write_torchscript(state, path)
    elif kind == "plain":
        torch.save(state, path)
    elif kind == "nested":
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    elif kind == "under model":
        torch.save({"model": state | {"attn_mask": torch.full((77, 77), float("-inf"))}}, path)
    elif kind == "with header":
        write_clip(path, state, "quick_gelu", SIZES.heads)
    else:
        save_file(state, path)
    read = read_state_dict(path)
    assert set(read) == set(state)
    reduce = (lambda x: x.half().float()) if kind == "torchscript" else (lambda x: x)
    assert all(torch.equal(read[key].float(), reduce(value)) for key, value in state.items())
    if kind in ("torchscript", "with header"):
        assert weights_hash(load_clip(str(path))) == weights_hash(tiny_clip())
    else:  # it could be anybody's
        with pytest.raises(CasPLError, match=r"which activation and how many heads .* ARCHITECTURE:.*ViT\."):
            load_clip(str(path))


def test_broken_and_missing_files(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"nothing of the kind")
    with pytest.raises(CasPLError, match=r"broken\.pt is not a CLIP weights file"):
        load_clip(str(broken))
    with pytest.raises(CasPLError, match="no weights file at"):
        load_clip(str(tmp_path / "absent.pt"))
    incomplete = tmp_path / "incomplete.safetensors"
    write_clip(incomplete, {"visual.proj": torch.zeros(2, 2)}, "gelu", (1, 1))
    with pytest.raises(CasPLError, match="not a CLIP in OpenAI format"):
        load_clip(str(incomplete))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    import pickle

    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (marker,))  # type: ignore[return-value]

    path = tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
        archive.writestr("archive/version", "3\n")
    with pytest.raises(CasPLError):
        read_state_dict(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CasPLError):
        read_state_dict(path)
    assert not marker.exists()


def test_resnet_towers_are_refused_by_name() -> None:
    with pytest.raises(CasPLError, match="ResNet"):
        Sizes.of({"visual.layer1.0.conv1.weight": torch.zeros(1)})


def test_unknown_names_are_listed() -> None:
    with pytest.raises(CasPLError, match=r"unknown CLIP 'ViT-B/17'.*ViT-B/16"):
        load_clip("ViT-B/17")


def test_openai_name_is_found_locally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASPL_WEIGHTS", str(tmp_path))
    write_clip(tmp_path / "ViT-B-16.safetensors", tiny_state_dict(), "quick_gelu", SIZES.heads)
    assert load_clip("ViT-B/16").sizes == replace(SIZES, vision_heads=SIZES.heads[0], text_heads=SIZES.heads[1])
    torch.save(tiny_state_dict(), tmp_path / "ViT-B-16.pt")  # which does not say that it is cut down
    with pytest.raises(CasPLError, match=rf"ViT-B-16.pt is no ViT-B/16: its embed_dim is {SIZES.embed_dim}, not 512"):
        load_clip("ViT-B/16")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.03), (torch.float16, 0.004)])
def test_half_precision_is_near(dtype: torch.dtype, tolerance: float) -> None:
    exact, half, ids = tiny_clip(), tiny_clip().cast(dtype), tokenize(TEXTS)
    assert half.text.transformer.resblocks[0].ln_1.weight.dtype == torch.float32
    with torch.no_grad():
        for a, b in (
            (exact.encode_image(images()), half.encode_image(images())),
            (exact.encode_text(ids), half.encode_text(ids)),
        ):
            assert b.dtype == dtype
            cosine = torch.nn.functional.cosine_similarity(a, b.float())
            assert (1 - cosine).max() < tolerance


def test_bf16_attention_under_gradients_equals_the_fused_one() -> None:
    """The spelled-out path is a matter of speed alone."""
    clip = tiny_clip().cast(torch.bfloat16)
    with torch.no_grad():
        fused = clip.encode_text(tokenize(TEXTS)).float()
    spelled = clip.encode_text(tokenize(TEXTS)).float()
    assert spelled.requires_grad
    assert (1 - torch.nn.functional.cosine_similarity(fused, spelled)).max() < 1e-3


def test_gelu_and_quickgelu_differ() -> None:
    state = tiny_state_dict()
    quick, plain = CLIP.from_state_dict(state), CLIP.from_state_dict(state, "gelu")
    assert not torch.allclose(quick.encode_image(images()), plain.encode_image(images()), atol=1e-4)


def test_positions_after_the_longest_end_token_do_not_matter() -> None:
    clip, ids = tiny_clip(), tokenize(TEXTS)
    noisy = ids.clone()
    end = int(ids.argmax(-1).max())
    noisy[:, end + 1 :] = 343
    torch.testing.assert_close(clip.encode_text(ids), clip.encode_text(noisy), rtol=0, atol=0)


def test_texts_that_do_not_fit_are_named() -> None:
    with pytest.raises(CasPLError, match="has 102 tokens"):
        tokenize("cat " * 100)


def test_one_text_alone() -> None:
    clip = tiny_clip()
    together = clip.encode_text(tokenize(TEXTS))
    torch.testing.assert_close(clip.encode_text(tokenize(TEXTS[1:2]))[0], together[1], rtol=0, atol=1e-5)
