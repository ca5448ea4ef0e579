"""What the data sets of the CoOp protocol have in common: splits, few-shot samples, base and new classes."""

from caspl.data import Entry, Split
from caspl.data.listing import Labels, read_lines
from datasets.protocol.dataset import CoOpDataset
from datasets.protocol.rules import folder_split, hold_out_val, split_by_ratio

__all__ = ["CoOpDataset", "Entry", "Labels", "Split", "folder_split", "hold_out_val", "read_lines", "split_by_ratio"]
