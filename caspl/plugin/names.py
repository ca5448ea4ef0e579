"""Where the class name begins in the texts that a foreign prompt learner has tokenised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.towers.tokenizer import encode


def token_ids(model: nn.Module, classes: int, positions: int) -> Tensor | None:
    """The token ids of the classes, (classes, positions), that some module of the model holds, if any.

    CoOp and its heirs keep them as ``tokenized_prompts``, a plain attribute or a buffer.
    """
    for module in model.modules():
        for value in (*vars(module).values(), *module._buffers.values()):
            ids = isinstance(value, Tensor) and value.dtype in (torch.int32, torch.int64)
            if ids and value.shape == (classes, positions):
                return value.detach().cpu()
    return None


def class_start(model: nn.Module, ids: Tensor, classnames: Sequence[str]) -> int:
    """The position before which boosting tokens go: directly before the class name, as in CasPL's release.

    Where CoOp moves the name forward (``class_token_position``), that place, not the one in ``ids``.

    Args:
        ids: (classes, positions) token ids.
        classnames: one a row; underscores are read as spaces.

    Raises:
        CasPLError: if there is no common place.
    """
    words = [name.replace("_", " ") for name in classnames]
    common = set.intersection(*(_places(row, name) for row, name in zip(ids.tolist(), words, strict=True)))
    if not common:
        raise CasPLError(
            f"the class names do not begin at one place in the texts of {type(model).__name__} (expected is a common "
            f"prefix before {words[0]!r}): give the place with caspl.plugin.cascade(..., class_start=5), counted from "
            "the start token"
        )
    start = max(common)
    for module in model.modules():
        position = getattr(module, "class_token_position", "end")
        if position in ("middle", "front"):
            return 1 + (getattr(module, "n_ctx", start - 1) // 2 if position == "middle" else 0)
    return start


def require_room(ids: Tensor, classnames: Sequence[str], length: int) -> None:
    """Refuse texts whose end token would leave the text tower.

    Raises:
        CasPLError: naming the longest class.
    """
    ends = ids.argmax(dim=-1)
    longest = int(ends.argmax())
    if int(ends[longest]) + length >= ids.shape[1]:
        raise CasPLError(
            f"the class name {classnames[longest]!r} ends at position {int(ends[longest])}, and {length} boosting "
            f"tokens go before it, but the text tower has {ids.shape[1]}; shorten the name or the prompts"
        )


def _places(row: list[int], name: str) -> set[int]:
    """Positions at which a name may begin in a tokenised text."""
    end = int(torch.tensor(row).argmax())
    whole, bare = encode(name + "."), encode(name)
    # A name that ends in punctuation fuses with the full stop.
    places = {end - len(whole)} if row[end - len(whole) : end] == whole else set()
    return places | {at for at in range(1, end) if row[at : at + len(bare)] == bare}
