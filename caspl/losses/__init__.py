"""Losses: plain functions of float32 tensors that return one scalar each."""

from caspl.losses.divergence import both_ways, distillation, most_probable
from caspl.losses.self_regulation import feature_distance, logit_divergence

__all__ = ["both_ways", "distillation", "feature_distance", "logit_divergence", "most_probable"]
