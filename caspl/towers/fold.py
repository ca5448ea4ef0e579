"""Frozen weights rewritten so that fewer kernels run for the same function.

In every block a LayerNorm's gain and shift pass into the matrix behind it, W(g x + s) + b = (W g) x + (W s + b). The
norm that is left needs no weights: in half precision its kernel then takes and gives half numbers and adds in float32
itself. QuickGELU is x sigmoid(1.702 x) = silu(1.702 x) / 1.702, so that with the factor in the matrices around it one
kernel is left of three. The convolution that makes patches, whose squares do not overlap, is one matrix product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.towers.block import Block, LayerNorm, QuickGELU
from caspl.towers.clip import CLIP

FACTOR = 1.702


@torch.no_grad()
def fold(clip: CLIP) -> CLIP:
    """Fold all blocks of both towers, in place and once; returns the CLIP. Its weights are no longer OpenAI's."""
    if clip.folded:
        return clip
    for tower in (clip.visual.transformer, clip.text.transformer):
        for block in tower:
            _fold_block(block)
    if isinstance(clip.visual.conv1, nn.Conv2d):
        clip.visual.conv1 = Patches(clip.visual.conv1)  # type: ignore[assignment]
    clip.folded = True
    return clip


class Patches(nn.Module):
    """A convolution whose stride is its size, as a product of every square with a matrix.

    Args:
        conv: without padding and bias.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.side = conv.kernel_size[0]
        self.weight = nn.Parameter(conv.weight.detach().flatten(1), conv.weight.requires_grad)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, channels, height / side, width / side), channels last in memory."""
        rows, columns = images.shape[-2] // self.side, images.shape[-1] // self.side
        whole = images[..., : rows * self.side, : columns * self.side]
        squares = whole.unflatten(-1, (columns, self.side)).unflatten(-3, (rows, self.side))
        flat = squares.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return F.linear(flat, self.weight).permute(0, 3, 1, 2)


def _fold_block(block: Block) -> None:
    first, last = block.mlp.c_fc, block.mlp.c_proj
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)  # noqa: PT018
    _pass_on(block.ln_1, block.attn.in_proj_weight, block.attn.in_proj_bias)
    _pass_on(block.ln_2, first.weight, first.bias)
    if isinstance(block.mlp.gelu, QuickGELU):
        first.weight.mul_(FACTOR)
        first.bias.mul_(FACTOR)
        last.weight.div_(FACTOR)
        block.mlp.gelu = nn.SiLU()


def _pass_on(norm: LayerNorm, weight: Tensor, bias: Tensor) -> None:
    """A norm's gain and shift into the matrix (out, in) behind it, in float64."""
    matrix, gain, shift = (value.double() for value in (weight, norm.weight, norm.bias))
    bias.copy_(bias.double() + matrix @ shift)
    weight.copy_(matrix * gain)
    norm.register_parameter("weight", None)
    norm.register_parameter("bias", None)
