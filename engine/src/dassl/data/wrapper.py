"""From image records to training items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset
from yacs.config import CfgNode

from ..utils.tools import read_image
from .datasets.base_dataset import Datum
from .repeatable import drawing_for
from .transforms.build import build_plain_transform

__all__ = ["DatasetWrapper", "Transform"]

Transform = Callable[[Any], Any]


class DatasetWrapper(Dataset[dict[str, Any]]):
    """Reads and transforms images.

    An item is a dictionary with, in this order, ``label``, ``domain``, ``impath``, ``index``, ``img``; a list
    of transforms adds ``img2``, ``img3`` ...; DATALOADER.RETURN_IMG0 adds ``img0``, the image only resized.
    With DATALOADER.K_TRANSFORMS > 1 each transform makes a list of that many views in training.

    Args:
        cfg: the configuration.
        data_source: the images.
        transform: one callable, several, or None for PIL images.
        is_train: whether K_TRANSFORMS applies.

    Raises:
        ValueError: several views are wanted without a transform.
    """

    def __init__(
        self,
        cfg: CfgNode,
        data_source: Sequence[Datum],
        transform: Transform | Sequence[Transform] | None = None,
        is_train: bool = False,
    ) -> None:
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.k_tfm: int = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.return_img0: bool = cfg.DATALOADER.RETURN_IMG0
        if self.k_tfm > 1 and transform is None:
            raise ValueError(f"Cannot augment the image {self.k_tfm} times because transform is None")
        self.to_tensor = build_plain_transform(cfg)

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        output = self._record(idx)
        image = read_image(output["impath"])
        with drawing_for(idx):
            self._add_images(output, image)
        return output

    def _record(self, idx: int) -> dict[str, Any]:
        item = self.data_source[idx]
        return {"label": item.label, "domain": item.domain, "impath": item.impath, "index": int(idx)}

    def _add_images(self, output: dict[str, Any], image: Any) -> None:
        if self.transform is None:
            output["img"] = image
        elif isinstance(self.transform, (list, tuple)):
            for number, transform in enumerate(self.transform, start=1):
                output["img" if number == 1 else f"img{number}"] = self._transform_image(transform, image)
        else:
            output["img"] = self._transform_image(self.transform, image)
        if self.return_img0:
            output["img0"] = self.to_tensor(image)

    def _transform_image(self, transform: Any, image: Any) -> Any:
        views = [transform(image) for _ in range(self.k_tfm)]
        return views[0] if len(views) == 1 else views
