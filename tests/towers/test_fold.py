"""Folded towers compute what they did, with fewer kernels."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from caspl.errors import CasPLError
from caspl.step import Precision
from caspl.towers import CLIP, tokenize
from caspl.towers.fold import fold
from tests.tiny_clip import SIZES, tiny_clip, tiny_state_dict

IMAGES = torch.randn(3, 3, SIZES.resolution, SIZES.resolution, generator=torch.Generator().manual_seed(1))
TEXTS = ["a photo of a cat.", "a photo of a much longer dog."]


def clip_of(activation: str = "quick_gelu") -> CLIP:
    """With norms that do something."""
    made = CLIP.from_state_dict(tiny_state_dict(0), activation).freeze()
    generator = torch.Generator().manual_seed(2)
    for name, value in made.named_parameters():
        if "ln_" in name:
            value.data += 0.3 * torch.randn(value.shape, generator=generator)
    return made


def features(clip: CLIP) -> list[torch.Tensor]:
    return [clip.encode_image(IMAGES).float(), clip.encode_text(tokenize(TEXTS)).float()]


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_the_same_function_in_float32(activation: str) -> None:
    plain, folded = features(clip_of(activation)), features(fold(clip_of(activation)))
    for one, other in zip(plain, folded, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
        assert not torch.equal(one, other)  # else nothing was folded


def test_gradients_of_what_goes_in_are_the_same() -> None:
    found = []
    for clip in (clip_of(), fold(clip_of())):
        images = IMAGES.clone().requires_grad_()
        clip.encode_image(images).square().sum().backward()
        assert images.grad is not None
        found.append(images.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4 * float(found[0].abs().max()))


def test_no_further_from_float32_in_bfloat16_than_plain_weights() -> None:
    exact = features(clip_of())
    for place in (0, 1):
        far = [
            float((features(clip.cast(torch.bfloat16))[place] - exact[place]).norm() / exact[place].norm())
            for clip in (clip_of(), fold(clip_of()))
        ]
        assert 0 < far[1] < 1.5 * far[0]


class Counted(TorchDispatchMode):
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.seen.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def test_fewer_kernels() -> None:
    """In half precision no copy is left around the norms of a block, and one kernel of three in its activation."""
    counts = []
    for clip in (clip_of(), fold(clip_of())):
        clip.cast(torch.bfloat16)
        with torch.no_grad(), Counted() as counted:
            clip.encode_image(IMAGES.bfloat16())
        counts.append(counted.seen)
    names = ("_to_copy", "sigmoid", "mul", "silu", "native_layer_norm", "convolution")
    plain, folded = ({name: seen.count(name) for name in names} for seen in counts)
    layers = SIZES.vision_layers
    assert plain["sigmoid"] == layers
    assert (folded["sigmoid"], folded["convolution"]) == (0, 0)
    assert folded["silu"] == layers
    assert plain["_to_copy"] - folded["_to_copy"] >= 4 * layers
    assert plain["mul"] - folded["mul"] == 2 * layers
    assert plain["native_layer_norm"] == folded["native_layer_norm"]


def test_folded_once_and_no_longer_openais() -> None:
    clip = clip_of()
    before = features(fold(clip))
    assert all(torch.equal(a, b) for a, b in zip(before, features(fold(clip)), strict=True))
    with pytest.raises(CasPLError, match="are folded and no longer those of its file"):
        clip.openai_state_dict()


def test_a_gpu_is_given_folded_towers_and_a_cpu_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Precision("fp32", torch.device("cpu")).place(tiny_clip())
    assert not plain.folded
    monkeypatch.setattr(CLIP, "to", lambda self, device: self)
    placed = Precision("fp16", torch.device("cuda")).place(tiny_clip())
    assert placed.folded
    assert all(isinstance(block.mlp.gelu, nn.SiLU) for block in placed.visual.transformer)
