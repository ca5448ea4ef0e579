"""Features of (image, view) in a folder: shards that are written whole or not at all, and read without being loaded.

A shard is an npy file of rows ``(key, feature)``, its name ends in the SHA-256 of its content. The key is a hash of the
image's identity and the view's number. Nothing else says which rows there are, so that a folder is never half right.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from caspl.errors import CasPLError
from caspl.files import Claim, write_atomically
from caspl.store.header import Header

ROWS = 4096
"""Of a shard: about 6 MB of features of a ViT-L/14."""
Row = tuple[str, int]
"""Identity of an image, number of a view."""


class Store:
    """Kept features of one frozen encoder.

    Args:
        folder: of the store.
        header: what is asked for.
        budget: bytes that it may take on the disk; 0 is no bound.
        rows: of a shard.

    Raises:
        CasPLError: what is there belongs to something else, or is damaged.
    """

    def __init__(self, folder: str | Path, header: Header, budget: int = 0, rows: int = ROWS) -> None:
        self.folder, self.header, self.budget, self.rows = Path(folder), header, budget, rows
        found = Header.read(self.folder)
        if found is not None:
            header.require(found, self.folder)
        self._read()

    @classmethod
    def there(cls, folder: str | Path) -> Store:
        """The one that a folder holds, whatever it is of.

        Raises:
            CasPLError: there is none, or it is damaged.
        """
        header = Header.read(Path(folder))
        if header is None:
            raise CasPLError(f"there is no store in {folder}: name the folder that holds store.json")
        return cls(folder, header)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in _shards(self.folder))

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Those that it does not hold yet, each once, in order."""
        unique = list(dict.fromkeys(rows))
        keys = _keys(unique)
        return [row for row, held in zip(unique, np.isin(keys, self._keys), strict=True) if not held]

    def features(self, images: Sequence[str], views: Sequence[int]) -> Tensor:
        """Normalised features (images, width), float32, of a view of each image.

        Args:
            images: their identities.
            views: number of a view of each.

        Raises:
            CasPLError: one is not held.
        """
        keys = _keys(list(zip(images, views, strict=True)))
        places = np.searchsorted(self._keys, keys)
        held = places < len(self._keys)
        held[held] = self._keys[places[held]] == keys[held]
        if not held.all():
            first = int(np.flatnonzero(~held)[0])
            raise CasPLError(f"the store {self.folder} lacks view {views[first]} of {images[first]}: build it")
        where = self._where[places]
        first_shard = self._opened[where[0, 0]]["feature"]
        values = np.empty((len(keys), first_shard.shape[1]), np.float16)
        for number in np.unique(where[:, 0]):
            mine = where[:, 0] == number
            values[mine] = self._opened[number]["feature"][where[mine, 1]]
        return torch.from_numpy(values).float()

    def complete(
        self,
        rows: Sequence[Row],
        encode: Callable[[list[Row]], Iterator[Tensor]],
        say: Callable[[str], object] | None = None,
    ) -> int:
        """Encode what is missing, a shard at a time; each stays, whatever happens afterwards.

        Args:
            rows: what is wanted.
            encode: rows -> their features in order, in parts (some, width).
            say: told in a sentence for whom it waits.

        Returns:
            how many rows were made.

        Raises:
            CasPLError: they would not fit into the budget, or the disk is full.
        """
        if not self.missing(rows):
            return 0
        self.folder.mkdir(parents=True, exist_ok=True)
        with Claim.within(self.folder, "features").wait(say=say):
            self._begin()
            missing = self.missing(rows)  # another process may have made them meanwhile
            with tqdm(total=len(missing), desc="features", unit="views", leave=False, disable=None) as bar:
                for start in range(0, len(missing), self.rows):
                    part = missing[start : start + self.rows]
                    values = []
                    for features in encode(part):
                        values.append(features.cpu().half().numpy())
                        if start == 0 and len(values) == 1:
                            self._require_room(len(missing), values[0].shape[1])
                        bar.update(len(features))
                    self._write(part, np.concatenate(values))
        return len(missing)

    def verify(self) -> int:
        """Read every shard and compare it with its name; returns how many rows hold.

        Raises:
            CasPLError: naming the first that does not hold.
        """
        for path in _shards(self.folder):
            if hashlib.sha256(path.read_bytes()).hexdigest()[:16] != path.stem.partition("-")[2]:
                raise CasPLError(_damaged(path, "its content is not what was written"))
        for path, shard in zip(_shards(self.folder), self._opened, strict=True):
            norms = np.linalg.norm(shard["feature"].astype(np.float32), axis=1)
            if not np.allclose(norms, 1, atol=5e-3):
                raise CasPLError(_damaged(path, "a feature is not normalised"))
        return len(self)

    def _begin(self) -> None:
        """Under the claim: leave what a killed process left, and say what this is."""
        found = Header.read(self.folder)
        if found is None:
            self.header.write(self.folder)
        else:
            self.header.require(found, self.folder)
        for left in (*self.folder.glob(".*.npy.*"), *self.folder.glob(".store.json.*")):
            left.unlink(missing_ok=True)
        self._read()

    def _require_room(self, count: int, width: int) -> None:
        needed = self.size + count * _row(width).itemsize
        if 0 < self.budget < needed:
            raise CasPLError(
                f"the store {self.folder} would take {needed:,} bytes, but TRAINER.CASPL.STORE_BYTES is "
                f"{self.budget:,}: raise it, or lower TRAINER.CASPL.VIEWS"
            )

    def _write(self, rows: list[Row], values: NDArray[np.float16]) -> None:
        shard = np.empty(len(rows), _row(values.shape[1]))
        shard["key"], shard["feature"] = _keys(rows), values
        buffer = io.BytesIO()
        np.save(buffer, shard)
        content = buffer.getvalue()
        name = f"{len(self._opened):06d}-{hashlib.sha256(content).hexdigest()[:16]}.npy"
        write_atomically(self.folder / name, lambda temporary: Path(temporary).write_bytes(content))
        self._read()

    def _read(self) -> None:
        """Open all shards; rows of the same key are the same."""
        self._opened = [_open(path) for path in _shards(self.folder)]
        if len({shard.dtype for shard in self._opened}) > 1:
            raise CasPLError(f"the shards in {self.folder} are of several widths: delete the folder")
        places = [(number, row) for number, shard in enumerate(self._opened) for row in range(len(shard))]
        keys = np.concatenate([shard["key"] for shard in self._opened] or [np.empty(0, np.uint64)])
        self._keys, order = np.unique(keys, return_index=True)
        self._where = np.array(places, np.int64).reshape(-1, 2)[order]


def _row(width: int) -> np.dtype[np.void]:
    return np.dtype([("key", "<u8"), ("feature", "<f2", (width,))])


def _keys(rows: Sequence[Row]) -> NDArray[np.uint64]:
    digests = b"".join(hashlib.blake2b(repr(row).encode(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, "<u8")


def _shards(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.npy") if not path.name.startswith("."))


def _open(path: Path) -> NDArray[np.void]:
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CasPLError(_damaged(path, "it is cut short or no npy file")) from error
    if shard.dtype.names != ("key", "feature") or shard.ndim != 1:
        raise CasPLError(_damaged(path, "it holds no features"))
    return shard


def _damaged(path: Path, what: str) -> str:
    return f"the shard {path} is damaged ({what}): delete it, and what it held is made anew"
