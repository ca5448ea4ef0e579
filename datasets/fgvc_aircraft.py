"""FGVC-Aircraft: variants of aircraft, 100 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset


@DATASET_REGISTRY.register()
class FGVCAircraft(CoOpDataset):
    """Maji et al., Fine-grained visual classification of aircraft; the official split, from text lists."""
