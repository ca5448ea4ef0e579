"""What one works with: a trained model behind one object, from pictures to answers."""

from caspl.predictor.loading import load
from caspl.predictor.predictor import Answer, Prediction, Predictor

__all__ = ["Answer", "Prediction", "Predictor", "load"]
