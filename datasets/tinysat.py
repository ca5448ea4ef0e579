"""TinySat: 20 classes of drawn views from above, made on first use; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset


@DATASET_REGISTRY.register()
class TinySat(CoOpDataset):
    """The target domain of the tiny benchmark (`caspl.tiny`), in the layout of the others."""

    dataset_dir = "tinysat"
    image_folder = "images"
    split_file = "split_zhou_tinysat.json"

    def locate(self, root: str) -> Path:
        """Find the folder, after writing the data set where there is none."""
        if root:
            self.draw(Path(root).expanduser().absolute())
        return super().locate(root)

    def draw(self, root: Path) -> None:
        """Make sure that the pictures are there."""
        from caspl.tiny import write  # late: no other data set needs the drawing code

        write(root)
