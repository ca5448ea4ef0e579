"""The class names of a checkpoint, read back from the word embeddings that it holds.

CoOp and its heirs save ``token_suffix`` (classes, positions, width): the embedded words behind the learned tokens. They
are the words that stay, the class name, a full stop, the end token and padding; the student's own table tells which.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caspl.convert.state import State
from caspl.errors import CasPLError
from caspl.towers.text import TextTower
from caspl.towers.tokenizer import decode, encode, tokenize

NEAR = 0.05
"""Distance to a word's embedding, in lengths of it, that rounding and an average over epochs in half precision take."""
CHUNK = 256


def suffix_ids(state: State, key: str, tower: TextTower, student: str) -> list[list[int]]:
    """Byte-pair ids behind the learned tokens, one row a class, the end token not among them.

    Args:
        key: of the token_suffix.
        tower: of the student.
        student: its name, for the sentence.

    Raises:
        CasPLError: the tensor is no such thing, or the embeddings are another student's.
    """
    rows = state.numbers(key, (3,))
    table, positions = tower.token_embedding.weight.detach().float().cpu(), tower.positional_embedding.shape[0]
    if rows.shape[1] >= positions or rows.shape[2] != table.shape[1]:
        raise CasPLError(
            f"{state.path} has {key} of shape {tuple(rows.shape)}, but {student} has {positions} positions of width "
            f"{table.shape[1]}; name another student with --student"
        )
    ids = _nearest(rows.flatten(0, 1).float(), table)
    if ids is None:
        raise CasPLError(
            f"{state.path} was made with another student than {student}: the words in its {key} have other embeddings; "
            "name the right one with --student"
        )
    end = int(tokenize("")[0].max())
    found = [row[: row.index(end)] if end in row else [] for row in ids.view(rows.shape[:2]).tolist()]
    if not all(found):
        raise CasPLError(f"{state.path} is damaged: {key} holds a class without a name")
    return found


def split(path: object, rows: Sequence[Sequence[int]], rest: Sequence[int], names: Sequence[str]) -> list[str]:
    """The class names of rows of ids.

    Args:
        path: for the sentence.
        rows: as of :func:`suffix_ids`.
        rest: ids of the words that stay in front of every name.
        names: what they are called by who knows; empty takes them from the ids, in small letters.

    Raises:
        CasPLError: the names given are others, or the ids spell none.
    """
    bare = [list(row[len(rest) :]) for row in rows]
    found = list(names) or [decode(ids).removesuffix(".").strip() for ids in bare]
    if len(found) != len(bare):
        raise CasPLError(f"{path} was made for {len(bare)} classes, but --classnames has {len(found)}")
    for name, ids in zip(found, bare, strict=True):
        if not name or encode(f"{name.replace('_', ' ')}.") != ids:
            said = decode(ids).removesuffix(".").strip()
            way = "give them as they were, in that order" if names else "give the names by --classnames, one a line"
            raise CasPLError(f"{path} has a class that reads {said!r}, which is not the name {name!r}: {way}")
    return found


def _nearest(rows: Tensor, table: Tensor) -> Tensor | None:
    """The row of the table that each one is; None if one is none of them."""
    unique, places = rows.unique(dim=0, return_inverse=True)
    found = []
    for some in unique.split(CHUNK):
        ids = torch.cdist(some, table).argmin(dim=1)
        if not ((some - table[ids]).norm(dim=1) <= NEAR * table[ids].norm(dim=1)).all():
            return None
        found.append(ids)
    return torch.cat(found)[places]
