"""TinyWorld: pictures of the world that the tiny models were pre-trained on, made on first use."""

from __future__ import annotations

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.tinysat import Drawn


@DATASET_REGISTRY.register()
class TinyWorld(Drawn):
    """Unlabelled images from outside TinySat's domain, as many as it has; the classes are the structures shown."""

    dataset_dir = "tinyworld"
    split_file = "split_zhou_tinyworld.json"

    def draw(self, root: Path) -> None:
        from caspl.tiny import write_world

        write_world(root)
