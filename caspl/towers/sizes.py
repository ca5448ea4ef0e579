"""The sizes of a CLIP, read from its weights (OpenAI format): no width or depth is written in code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from torch import Tensor

from caspl.errors import CasPLError

NEEDED = (
    "visual.conv1.weight",
    "visual.proj",
    "visual.positional_embedding",
    "positional_embedding",
    "token_embedding.weight",
    "ln_final.weight",
    "text_projection",
    "logit_scale",
)
HEAD_WIDTH = 64  # of OpenAI's models; a state dict does not tell the number of heads


@dataclass(frozen=True)
class Sizes:
    """Sizes of a ViT CLIP.

    Args:
        embed_dim: width of the joint space.
        resolution: side of the square input image in pixels.
        patch: side of a patch in pixels.
        vision_width, vision_layers: image tower.
        text_width, text_layers: text tower.
        context_length: positions of the text tower.
        vocabulary: rows of the token table.
        vision_heads, text_heads: attention heads of each tower; 0 is OpenAI's rule, one for every 64 of width.
    """

    embed_dim: int
    resolution: int
    patch: int
    vision_width: int
    vision_layers: int
    text_width: int
    text_layers: int
    context_length: int = 77
    vocabulary: int = 49408
    vision_heads: int = 0
    text_heads: int = 0

    @property
    def heads(self) -> tuple[int, int]:
        """Attention heads of the image and the text tower."""
        return self.vision_heads or heads_of(self.vision_width), self.text_heads or heads_of(self.text_width)

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.resolution // self.patch

    @property
    def most_layers(self) -> int:
        """Layers of the deeper tower."""
        return max(self.vision_layers, self.text_layers)

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def of(cls, state_dict: Mapping[str, Tensor], heads: tuple[int, int] = (0, 0)) -> Sizes:
        """Read the sizes from an OpenAI-format state dict.

        Args:
            heads: of the image and the text tower, which it does not tell; see :class:`Sizes`.

        Raises:
            CasPLError: for another format, or for a ResNet image tower (it has no token sequence).
        """
        if "visual.layer1.0.conv1.weight" in state_dict:
            raise CasPLError(
                "this CLIP has a ResNet image tower, which has no tokens to prompt; use a ViT, e.g. ViT-B/16"
            )
        missing = [key for key in NEEDED if key not in state_dict]
        if missing:
            raise CasPLError(
                f"not a CLIP in OpenAI format: the weights lack {', '.join(missing)} "
                "(expected are OpenAI's key names, as in ViT-B-16.pt)"
            )
        conv = state_dict["visual.conv1.weight"]
        grid = round((state_dict["visual.positional_embedding"].shape[0] - 1) ** 0.5)
        sizes = cls(
            embed_dim=state_dict["text_projection"].shape[1],
            resolution=grid * conv.shape[-1],
            patch=conv.shape[-1],
            vision_width=conv.shape[0],
            vision_layers=_count_blocks(state_dict, "visual.transformer."),
            text_width=state_dict["ln_final.weight"].shape[0],
            text_layers=_count_blocks(state_dict, "transformer."),
            context_length=state_dict["positional_embedding"].shape[0],
            vocabulary=state_dict["token_embedding.weight"].shape[0],
            vision_heads=heads[0],
            text_heads=heads[1],
        )
        for tower, width, count in zip(
            ("image", "text"), (sizes.vision_width, sizes.text_width), sizes.heads, strict=True
        ):
            if count < 1 or width % count:
                raise CasPLError(f"the {tower} tower is {width} wide, which {count} heads do not divide")
        return sizes


def heads_of(width: int) -> int:
    """Attention heads of a tower of this width, by OpenAI's rule."""
    return max(1, width // HEAD_WIDTH)


def _count_blocks(state_dict: Mapping[str, Tensor], tower: str) -> int:
    pattern = re.compile(rf"^{re.escape(tower)}resblocks\.(\d+)\.")
    return len({match.group(1) for key in state_dict if (match := pattern.match(key))})
