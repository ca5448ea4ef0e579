"""The training engine: configuration, data, trainers, optimisation, evaluation.

Importing this package imports nothing else; each subpackage loads what it needs, and the heavy
optional parts (torchvision, tensorboard, gdown) are loaded by the functions that use them.
"""

__version__ = "0.6.3"
