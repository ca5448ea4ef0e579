"""Find a CLIP by the name that a config gives: a file, one of the shipped tiny pair, or a published model."""

from caspl.zoo.identity import require_student, weights_hash
from caspl.zoo.names import SHIPPED, at_hand, find_weights, load_clip
from caspl.zoo.openai import OPENAI
from caspl.zoo.published import computes_the_same, read_model
from caspl.zoo.weights import Weights

__all__ = [
    "OPENAI",
    "SHIPPED",
    "Weights",
    "at_hand",
    "computes_the_same",
    "find_weights",
    "load_clip",
    "read_model",
    "require_student",
    "weights_hash",
]
