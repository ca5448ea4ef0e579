"""Losses: plain functions of float32 tensors that return one scalar each."""

from caspl.losses.divergence import distillation
from caspl.losses.self_regulation import feature_distance, logit_divergence

__all__ = ["distillation", "feature_distance", "logit_divergence"]
