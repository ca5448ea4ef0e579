"""Oxford-IIIT Pet: breeds of cats and dogs, 37 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Entry, Split, hold_out_val, read_lines


@DATASET_REGISTRY.register()
class OxfordPets(CoOpDataset):
    """Parkhi et al., Cats and dogs."""

    def make_split(self) -> Split:
        """Rule B over annotations/trainval.txt and test.txt."""
        return hold_out_val(self._entries("trainval.txt"), self._entries("test.txt"))

    def _entries(self, file: str) -> list[Entry]:
        # Lines read "american_bulldog_100 2 2 1": image, class from 1, species, breed of that species.
        lines = read_lines(self.image_dir.parent / "annotations" / file, fields=4)
        return [Entry(f"{image}.jpg", int(label) - 1, image.rpartition("_")[0].lower()) for image, label, _, _ in lines]
