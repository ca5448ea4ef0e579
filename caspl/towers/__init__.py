"""A plain CLIP whose towers can be opened at their blocks. Knows nothing of prompts."""

from caspl.towers.clip import CLIP
from caspl.towers.random import random_state_dict
from caspl.towers.sizes import Sizes
from caspl.towers.tokenizer import tokenize
from caspl.towers.weights import read_state_dict

__all__ = ["CLIP", "Sizes", "random_state_dict", "read_state_dict", "tokenize"]
