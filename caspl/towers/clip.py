"""CLIP: two towers and a logit scale, under the key names of OpenAI's state dicts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.towers.sizes import Sizes
from caspl.towers.text import TextTower
from caspl.towers.vision import VisionTower

HALF_KEPT_IN_FP32 = ("ln_", "logit_scale", "token_embedding", "positional_embedding", "class_embedding")


class CLIP(nn.Module):
    """A CLIP with a ViT image tower.

    Args:
        sizes: see :class:`Sizes`.
        activation: ``quick_gelu`` (OpenAI's weights) or ``gelu``; a state dict does not tell which.
    """

    def __init__(self, sizes: Sizes, activation: str = "quick_gelu") -> None:
        super().__init__()
        self.sizes, self.activation = sizes, activation
        self.visual = VisionTower(sizes, activation)
        self.text = TextTower(sizes, activation)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.folded = False  # see caspl.towers.fold

    @classmethod
    def from_state_dict(
        cls, state_dict: Mapping[str, Tensor], activation: str = "quick_gelu", heads: tuple[int, int] = (0, 0)
    ) -> CLIP:
        """Build a CLIP of the sizes of an OpenAI-format state dict, in float32, and load it strictly.

        Args:
            activation, heads: what the state dict does not tell, see :class:`CLIP` and :class:`Sizes`.

        Raises:
            CasPLError: if the state dict is of another format, incomplete, or holds a number that is not finite.
        """
        sizes = Sizes.of(state_dict, heads)
        for key, value in state_dict.items():
            if not value.isfinite().all():
                raise CasPLError(
                    f"the weights hold numbers in {key} that are not finite: take the file from its origin"
                )
        with torch.device("meta"):
            model = cls(sizes, activation)
        ours = {_to_own_key(key): value.detach().float().clone() for key, value in state_dict.items()}
        try:
            model.load_state_dict(ours, strict=True, assign=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CasPLError(f"the weights do not form a CLIP in OpenAI format: {reason}") from error
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model.eval()

    def openai_state_dict(self) -> dict[str, Tensor]:
        """The weights under OpenAI's key names.

        Raises:
            CasPLError: they are folded, and so no longer OpenAI's.
        """
        if self.folded:
            raise CasPLError(
                "the weights of a CLIP that trains on a GPU are folded and no longer those of its file: load it anew"
            )
        return {key.removeprefix("text."): value.detach() for key, value in self.state_dict().items()}

    def freeze(self) -> CLIP:
        """Turn off all gradients and stay in evaluation mode; returns itself."""
        for parameter in self.parameters():
            parameter.requires_grad_(False)
        return self.eval()

    def cast(self, dtype: torch.dtype) -> CLIP:
        """Cast the matrices of both towers; norms, embeddings and the scale stay in float32 (as OpenAI's fp16)."""
        for name, parameter in self.named_parameters():
            if not any(part in name for part in HALF_KEPT_IN_FP32):
                parameter.data = parameter.data.to(dtype)
        return self

    def encode_image(self, images: Tensor) -> Tensor:
        """(batch, 3, resolution, resolution) -> (batch, embed_dim), not normalised."""
        return self.visual(images)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Token ids (texts, context_length) -> (texts, embed_dim), not normalised.

        Not for use in a step: it asks the ids how long the texts are.
        """
        end = ids.argmax(dim=-1)
        shared = common_prefix(ids)
        embedded = self.text.embed(ids[:, : int(end.max()) + 1])
        memories = self.text.prefix(embedded[:1, :shared])
        return self.text.classes(embedded[:, shared:], end - shared, memories, shared)[0]


def common_prefix(ids: Tensor) -> int:
    """Number of leading tokens that all rows share, short of the first end token."""
    same = (ids == ids[:1]).all(dim=0)
    first_difference = int(same.long().cumprod(0).sum())
    return min(first_difference, int(ids.argmax(dim=-1).min()))


def _to_own_key(key: str) -> str:
    return key if key.startswith("visual.") or key == "logit_scale" else f"text.{key}"
