"""What is written: files that are there whole or not at all, and claims on what is about to be written."""

from caspl.files.atomic import write_atomically, write_json
from caspl.files.claim import Claim

__all__ = ["Claim", "write_atomically", "write_json"]
