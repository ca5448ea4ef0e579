"""The fifteen data sets of the CoOp protocol: names, layout, counts, and where their files come from.

Names, layout and Drive ids are those of CoOp's DATASETS.md, counts those of its split files or of the official lists.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from caspl.errors import CasPLError

DRIVE = "https://drive.google.com/file/d/"
SPLIT_COPIES = (
    "https://raw.githubusercontent.com/linzhiqiu/cross_modal_adaptation/"
    "ac9077ee4e422f768c9b9109551468605e33ec9a/splits/"
)
"""A repository that keeps all split files, at a fixed commit."""

MIRROR = "zhengli97/prompt_learning_dataset"
"""PromptKD's copy of all sets but ImageNet on Hugging Face: a repository of type model, one zip a set."""

CLASSNAMES_BLOB = "91710b143a9ea19996f66d1b92af859f99e96e8e"
"""What ``git hash-object`` says of the 1000 lines "id name" of CLIP's curated list."""


@dataclass(frozen=True)
class Published:
    """One data set.

    Attributes:
        name: its DATASET.NAME.
        stem: name of its config file, which scripts and result folders use.
        folder: below the data root.
        images: folder in it to which the paths of the split are relative.
        classes: their number.
        counts: images in train, val and test; train is 0 where there are test images only.
        gigabytes: about the size of the archives.
        archive: what they are called.
        home: where they are published.
        torchvision: the class of torchvision.datasets that downloads them, if one does.
        split_id: Google Drive's id of the split file; empty where the split comes with the data set.
        split_blob: what ``git hash-object`` says of it.
    """

    name: str
    stem: str
    folder: str
    images: str
    classes: int
    counts: tuple[int, int, int]
    gigabytes: float
    archive: str
    home: str
    torchvision: str = ""
    split_id: str = ""
    split_blob: str = ""

    @property
    def split_file(self) -> str:
        """Name of the split file in the folder; empty where the split comes with the data set."""
        return f"split_zhou_{self.name}.json" if self.split_id else ""

    @property
    def split_urls(self) -> tuple[str, ...]:
        """Where the split file can be had: a copy that needs no further package, then the original."""
        return (SPLIT_COPIES + self.split_file, DRIVE + self.split_id) if self.split_id else ()

    @property
    def test_only(self) -> bool:
        """There are no training images."""
        return self.counts[0] == 0

    @property
    def by_hand(self) -> str:
        """What to do where nothing can be downloaded."""
        return (
            f"get {self.archive} from {self.home}, then python -m caspl.data prepare {self.name} --root DIR "
            "--from FILE ... (or the folder of the unpacked files)"
        )


