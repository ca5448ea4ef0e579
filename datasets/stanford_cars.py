"""Stanford Cars: models of cars, 196 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Entry, Split, hold_out_val
from datasets.protocol.matlab import read_mat


@DATASET_REGISTRY.register()
class StanfordCars(CoOpDataset):
    """Krause et al., 3D object representations for fine-grained categorization."""

    def make_split(self) -> Split:
        """Rule B over the annotations of the development kit."""
        return hold_out_val(
            self._entries("cars_train", "devkit/cars_train_annos.mat"),
            self._entries("cars_test", "cars_test_annos_withlabels.mat"),
        )

    def _entries(self, folder: str, annotations: str) -> list[Entry]:
        names = [_year_first(str(name)) for name in read_mat(self.image_dir / "devkit/cars_meta.mat", "class_names")]
        records = read_mat(self.image_dir / annotations, "annotations")
        labelled = ((str(record["fname"]), int(record["class"]) - 1) for record in records)
        return [Entry(f"{folder}/{file}", label, names[label]) for file, label in labelled]


def _year_first(name: str) -> str:
    """Audi TTS Coupe 2012 -> 2012 Audi TTS Coupe."""
    car, _, year = name.rpartition(" ")
    return f"{year} {car}"
