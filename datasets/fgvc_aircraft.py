"""FGVC-Aircraft: variants of aircraft, 100 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Entry, Labels, Split, read_lines


@DATASET_REGISTRY.register()
class FGVCAircraft(CoOpDataset):
    """Maji et al., Fine-grained visual classification of aircraft; the official split, from text lists."""

    dataset_dir = "fgvc_aircraft"
    image_folder = "images"

    def make_split(self) -> Split:
        """Read variants.txt and images_variant_{train,val,test}.txt."""
        return Split(self._entries("train"), self._entries("val"), self._entries("test"))

    def _entries(self, name: str) -> list[Entry]:
        folder = self.image_dir.parent
        variants = folder / "variants.txt"
        labels = Labels(variants, (line for (line,) in read_lines(variants)))
        lines = read_lines(folder / f"images_variant_{name}.txt", fields=2)
        return [Entry(f"{image}.jpg", labels[variant], variant) for image, variant in lines]
