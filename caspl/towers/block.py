"""The residual attention block that both towers stack (CLIP, arXiv 2103.00020; pre-norm, MLP of four widths).

Batch-first throughout. Two things go beyond a textbook block, both exact:

- *memory*: keys and values of tokens that stand before the sequence and are the same for many sequences.
  The text tower computes the prefix that all classes share once and lets the class words attend to it.
- *rows*: only the named rows are computed as queries, for a last block of which only one row is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Memory(NamedTuple):
    """Keys and values of one layer, each (groups, heads, tokens, head width)."""

    key: Tensor
    value: Tensor


class LayerNorm(nn.LayerNorm):
    """LayerNorm computed in float32 and cast back, whatever the precision of its input.

    Without weights of its own (see :mod:`caspl.towers.fold`) the kernel itself does that, with no copies.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return F.layer_norm(x, self.normalized_shape, eps=self.eps)
        y = F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)
        return y.to(x.dtype)


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation of OpenAI's weights."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, type[nn.Module]] = {"quick_gelu": QuickGELU, "gelu": nn.GELU}


class Attention(nn.Module):
    """Multi-head self-attention with a packed input projection, named as in OpenAI's state dicts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        """(n, tokens, width) -> (n, heads, tokens, head width)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def key_value(self, x: Tensor) -> Memory:
        """Keys and values alone of x (n, tokens, width)."""
        width = x.shape[-1]
        kv = F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:])
        key, value = kv.chunk(2, dim=-1)
        return Memory(self._split(key), self._split(value))

    def forward(
        self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None, rows: Tensor | int | None = None
    ) -> tuple[Tensor, Memory]:
        """Attend.

        Args:
            x: (n, tokens, width).
            mask: added to the scores, broadcastable to (n, 1, queries, keys).
            memory: keys and values that stand before those of x; its groups must divide n, and sequence i
                sees group i // (n / groups).
            rows: (n,) index of the one row of x to compute per sequence, or one for all; None computes all rows.

        Returns:
            The attention output, (n, tokens or 1, width), and the keys and values of x.
        """
        if rows is None:
            query, key, value = (
                self._split(part) for part in F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
            )
            own = Memory(key, value)
        else:
            width = x.shape[-1]
            picked = take_rows(x, rows)
            query = self._split(F.linear(picked, self.in_proj_weight[:width], self.in_proj_bias[:width]))
            own = self.key_value(x)
        key, value = own
        if memory is not None:
            key = torch.cat([_expand(memory.key, x.shape[0]), key], dim=2)
            value = torch.cat([_expand(memory.value, x.shape[0]), value], dim=2)
        out = scaled_attention(query, key, value, mask)
        return self.out_proj(out.transpose(1, 2).flatten(2)), own


NormPair = tuple[nn.Module, nn.Module]
"""What stands before the attention and before the MLP of a block."""


class Block(nn.Module):
    """x + attention(ln_1 x), then + mlp(ln_2 x)."""

    def __init__(self, width: int, heads: int, activation: str = "quick_gelu") -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", ACTIVATIONS[activation]())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ln_2 = LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        memory: Memory | None = None,
        rows: Tensor | int | None = None,
        norms: NormPair | None = None,
    ) -> tuple[Tensor, Memory]:
        """Arguments and results as in :class:`Attention`; the first result is the block's output.

        Args:
            norms: in the place of its own; not where they are folded away.
        """
        ln_1, ln_2 = norms or (self.ln_1, self.ln_2)
        attended, own = self.attn(ln_1(x), mask, memory, rows)
        x = (x if rows is None else take_rows(x, rows)) + attended
        return x + self.mlp(ln_2(x)), own

    def key_value(self, x: Tensor) -> Memory:
        """What later tokens see of x when nothing else of this block's output is needed."""
        return self.attn.key_value(self.ln_1(x))


class Transformer(nn.Module):
    """A stack of blocks under OpenAI's name ``resblocks``."""

    def __init__(self, width: int, layers: int, heads: int, activation: str = "quick_gelu") -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads, activation) for _ in range(layers))

    def __iter__(self) -> Iterator[Block]:
        return iter(self.resblocks)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.resblocks)


def take_rows(x: Tensor, rows: Tensor | int) -> Tensor:
    """Row rows[i] of sequence i, or the same of all: (n, tokens, width) -> (n, 1, width)."""
    if isinstance(rows, int):
        return x[:, rows : rows + 1]
    return x.gather(1, rows.view(-1, 1, 1).expand(-1, 1, x.shape[-1]))


def scaled_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(QK^T / sqrt(d)) V, by the kernel that is fast for the case at hand.

    PyTorch's fused CPU kernel has a backward pass in bfloat16 that is several times slower than three plain
    operations, so that case is spelled out.
    """
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16 and torch.is_grad_enabled()
    if not slow:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    return scores.float().softmax(-1).to(value.dtype) @ value


def _expand(x: Tensor, n: int) -> Tensor:
    """(groups, ...) -> (n, ...), every group repeated for its n / groups sequences."""
    groups = x.shape[0]
    if groups == n:
        return x
    return x.unsqueeze(1).expand(groups, n // groups, *x.shape[1:]).flatten(0, 1)
