"""Oxford Flowers: 102 classes."""

from caspl.errors import CasPLError
from caspl.files.parse import parse_json
from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Entry, Split, split_by_ratio
from datasets.protocol.matlab import read_mat


@DATASET_REGISTRY.register()
class OxfordFlowers(CoOpDataset):
    """Nilsback and Zisserman, Automated flower classification over a large number of classes."""

    def make_split(self) -> Split:
        """Rule A over imagelabels.mat, with the names in cat_to_name.json; the official split is not used."""
        folder = self.image_dir.parent
        labels = read_mat(folder / "imagelabels.mat", "labels")
        path = folder / "cat_to_name.json"
        try:
            names = parse_json(path.read_text(encoding="utf-8"))
            # Labels and images count from 1.
            return split_by_ratio(
                Entry(f"image_{image:05d}.jpg", int(label) - 1, names[str(label)])
                for image, label in enumerate(labels, start=1)
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CasPLError(f"{path} should name each class 1, 2, ... of imagelabels.mat ({error})") from error
