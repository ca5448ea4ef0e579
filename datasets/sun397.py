"""SUN397: scenes, 397 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Entry, Labels, Split, hold_out_val, read_lines


@DATASET_REGISTRY.register()
class SUN397(CoOpDataset):
    """Xiao et al., SUN database: large-scale scene recognition from abbey to zoo."""

    def make_split(self) -> Split:
        """Rule B over the first official partition."""
        return hold_out_val(self._entries("Training_01.txt"), self._entries("Testing_01.txt"))

    def _entries(self, file: str) -> list[Entry]:
        scenes = self.image_dir.parent / "ClassName.txt"
        labels = Labels(scenes, (line for (line,) in read_lines(scenes)))
        # Lines read "/a/apartment_building/outdoor/sun_x.jpg".
        images = [(path.lstrip("/"), path.rpartition("/")[0]) for (path,) in read_lines(scenes.with_name(file))]
        return [Entry(path, labels[scene], _spoken(scene)) for path, scene in images]


def _spoken(scene: str) -> str:
    """/a/apartment_building/outdoor -> outdoor apartment_building."""
    return " ".join(reversed(scene.strip("/").split("/")[1:]))
