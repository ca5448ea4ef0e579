"""``python -m caspl.convert``: the CasPL authors' checkpoints, read without running anything in them."""
