"""Classifiers on kept image features: each image is looked at once, and what is learned lies behind the tower.

Typed arguments only, as everywhere in ``caspl``; ``trainers/kept_features.py`` gives them data.
"""

from caspl.head import Head
from caspl.probe.cache import Cache
from caspl.probe.features import Features, extract
from caspl.probe.linear import Linear
from caspl.probe.store import HEAD, HeadStore, head_of

__all__ = ["HEAD", "Cache", "Features", "Head", "HeadStore", "Linear", "extract", "head_of"]
