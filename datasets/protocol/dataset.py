"""The base class of the data sets: finds the files, reads or makes the split, samples, cuts."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, cast

from yacs.config import CfgNode

from caspl.data import PUBLISHED, Entry, Published, Split, check_split, read_split, write_split
from caspl.data.listing import ARCHIVE_ADVICE, found_in, require_images
from caspl.data.official import READERS
from caspl.errors import CasPLError
from dassl.data.datasets import DatasetBase, Datum
from datasets.protocol.fewshot import few_shots
from datasets.protocol.items import make_items
from datasets.protocol.pattern import ByPattern
from datasets.protocol.subset import select_classes

logger = logging.getLogger(__name__)


class CoOpDataset(ByPattern, DatasetBase):
    """A data set of the CoOp protocol. A subclass says where its files lie and how a missing split is made.

    Where the files of a published one lie is known by the name of its class, from ``caspl.data.PUBLISHED``.

    Attributes:
        published: what is known of a published data set.
        dataset_dir: folder of the data set below ``DATASET.ROOT``; in instances its absolute path.
        image_folder: folder in it to which the paths of the split are relative.
        split_file: name of the split file, if there is one.
        split_digest: in instances, of the whole split, whatever part of it is used; boosting files name it.
        all_classnames: in instances, of base and new classes alike, in the order of their labels.
        sample_val: whether few-shot sampling reduces val too.
        test_only: the data set has no training images; its "training" list is the test list and only tells the
            classes, and shots and subsets do not apply.
    """

    published: Published | None = None
    image_folder = ""
    split_file = ""
    split_digest = ""
    sample_val = True
    test_only = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        known = PUBLISHED.get(cls.__name__)
        if known:
            cls.published = known
            cls.dataset_dir, cls.image_folder = known.folder, known.images
            cls.split_file, cls.test_only = known.split_file, known.test_only

    def __init__(self, cfg: CfgNode) -> None:
        name = type(self).__name__
        folder = self.locate(cfg.DATASET.ROOT)
        self.dataset_dir = str(folder)
        self.image_dir = folder / self.image_folder
        try:
            split = self.load_split()
            self.split_digest = split.digest(split.test)
            names = {entry.label: entry.classname for entry in split.train}
            self.all_classnames = [names[label] for label in sorted(names)]
            if not self.test_only:
                samples = folder / "split_fewshot"
                split = few_shots(split, cfg.DATASET.NUM_SHOTS, cfg.SEED, samples, self._draw, self.sample_val)
                split = select_classes(split, cfg.DATASET.get("SUBSAMPLE_CLASSES", "all"))
            self.look_for_images(split)
        except CasPLError as error:
            raise CasPLError(f"{name}: {error}") from error
        train, val, test = (make_items(self.image_dir, entries) for entries in (split.train, split.val, split.test))
        super().__init__(train_x=train, val=val or None, test=test)

    def locate(self, root: str) -> Path:
        """Find the folder of the data set.

        Raises:
            CasPLError: it or its image folder is not there.
        """
        if not root:
            raise CasPLError(f"{type(self).__name__}: there is no data root: give it with --root DIR or $DATA")
        base = Path(os.path.abspath(os.path.expanduser(root)))
        for folder in (base / self.dataset_dir, base / self.dataset_dir / self.image_folder):
            if not folder.is_dir():
                layout = "/".join(filter(None, ("DIR", self.dataset_dir, self.image_folder)))
                command = f"; python -m caspl.data prepare {self.published.name} gets them" if self.published else ""
                raise CasPLError(
                    f"{type(self).__name__}: there is no folder {folder} ({found_in(folder.parent)}): "
                    f"the images are expected in {layout}, with DIR given by --root DIR or $DATA{command}"
                )
        return base / self.dataset_dir

    def load_split(self) -> Split:
        """Read the split file, or make the split where the file is missing."""
        path = Path(self.dataset_dir) / self.split_file
        if not self.split_file:
            return self._made()
        if path.is_file():
            split = read_split(path)
        else:
            try:
                split = self._made()
            except CasPLError as error:
                raise CasPLError(f"the split file {path} is missing and cannot be made here: {error}") from error
            self.keep(path, split)
        if split.origin:
            logger.warning("%s: %s. %s", path, split.origin, self._published())
        return split

    def keep(self, path: Path, split: Split) -> None:
        """Write the split that was made, so that it stays the same."""
        try:
            write_split(path, split)
        except CasPLError as error:
            logger.warning("the split is not kept: %s", error)

    def make_split(self) -> Split:
        """Make the split from what the archives of the data set bring; here, for those that come with their split.

        Raises:
            CasPLError: something is missing or damaged.
            ValueError: the parts contradict each other.
        """
        if self.published is None or self.published.name not in READERS:
            raise NotImplementedError(f"{type(self).__name__} has neither a split file nor a rule to make its split")
        return READERS[self.published.name](Path(self.dataset_dir), self.image_dir)

    def look_for_images(self, split: Split) -> None:
        """Look for the images of the lists that are used; nothing to do where that is known already.

        Raises:
            CasPLError: some are missing.
        """
        paths = (entry.path for entry in (*split.train, *split.val, *split.test))
        require_images(self.image_dir, paths, ARCHIVE_ADVICE)

    def _made(self) -> Split:
        try:
            split = self.make_split()
            check_split(split)
        except (ValueError, LookupError) as error:
            raise CasPLError(f"the lists in {self.dataset_dir} do not fit each other: {error}") from error
        return split

    def _published(self) -> str:
        source = f": {self.published.split_urls[-1]}" if self.published and self.published.split_urls else ""
        return f"Results do not compare with published ones; delete the file and put the published one there{source}"

    def _draw(self, entries: list[Entry], shots: int) -> list[Entry]:
        # The engine samples whatever has a label; entries are as good as items, and relative.
        sample: Any = self.generate_fewshot_dataset(cast("list[Datum]", entries), num_shots=shots)
        return cast("list[Entry]", sample)
