"""An image record, and the container of splits that every data set derives from.

The path of this module and the attribute names of :class:`Datum` are part of a file format: few-shot samples
are kept as pickles of lists of Datum.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ...utils.tools import check_isfile
from .archive import download_and_extract
from .fewshot import group_by, sample_shots

__all__ = ["DatasetBase", "Datum"]


class Datum:
    """One image.

    Args:
        impath: path of the image file, which must exist.
        label: class number.
        domain: domain number.
        classname: class name.

    Raises:
        AssertionError: the path is no string or no file.
    """

    def __init__(self, impath: str = "", label: int = 0, domain: int = 0, classname: str = "") -> None:
        if not isinstance(impath, str):
            raise AssertionError(f"impath must be a string, but got {impath!r}")
        if not check_isfile(impath):
            raise AssertionError(f'the image file "{impath}" is missing: check DATASET.ROOT and the extracted archives')
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname

    @property
    def impath(self) -> str:
        """Path of the image file."""
        return self._impath

    @property
    def label(self) -> int:
        """Class number."""
        return self._label

    @property
    def domain(self) -> int:
        """Domain number."""
        return self._domain

    @property
    def classname(self) -> str:
        """Class name."""
        return self._classname


class DatasetBase:
    """The splits of a data set, and what follows from the training split: classes and their names.

    Args:
        train_x: labelled training images.
        train_u: unlabelled training images, if any.
        val: validation images, if any.
        test: test images.
    """

    dataset_dir = ""
    domains: Sequence[str] = []

    def __init__(
        self,
        train_x: list[Datum] | None = None,
        train_u: list[Datum] | None = None,
        val: list[Datum] | None = None,
        test: list[Datum] | None = None,
    ) -> None:
        if train_x is None:
            raise TypeError(f"{type(self).__name__} gave no train_x: a list of Datum is needed to know the classes")
        self._train_x = train_x
        self._train_u = train_u
        self._val = val
        self._test = test
        self._num_classes = self.get_num_classes(train_x)
        self._lab2cname, self._classnames = self.get_lab2cname(train_x)

    @property
    def train_x(self) -> list[Datum]:
        """Labelled training images."""
        return self._train_x

    @property
    def train_u(self) -> list[Datum] | None:
        """Unlabelled training images."""
        return self._train_u

    @property
    def val(self) -> list[Datum] | None:
        """Validation images."""
        return self._val

    @property
    def test(self) -> list[Datum] | None:
        """Test images."""
        return self._test

    @property
    def lab2cname(self) -> dict[int, str]:
        """Class names by label, for the labels in ``train_x``."""
        return self._lab2cname

    @property
    def classnames(self) -> list[str]:
        """Class names in the order of their labels, for the labels in ``train_x``."""
        return self._classnames

    @property
    def num_classes(self) -> int:
        """The largest label in ``train_x``, plus one."""
        return self._num_classes

    @staticmethod
    def get_num_classes(data_source: Iterable[Datum]) -> int:
        """Return the largest label plus one."""
        return max(item.label for item in data_source) + 1

    @staticmethod
    def get_lab2cname(data_source: Iterable[Datum]) -> tuple[dict[int, str], list[str]]:
        """Return the class names by label, and the list of them in the order of the labels."""
        names = {item.label: item.classname for item in data_source}
        return names, [names[label] for label in sorted(names)]

    def check_input_domains(self, source_domains: Sequence[str], target_domains: Sequence[str]) -> None:
        """Check that both lists name domains of this data set.

        Raises:
            AssertionError: a list is empty.
            ValueError: a name is unknown.
        """
        for role, names in (("source_domains", source_domains), ("target_domains", target_domains)):
            if not names:
                raise AssertionError(f"{role} (list) is empty")
        self.is_input_domain_valid(source_domains)
        self.is_input_domain_valid(target_domains)

    def is_input_domain_valid(self, input_domains: Sequence[str]) -> None:
        """Raise ValueError for a name that is no domain of this data set."""
        for domain in input_domains:
            if domain not in self.domains:
                raise ValueError(f"Input domain must belong to {list(self.domains)}, but got [{domain}]")

    def download_data(self, url: str, dst: str, from_gdrive: bool = True) -> None:
        """Fetch an archive from Google Drive to the file ``dst`` and extract it beside."""
        os.makedirs(os.path.dirname(dst) or ".", exist_ok=True)
        if not from_gdrive:
            raise NotImplementedError("download_data() fetches from Google Drive only; use dassl.utils.download_url")
        download_and_extract(url, dst)

    def generate_fewshot_dataset(
        self, *data_sources: list[Datum], num_shots: int = -1, repeat: bool = False
    ) -> list[Datum] | Sequence[list[Datum]]:
        """Draw ``num_shots`` images of each class from each list.

        Args:
            *data_sources: lists of images.
            num_shots: images a class; below 1 returns the lists unchanged.
            repeat: draw with replacement from a class that has fewer; otherwise all of it is taken.

        Returns:
            The sample of a single list, or one sample for each list.
        """
        samples = sample_shots(data_sources, num_shots, repeat)
        return samples[0] if len(data_sources) == 1 else samples

    def split_dataset_by_label(self, data_source: Iterable[Datum]) -> dict[int, list[Datum]]:
        """Group images by label, in order of first appearance."""
        return group_by(data_source, lambda item: item.label)

    def split_dataset_by_domain(self, data_source: Iterable[Datum]) -> dict[int, list[Datum]]:
        """Group images by domain, in order of first appearance."""
        return group_by(data_source, lambda item: item.domain)
