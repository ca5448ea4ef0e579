"""Boosting tokens as files: what phase 1 leaves and phase 2 takes."""

from caspl.boosting.file import BoostingFile, Header, read_boosting, write_boosting
from caspl.boosting.find import boosting_path, find_boosting

__all__ = ["BoostingFile", "Header", "boosting_path", "find_boosting", "read_boosting", "write_boosting"]
