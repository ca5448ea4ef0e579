"""A training step: precision, batch, the step itself, and what is kept of it over the epochs."""

from caspl.step.averaging import GaussianAverage
from caspl.step.batch import Batch
from caspl.step.precision import MODES, Precision
from caspl.step.step import Steering, Step, Terms, accuracy, not_finite

__all__ = ["MODES", "Batch", "GaussianAverage", "Precision", "Steering", "Step", "Terms", "accuracy", "not_finite"]