_ALL = (
    Published(
        name="ImageNet",
        stem="imagenet",
        folder="imagenet",
        images="images",
        classes=1000,
        counts=(1_281_167, 50_000, 50_000),
        gigabytes=145,
        archive="ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz",
        home="https://image-net.org (after registration)",
    ),
    Published(
        name="Caltech101",
        stem="caltech101",
        folder="caltech-101",
        images="101_ObjectCategories",
        classes=100,
        counts=(4_128, 1_649, 2_465),
        gigabytes=0.14,
        archive="caltech-101.zip",
        home="https://data.caltech.edu/records/mzrjq-6wc02",
        torchvision="Caltech101",
        split_id="1hyarUivQE36mY6jSomru6Fjd-JzwcCzN",
        split_blob="8be694a80de04a39fb159c462bea9696aa47ccf1",
    ),
    Published(
        name="OxfordPets",
        stem="oxford_pets",
        folder="oxford_pets",
        images="images",
        classes=37,
        counts=(2_944, 736, 3_669),
        gigabytes=0.8,
        archive="images.tar.gz",
        home="https://www.robots.ox.ac.uk/~vgg/data/pets",
        torchvision="OxfordIIITPet",
        split_id="1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs",
        split_blob="fa821d9f9e7d32fdf3640bf74fa7491ed04f37da",
    ),
    Published(
        name="StanfordCars",
        stem="stanford_cars",
        folder="stanford_cars",
        images="",  # paths in the split start with cars_train/ or cars_test/
        classes=196,
        counts=(6_509, 1_635, 8_041),
        gigabytes=2,
        archive="cars_train.tgz and cars_test.tgz",
        home=(
            "a copy that keeps their file names, such as "
            "https://www.kaggle.com/datasets/jessicali9530/stanford-cars-dataset (the original is offline; the split "
            "fits no copy that sorts the images into class folders or numbers them anew)"
        ),
        split_id="1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT",
        split_blob="dcdb8264712e9940e74cfb0f06ddb8f9cc239b81",
    ),
    Published(
        name="OxfordFlowers",
        stem="oxford_flowers",
        folder="oxford_flowers",
        images="jpg",
        classes=102,
        counts=(4_093, 1_633, 2_463),
        gigabytes=0.35,
        archive="102flowers.tgz",
        home="https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
        torchvision="Flowers102",
        split_id="1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT",
        split_blob="8d10037b0690b6c65e307a354b039efb0f42404c",
    ),
    Published(
        name="Food101",
        stem="food101",
        folder="food-101",
        images="images",
        classes=101,
        counts=(50_500, 20_200, 30_300),
        gigabytes=5,
        archive="food-101.tar.gz",
        home="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101",
        torchvision="Food101",
        split_id="1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl",
        split_blob="39557040ee6501bd32aa8b5dfd75f7941a32f0a7",
    ),
    Published(
        name="FGVCAircraft",
        stem="fgvc_aircraft",
        folder="fgvc_aircraft",
        images="images",
        classes=100,
        counts=(3_334, 3_333, 3_333),
        gigabytes=2.75,
        archive="fgvc-aircraft-2013b.tar.gz",
        home="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
        torchvision="FGVCAircraft",
    ),
    Published(
        name="SUN397",
        stem="sun397",
        folder="sun397",
        images="SUN397",
        classes=397,
        counts=(15_880, 3_970, 19_850),
        gigabytes=37,
        archive="SUN397.tar.gz",
        home="a copy that keeps its paths (a/abbey/sun_*.jpg, ...; the original at Princeton is offline)",
        split_id="1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq",
        split_blob="8d5725db8f70bcf02245665304f863e68f96a24c",
    ),
    Published(
        name="DescribableTextures",
        stem="dtd",
        folder="dtd",
        images="images",
        classes=47,
        counts=(2_820, 1_128, 1_692),
        gigabytes=0.63,
        archive="dtd-r1.0.1.tar.gz",
        home="https://www.robots.ox.ac.uk/~vgg/data/dtd",
        torchvision="DTD",
        split_id="1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x",
        split_blob="8dd197a94b598fa44ee3c9e35c486dd017ab00a7",
    ),
    Published(
        name="EuroSAT",
        stem="eurosat",
        folder="eurosat",
        images="2750",
        classes=10,
        counts=(13_500, 5_400, 8_100),
        gigabytes=0.1,
        archive="EuroSAT.zip (the RGB version)",
        home="https://github.com/phelber/EuroSAT",
        torchvision="EuroSAT",
        split_id="1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o",
        split_blob="6bdc847a5d5c49dcc78e8cb8707b87198cbfa5a4",
    ),
    Published(
        name="UCF101",
        stem="ucf101",
        folder="ucf101",
        images="UCF-101-midframes",
        classes=101,
        counts=(7_639, 1_898, 3_783),
        gigabytes=0.3,
        archive="UCF-101-midframes.zip",
        home=f"{DRIVE}10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O",
        split_id="1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y",
        split_blob="ea87e3de7b4f6f00fdd77618e34a23508b4c5590",
    ),
    Published(
        name="ImageNetV2",
        stem="imagenetv2",
        folder="imagenetv2",
        images="imagenetv2-matched-frequency-format-val",
        classes=1000,
        counts=(0, 0, 10_000),
        gigabytes=1.3,
        archive="imagenetv2-matched-frequency.tar.gz",
        home="https://github.com/modestyachts/ImageNetV2",
    ),
    Published(
        name="ImageNetSketch",
        stem="imagenet_sketch",
        folder="imagenet-sketch",
        images="images",
        classes=1000,
        counts=(0, 0, 50_889),
        gigabytes=8,
        archive="ImageNet-Sketch.zip",
        home="https://github.com/HaohanWang/ImageNet-Sketch",
    ),
    Published(
        name="ImageNetA",
        stem="imagenet_a",
        folder="imagenet-adversarial",
        images="imagenet-a",
        classes=200,
        counts=(0, 0, 7_500),
        gigabytes=0.7,
        archive="imagenet-a.tar",
        home="https://github.com/hendrycks/natural-adv-examples",
    ),
    Published(
        name="ImageNetR",
        stem="imagenet_r",
        folder="imagenet-rendition",
        images="imagenet-r",
        classes=200,
        counts=(0, 0, 30_000),
        gigabytes=2.2,
        archive="imagenet-r.tar",
        home="https://github.com/hendrycks/imagenet-r",
    ),
)

PUBLISHED: dict[str, Published] = {published.name: published for published in _ALL}
"""By DATASET.NAME, in the order of the papers."""


def find_published(name: str) -> Published:
    """The data set of a name in any spelling: DATASET.NAME, config file or folder, such as EuroSAT or eurosat.

    Raises:
        CasPLError: there is none; names the closest.
    """
    spellings = {spelling: one for one in PUBLISHED.values() for spelling in spellings_of(one)}
    if name_key(name) in spellings:
        return spellings[name_key(name)]
    close = [spellings[key].name for key in difflib.get_close_matches(name_key(name), spellings, n=3)]
    question = f"did you mean {' or '.join(dict.fromkeys(close))}?" if close else f"there are {', '.join(PUBLISHED)}"
    raise CasPLError(f"no published data set is called {name!r}: {question}")


def spellings_of(published: Published) -> set[str]:
    """The names of a data set, as ``name_key`` writes them."""
    return {name_key(name) for name in (published.name, published.stem, published.folder)}


def name_key(name: str) -> str:
    """One spelling for Food-101, food_101 and Food101."""
    return "".join(letter for letter in name.lower() if letter.isalnum())
