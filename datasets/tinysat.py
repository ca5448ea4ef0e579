"""TinySat, its shifts, and TinyCloth: drawn data sets, made on first use; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset


class Drawn(CoOpDataset):
    """A domain of the tiny benchmark (`caspl.tiny.domain`), in the layout of the others."""

    image_folder = "images"

    def locate(self, root: str) -> Path:
        """Find the folder, after writing the data set where there is none."""
        if root:
            self.draw(Path(root).expanduser().absolute())
        return super().locate(root)

    def draw(self, root: Path) -> None:
        """Make sure that the pictures are there."""
        from caspl.tiny import write  # late: no other data set needs the drawing code
        from caspl.tiny.domain import DOMAINS

        write(root, domain=DOMAINS[self.dataset_dir])


@DATASET_REGISTRY.register()
class TinySat(Drawn):
    """20 classes of things seen from above: the target domain."""

    dataset_dir = "tinysat"
    split_file = "split_zhou_tinysat.json"


@DATASET_REGISTRY.register()
class TinySatV2(Drawn):
    """The same land pictured anew, a little harder."""

    dataset_dir = "tinysat_v2"
    split_file = "split_zhou_tinysat_v2.json"


@DATASET_REGISTRY.register()
class TinySatSketch(Drawn):
    """TinySat's classes in coloured pencil."""

    dataset_dir = "tinysat_sketch"
    split_file = "split_zhou_tinysat_sketch.json"


@DATASET_REGISTRY.register()
class TinySatR(Drawn):
    """16 of TinySat's classes as mosaics."""

    dataset_dir = "tinysat_r"
    split_file = "split_zhou_tinysat_r.json"


@DATASET_REGISTRY.register()
class TinyCloth(Drawn):
    """16 classes of woven cloth, in colours and structures that TinySat does not have."""

    dataset_dir = "tinycloth"
    split_file = "split_zhou_tinycloth.json"
