"""Data-set files of a user's own: the ten lines of docs/your-data.md, and files written after CoOp's pattern."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import train
from caspl.errors import CasPLError
from caspl.results import read_record
from dassl.data.datasets import Datum
from datasets.dtd import DescribableTextures
from datasets.oxford_pets import OxfordPets
from tests.datasets.miniatures import images, numbered
from tests.runs import REPO

# Written for this test after the pattern of the field's data-set files.
PATTERN = """
import os
import pickle

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from dassl.utils import mkdir_if_missing

from .dtd import DescribableTextures as DTD
from .oxford_pets import OxfordPets


@DATASET_REGISTRY.register()
class Birds(DatasetBase):
    dataset_dir = "birds"

    def __init__(self, cfg):
        root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
        self.dataset_dir = os.path.join(root, self.dataset_dir)
        self.image_dir = os.path.join(self.dataset_dir, "images")
        self.split_path = os.path.join(self.dataset_dir, "split_birds.json")
        self.split_fewshot_dir = os.path.join(self.dataset_dir, "split_fewshot")
        mkdir_if_missing(self.split_fewshot_dir)
        if os.path.exists(self.split_path):
            train, val, test = OxfordPets.read_split(self.split_path, self.image_dir)
        else:
            train, val, test = DTD.read_and_split_data(self.image_dir, ignored=["junk"], new_cnames={"owl": "barn owl"})
            OxfordPets.save_split(train, val, test, self.split_path, self.image_dir)
        shots, seed = cfg.DATASET.NUM_SHOTS, cfg.SEED
        if shots >= 1:
            kept = os.path.join(self.split_fewshot_dir, f"shot_{shots}-seed_{seed}.pkl")
            if os.path.exists(kept):
                with open(kept, "rb") as file:
                    data = pickle.load(file)
                train, val = data["train"], data["val"]
            else:
                train = self.generate_fewshot_dataset(train, num_shots=shots)
                val = self.generate_fewshot_dataset(val, num_shots=min(shots, 4))
                with open(kept, "wb") as file:
                    pickle.dump({"train": train, "val": val}, file, protocol=pickle.HIGHEST_PROTOCOL)
        train, val, test = OxfordPets.subsample_classes(train, val, test, subsample=cfg.DATASET.SUBSAMPLE_CLASSES)
        super().__init__(train_x=train, val=val, test=test)
"""


def test_a_file_of_the_pattern_trains_and_is_tested(runs: Any, tmp_path: Path) -> None:
    names = ("eagle", "owl", "junk", "robin", "swan")
    images(tmp_path / "birds" / "images", numbered(*names, count=10))
    plugin = tmp_path / "birds_of_the_field.py"
    plugin.write_text(PATTERN)
    runs.root = tmp_path
    few = ["TRAINER.COOP.PREC", "fp32", "OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "2", "DATASET.NAME", "Birds"]
    line = ["--plugin", str(plugin), *runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "base", *few)]
    for _ in range(2):  # drawn, then read
        assert train.main([*line, "DATASET.SUBSAMPLE_CLASSES", "base"]) == 0
    load = ["--eval-only", "--model-dir", str(runs.folder / "base"), "--output-dir", str(runs.folder / "new")]
    assert train.main([*line, *load, "DATASET.SUBSAMPLE_CLASSES", "new"]) == 0
    assert read_record(runs.folder / "new" / "result.json").test_images == 2 * 3
    kept = json.loads((tmp_path / "birds" / "split_birds.json").read_text())
    assert {name for _, _, name in kept["train"]} == {"eagle", "barn owl", "robin", "swan"}
    assert kept["train"][0][0].startswith("eagle/image_")


def test_the_ten_lines_of_the_documents(runs: Any, tmp_path: Path) -> None:
    text = (REPO / "docs/your-data.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    plugin = tmp_path / "mushrooms_of_the_documents.py"
    plugin.write_text(block)
    images(tmp_path / "mushrooms" / "images", numbered("amanita", "boletus", "chanterelle", count=10))
    runs.root = tmp_path
    few = ["TRAINER.COOP.PREC", "fp32", "OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "2", "DATASET.NAME", "Mushrooms"]
    line = runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "run", *few)
    assert train.main(["--plugin", str(plugin), *line]) == 0
    assert read_record(runs.folder / "run" / "result.json").test_images == 9
    assert "fly agaric" in (tmp_path / "mushrooms" / "split_mushrooms.json").read_text()


def test_the_lists_of_the_pattern(tmp_path: Path) -> None:
    images(tmp_path, numbered("ant", "bee", "cow", count=10))
    train_x, val, test = DescribableTextures.read_and_split_data(str(tmp_path), p_trn=0.3, p_val=0.3)
    assert (len(train_x), len(val), len(test)) == (9, 9, 12)
    assert all(isinstance(item, Datum) and Path(item.impath).is_file() for item in (*train_x, *val, *test))
    OxfordPets.save_split(train_x, val, test, str(tmp_path / "split.json"), str(tmp_path))
    again = OxfordPets.read_split(str(tmp_path / "split.json"), str(tmp_path))
    assert [[item.impath for item in part] for part in again] == [[i.impath for i in p] for p in (train_x, val, test)]
    new = OxfordPets.subsample_classes(train_x, test, subsample="new")
    assert [({item.classname for item in part}, {item.label for item in part}) for part in new] == [({"cow"}, {0})] * 2
    assert OxfordPets.subsample_classes(train_x, subsample="all") == (train_x,)
    kept, held = OxfordPets.split_trainval(train_x, p_val=1 / 3)
    assert (len(kept), len(held)) == (6, 3)
    with pytest.raises(CasPLError, match="must be one of all, base, new, not 'old'"):
        OxfordPets.subsample_classes(train_x, subsample="old")
    Path(test[0].impath).unlink()
    with pytest.raises(CasPLError, match="images of the split are missing"):
        OxfordPets.read_split(str(tmp_path / "split.json"), str(tmp_path))
