"""``python -m caspl.convert``: published checkpoints of prompts, read without running anything in them."""
