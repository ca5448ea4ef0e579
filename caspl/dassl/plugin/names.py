"""Where the class name begins in the texts that a foreign prompt learner has tokenised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.towers.tokenizer import encode

USUAL_NAME = "tokenized_prompts"  # in CoOp and its heirs: a plain attribute, or a buffer


def find_ids(model: nn.Module, classes: int, positions: int) -> list[Tensor]:
    """All token ids of the classes, (classes, positions), that modules of a model hold.

    Those under the usual name if there are any, whatever else there is.
    """
    found = [
        (name, value.detach().cpu())
        for module in model.modules()
        for name, value in (*vars(module).items(), *module._buffers.items())
        if isinstance(value, Tensor)
        and value.dtype in (torch.int32, torch.int64)
        and value.shape == (classes, positions)
    ]
    usual = [ids for name, ids in found if name == USUAL_NAME]
    return usual or [ids for _, ids in found]


def find_start(model: nn.Module, found: Sequence[Tensor], classnames: Sequence[str]) -> int:
    """The position before which boosting tokens go: directly before the class name, as in CasPL's release.

    Where CoOp moves the name forward (``class_token_position``), that place, not the one in the ids.

    Args:
        found: one or more (classes, positions) token ids.
        classnames: one a row; underscores are read as spaces.

    Raises:
        CasPLError: if there is no common place.
    """
    starts = {_start(model, ids, [name.replace("_", " ") for name in classnames]) for ids in found}
    if len(starts) > 1:
        raise CasPLError(
            f"{type(model).__name__} holds several texts of its classes, in which the name begins at positions "
            f"{' and '.join(map(str, sorted(starts)))}: say which it is with caspl.plugin.cascade(..., class_start=...)"
        )
    return starts.pop()


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


def _start(model: nn.Module, ids: Tensor, names: Sequence[str]) -> int:
    """The place in one set of texts."""
    differing = (ids != ids[:1]).any(dim=0).nonzero()
    first_difference = int(differing[0]) if len(differing) else ids.shape[1]
    common = set.intersection(*(_places(row, name) for row, name in zip(ids.tolist(), names, strict=True)))
    # A name may come again later in its text: it begins no later than where texts begin to differ.
    places = sorted(place for place in common if place <= first_difference)
    if not places:
        raise CasPLError(
            f"the class names do not begin at one place in the texts of {type(model).__name__} (expected is a common "
            f"prefix before {names[0]!r}): give the place with caspl.plugin.cascade(..., class_start=5), counted from "
            "the start token"
        )
    for module in model.modules():
        position, length = getattr(module, "class_token_position", "end"), getattr(module, "n_ctx", 0)
        if position in ("middle", "front"):
            return 1 + (length // 2 if position == "middle" else 0)
    return places[-1] if len(names) > 1 else places[0]


def _places(row: list[int], name: str) -> set[int]:
    """Positions at which a name may begin in a tokenised text."""
    end = int(torch.tensor(row).argmax())
    whole, bare = encode(name + "."), encode(name)
    # A name that ends in punctuation fuses with the full stop.
    places = {end - len(whole)} if row[end - len(whole) : end] == whole else set()
    return places | {at for at in range(1, end) if row[at : at + len(bare)] == bare}
