"""Losses: plain functions of float32 tensors that return one scalar each, or where they say so one number an image."""

from caspl.losses.divergence import both_ways, distillation, most_probable, soft_cross_entropy
from caspl.losses.self_regulation import cosine_distance, feature_distance, logit_divergence, output_distance
from caspl.losses.text_to_text import text_to_text
from caspl.losses.transport import assignment, transport

__all__ = [
    "assignment",
    "both_ways",
    "cosine_distance",
    "distillation",
    "feature_distance",
    "logit_divergence",
    "most_probable",
    "output_distance",
    "soft_cross_entropy",
    "text_to_text",
    "transport",
]
