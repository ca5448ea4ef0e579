"""Orders in which images are drawn."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import RandomSampler, Sampler, SequentialSampler

from .datasets.base_dataset import Datum

__all__ = ["RandomClassSampler", "RandomDomainSampler", "SeqDomainSampler", "build_sampler"]


class _BatchwiseSampler(Sampler[int]):
    """Composes whole batches of indices.

    Its length is that of one trial pass, made at construction with random draws of its own: an estimate.
    """

    def __init__(self) -> None:
        self.length = len(list(iter(self)))

    def __len__(self) -> int:
        return self.length


class RandomDomainSampler(_BatchwiseSampler):
    """Draws some domains at random for each batch, and as many images from each.

    An epoch ends with the batch after which one of its domains could not serve another.

    Args:
        data_source: the images.
        batch_size: images a batch; a multiple of ``n_domain``.
        n_domain: domains a batch; None or 0 takes all.
    """

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_domain: int | None = None) -> None:
        self.data_source = data_source
        self.domain_dict: dict[int, list[int]] = defaultdict(list)
        for index, item in enumerate(data_source):
            self.domain_dict[item.domain].append(index)
        self.domains = list(self.domain_dict)
        self.n_domain = n_domain if n_domain is not None and n_domain > 0 else len(self.domains)
        if batch_size % self.n_domain:
            raise AssertionError(f"the batch size {batch_size} is no multiple of the {self.n_domain} domains a batch")
        self.batch_size = batch_size
        self.n_img_per_domain = batch_size // self.n_domain
        super().__init__()

    def choose_domains(self) -> list[int]:
        """Return the domains of the next batch."""
        return random.sample(self.domains, self.n_domain)

    def __iter__(self) -> Iterator[int]:
        left = {domain: list(indices) for domain, indices in self.domain_dict.items()}
        order: list[int] = []
        enough = True
        while enough:
            for domain in self.choose_domains():
                chosen = random.sample(left[domain], self.n_img_per_domain)
                order.extend(chosen)
                for index in chosen:
                    left[domain].remove(index)
                enough = enough and len(left[domain]) >= self.n_img_per_domain
        return iter(order)


class SeqDomainSampler(RandomDomainSampler):
    """Draws as many images from each domain for every batch, the domains in sorted order.

    Args:
        data_source: the images.
        batch_size: images a batch; a multiple of the number of domains.
    """

    def __init__(self, data_source: Sequence[Datum], batch_size: int) -> None:
        super().__init__(data_source, batch_size)

    def choose_domains(self) -> list[int]:
        """Return all domains, sorted."""
        return sorted(self.domains)


class RandomClassSampler(_BatchwiseSampler):
    """Draws some classes at random for each batch, and ``n_ins`` images of each.

    Args:
        data_source: the images.
        batch_size: images a batch.
        n_ins: images of each class in a batch.

    Raises:
        ValueError: the batch is smaller than ``n_ins``.
        AssertionError: there are fewer classes than a batch needs.
    """

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_ins: int) -> None:
        if batch_size < n_ins:
            raise ValueError(f"batch_size={batch_size} must be no less than n_ins={n_ins}")
        self.data_source = data_source
        self.batch_size = batch_size
        self.n_ins = n_ins
        self.ncls_per_batch = batch_size // n_ins
        self.index_dic: dict[int, list[int]] = defaultdict(list)
        for index, item in enumerate(data_source):
            self.index_dic[item.label].append(index)
        self.labels = list(self.index_dic)
        if len(self.labels) < self.ncls_per_batch:
            raise AssertionError(
                f"a batch of {batch_size} with {n_ins} images a class needs {self.ncls_per_batch} classes, "
                f"but there are {len(self.labels)}"
            )
        super().__init__()

    def __iter__(self) -> Iterator[int]:
        chunks = {label: self._chunks(label) for label in self.labels}
        available = list(self.labels)
        order: list[int] = []
        while len(available) >= self.ncls_per_batch:
            for label in random.sample(available, self.ncls_per_batch):
                order.extend(chunks[label].pop(0))
                if not chunks[label]:
                    available.remove(label)
        return iter(order)

    def _chunks(self, label: int) -> list[list[int]]:
        indices = list(self.index_dic[label])
        if len(indices) < self.n_ins:
            indices = [int(index) for index in np.random.choice(indices, size=self.n_ins, replace=True)]
        random.shuffle(indices)
        starts = range(0, len(indices) - self.n_ins + 1, self.n_ins)
        return [indices[start : start + self.n_ins] for start in starts]


def build_sampler(
    sampler_type: str,
    cfg: Any = None,
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
) -> Sampler[int]:
    """Build a sampler by name.

    Args:
        sampler_type: RandomSampler, SequentialSampler, RandomDomainSampler, SeqDomainSampler or
            RandomClassSampler.
        cfg: unused; part of the published signature.
        data_source: the images.
        batch_size: images a batch.
        n_domain: domains a batch, for RandomDomainSampler.
        n_ins: images of each class in a batch, for RandomClassSampler.

    Raises:
        ValueError: an unknown name.
    """
    source: Any = data_source
    if sampler_type == "RandomSampler":
        return RandomSampler(source)
    if sampler_type == "SequentialSampler":
        return SequentialSampler(source)
    if sampler_type == "RandomDomainSampler":
        return RandomDomainSampler(source, batch_size, n_domain)
    if sampler_type == "SeqDomainSampler":
        return SeqDomainSampler(source, batch_size)
    if sampler_type == "RandomClassSampler":
        return RandomClassSampler(source, batch_size, n_ins)
    raise ValueError(f"Unknown sampler type: {sampler_type}")
