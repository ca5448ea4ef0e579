"""What the data sets of the CoOp protocol have in common: splits, few-shot samples, base and new classes."""

from datasets.protocol.dataset import CoOpDataset
from datasets.protocol.listing import Labels, folder_split, read_lines
from datasets.protocol.rules import hold_out_val, split_by_ratio
from datasets.protocol.split import Entry, Split

__all__ = ["CoOpDataset", "Entry", "Labels", "Split", "folder_split", "hold_out_val", "read_lines", "split_by_ratio"]
