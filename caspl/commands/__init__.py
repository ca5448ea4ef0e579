"""The commands of ``caspl`` that work with a trained model; each module has a ``parser`` and a ``main``."""
