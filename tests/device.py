"""Where the tests compute: ``CASPL_TEST_DEVICE=cuda make test`` runs them on a GPU."""

from __future__ import annotations

import os

import torch

DEVICE = torch.device(os.environ.get("CASPL_TEST_DEVICE", "cpu"))
