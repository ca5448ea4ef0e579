"""From image records to training items, on tensors all the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yacs.config import CfgNode

from .batch import Batch, RoomFor
from .datasets.base_dataset import Datum
from .pixels import PixelSource
from .repeatable import drawing_for
from .transforms.tensor import TensorTransform
from .wrapper import DatasetWrapper

__all__ = ["TensorWrapper"]


class TensorWrapper(DatasetWrapper):
    """Reads pixels, from files or a cache, and transforms them; its items are those of :class:`DatasetWrapper`.

    Args:
        cfg: the configuration.
        data_source: the images.
        transform: one or several.
        is_train: whether K_TRANSFORMS applies.
    """

    def __init__(
        self,
        cfg: CfgNode,
        data_source: Sequence[Datum],
        transform: TensorTransform | Sequence[TensorTransform],
        is_train: bool = False,
    ) -> None:
        super().__init__(cfg, data_source, transform, is_train)
        transforms = [transform] if isinstance(transform, TensorTransform) else transform
        self._only_torch = all(each.only_torch for each in transforms)
        # The usual case has ways of its own: batches are made in place, and test images can be cached as they are cut.
        self._single = transforms[0] if len(transforms) == self.k_tfm == 1 and not self.return_img0 else None
        cut_by = self._single if self._single is not None and self._single.rule else None
        self.pixels = PixelSource(cfg, data_source, cut_by, shrink=is_train)

    def open_cache(self) -> None:
        """Open or make the cache of pixels, if it is switched on; before workers start, so that they share it."""
        self.pixels.open_cache()

    def __getitem__(self, idx: int) -> dict[str, Any]:
        return self._item(idx)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the items of a batch; torch's loaders call this."""
        if self._single is None or self._single.float_steps:
            return [self._item(idx) for idx in indices]
        batch = Batch(len(indices))
        for idx in indices:
            batch.append(self._item(idx, batch.room_for))
        return batch

    def _item(self, idx: int, room_for: RoomFor | None = None) -> dict[str, Any]:
        output = self._record(idx)
        pixels = self.pixels[idx]
        with drawing_for(idx, self._only_torch):
            if self._single is None:
                self._add_images(output, pixels)
            else:
                cut = pixels if self.pixels.cut_by is not None else self._single.cut(pixels)
                output["img"] = self._single.finish(cut, room_for)
        return output
