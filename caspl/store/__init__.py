"""A frozen encoder that is asked once: views with names, and the features of each kept in a folder."""

from caspl.store.encoder import CHUNK, FrozenEncoder, encode_alike, rounded
from caspl.store.header import Header
from caspl.store.store import Store
from caspl.store.views import View, ViewPlan

__all__ = ["CHUNK", "FrozenEncoder", "Header", "Store", "View", "ViewPlan", "encode_alike", "rounded"]
