"""A user's own images, by configuration alone (docs/your-data.md)."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from yacs.config import CfgNode

from caspl.data.listing import require_images
from caspl.errors import CasPLError
from dassl.data.datasets import DATASET_REGISTRY, Datum
from datasets.protocol import CoOpDataset, Entry, Split
from datasets.protocol.assign import as_kept, as_read, as_split, by_ratios, class_names
from datasets.protocol.forms import BY_FOLDERS, OWN_SPLIT, Source, find_source, first_folders, say_unused
from datasets.protocol.items import make_items
from datasets.protocol.subset import select_classes, some
from datasets.protocol.tables import inside, read_names, read_paths
from datasets.protocol.walk import images_below

logger = logging.getLogger(__name__)

NO_LABEL = -1


@DATASET_REGISTRY.register()
class Folder(CoOpDataset):
    """Images in ``DATASET.ROOT``; ``DATASET.FOLDER`` says what the folder does not, with paths relative to it.

    The first of these that is there describes the images: the file ``LIST``; one ``split*.json`` in CoOp's form;
    ``train/<class>/`` and ``test/<class>/``; ``<class>/``; one ``.csv`` or ``.tsv``. The label of a class is its place
    among the sorted folder names, whatever prompts call it. ``train_u`` holds the images of ``UNLABELLED``.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.settings = cfg.DATASET
        self.made = Split([], [], [])
        self.given: dict[str, str] = {}  # what CLASSNAMES calls the classes
        self.unlabelled: list[Datum] = []
        super().__init__(cfg)
        self._train_u = self.unlabelled or None
        trained = self.settings.FOLDER.TRAINED_CLASSES
        if trained and self.settings.SUBSAMPLE_CLASSES == "all":
            self._judge_among(list(trained))

    def load_split(self) -> Split:
        """Read the split, or arrange what there is; look for unlabelled images.

        Raises:
            CasPLError: the data has faults, such as images of training or validation that are test images too.
        """
        by_folders = self.settings.FOLDER.LIST == BY_FOLDERS
        listed = None if by_folders else self._path("LIST")
        named, unlabelled = self._path("CLASSNAMES"), self._path("UNLABELLED")
        others = [path for path in (named, unlabelled) if path]
        source = find_source(self.image_dir, listed, others, by_folders)
        self.given = read_names(named) if named else {}
        if source.split:
            split = self._read(source.split)
            used = first_folders(entry.path for entry in (*split.train, *split.val, *split.test))
            say_unused(self.image_dir, used, [source.split, *others])
        else:
            split = self._arrange(source)
        # A file says what it likes; what was found on the disk a moment ago is there.
        if source.split or source.listed:
            self._require(entry.path for entry in (*split.train, *split.val, *split.test))
        seen = [] if self.test_only else [entry.path for entry in (*split.train, *split.val)]
        both = self._test_images(self.image_dir, seen, split)
        if both:
            raise CasPLError(
                f"{len(both)} images of training or validation are test images too, such as {both[0]}: "
                "take each out of one of the lists"
            )
        if unlabelled:
            self.unlabelled = self._unlabelled(unlabelled, split)
        self._say(split)
        return select_classes(split, self.settings.SUBSAMPLE_CLASSES) if self.test_only else split

    def make_split(self) -> Split:
        """What has been arranged."""
        return self.made

    def look_for_images(self, split: Split) -> None:
        """That has been done while the split was loaded."""

    def _path(self, key: str) -> Path | None:
        """The file or folder that a setting names.

        Raises:
            CasPLError: it is not there.
        """
        given = self.settings.FOLDER[key]
        path = Path(os.path.normpath(self.image_dir / os.path.expanduser(given)))
        if given and not path.exists():
            raise CasPLError(f"DATASET.FOLDER.{key}: there is no {path} (paths start at the root)")
        return path if given else None

    def _read(self, path: Path) -> Split:
        """The split of a split file.

        Raises:
            CasPLError: it is broken, or names an image outside the root or twice for one list.
        """
        self.split_file = str(path)
        split = super().load_split()
        listed = {entry.path for entry in (*split.train, *split.val, *split.test)}
        paths = {name: inside(self.image_dir, name, str(path)) for name in sorted(listed)}
        labelled = sorted({(entry.label, entry.classname) for entry in split.train})
        names = class_names([name for _, name in labelled], self.given, self._least())

        def read(part: list[Entry]) -> list[Entry]:
            entries = [Entry(paths[entry.path], entry.label, names[entry.classname]) for entry in part]
            (name, count), *_ = Counter(entry.path for entry in entries).most_common(1) or [("", 0)]
            if count > 1:
                raise CasPLError(f"{path} names {name} {count} times for one list: once is enough")
            return entries

        return Split(read(split.train), read(split.val), read(split.test))

    def _arrange(self, source: Source) -> Split:
        """The split that the images' own places or ``RATIOS`` make; the latter's is kept."""
        options, found = self.settings.FOLDER, source.found
        names = class_names(sorted({image.classname for image in found}), self.given, self._least())
        shared = not all(image.part for image in found)
        if shared:
            found = by_ratios(found, options.RATIOS, options.SPLIT_SEED)
        self.made = as_split(found, names)
        self.test_only = self.made.train is self.made.test
        if not shared or self.test_only:
            return self._made()
        ratios = "-".join(f"{share:g}" for share in options.RATIOS)
        self.split_file = "_".join(filter(None, (OWN_SPLIT, source.listed, ratios, f"seed{options.SPLIT_SEED}.json")))
        path = self.image_dir / self.split_file
        split = as_kept(self.made, super().load_split(), path)
        if path.is_file():
            logger.info("the split is kept in %s", path)
        return split

    def _least(self) -> int:
        """How many classes make sense: where others were trained one is enough."""
        return 1 if self.settings.FOLDER.TRAINED_CLASSES else 2

    def _judge_among(self, trained: list[str]) -> None:
        """Let the classes be all that a model has learned, where there are images of some of them only.

        Args:
            trained: their names, as prompts read them.
        """
        here = {as_read(name): name for name in self.classnames}
        known = {as_read(name): name for name in trained}
        new = [name for read, name in here.items() if read not in known]
        if new:
            logger.warning("the model has not learned %s: images are judged among the classes found here", some(new))
        else:
            self._relabel(self._asked(known, here))
        if len(self.classnames) < 2:
            raise CasPLError(f"Folder: there is one class, {self.classnames[0]}, among which every answer is right")

    def _asked(self, known: dict[str, str], here: dict[str, str]) -> list[str]:
        """The trained classes among which images are judged: all, or those that ``CLASSNAMES`` names, if it names
        all that are found."""
        named = {as_read(name) for name in self.given.values()}
        asked = [name for name in known if name in named] if here.keys() <= named else list(known)
        without = some([known[name] for name in asked if name not in here])
        logger.info(
            "images are judged among %d of the %d classes that were trained%s",
            *(len(asked), len(known), f", also {without}" if without else ""),
        )
        return [here.get(name, known[name]) for name in asked]

    def _relabel(self, names: list[str]) -> None:
        """Let the classes be these."""
        places = {as_read(name): label for label, name in enumerate(names)}
        for item in (item for part in (self.train_x, self.val, self.test) for item in part or ()):
            item._label = places[as_read(item.classname)]
        self._classnames, self._num_classes = names, len(names)
        self._lab2cname = dict(enumerate(names))

    def _unlabelled(self, path: Path, split: Split) -> list[Datum]:
        """The unlabelled images.

        Raises:
            CasPLError: there are none, some are missing, or some are test images.
        """
        folder = path if path.is_dir() else self.image_dir
        paths = images_below(path) if path.is_dir() else read_paths(path, folder)
        if not paths:
            raise CasPLError(f"DATASET.FOLDER.UNLABELLED: {path} holds no image")
        if path.is_file():
            self._require(paths)
        both = self._test_images(folder, paths, split)
        if both:
            raise CasPLError(
                f"DATASET.FOLDER.UNLABELLED: {path} holds test images ({len(both)}, such as {both[0]}), "
                "which training must not see: take them out"
            )
        return make_items(folder, [Entry(name, NO_LABEL, "") for name in paths])

    def _test_images(self, folder: Path, paths: Iterable[str], split: Split) -> list[str]:
        """Those of the paths below ``folder`` that lead to test images, perhaps through links."""
        tests = {os.path.realpath(self.image_dir / entry.path) for entry in split.test}
        return [path for path in paths if os.path.realpath(folder / path) in tests]

    def _require(self, paths: Iterable[str]) -> None:
        """Check that listed images are there.

        Raises:
            CasPLError: they are not.
        """
        require_images(self.image_dir, paths, "paths start at the root", "listed images")

    def _say(self, split: Split) -> None:
        """Log what the data set holds."""
        names = dict(sorted({entry.label: entry.classname for entry in split.train}.items()))
        train = [] if self.test_only else split.train
        sizes = f"{len(train)} training, {len(split.val)} validation and {len(split.test)} test images"
        logger.info("%s: %d classes (%s), %s", self.dataset_dir, len(names), some(list(names.values())), sizes)
        if self.unlabelled:
            logger.info("%d unlabelled images: phase 1 looks at these only", len(self.unlabelled))
