"""The smallest settings of every adapting trainer, for the matrix. A new method adds one row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One row: a registered trainer and its section's settings; ``trained`` are the tensors that learn."""

    trainer: str
    trained: frozenset[str]
    options: dict[str, Any] = field(default_factory=dict)


TEXT, VISION = "text.adapting.values", "vision.adapting.values"
DEEP = {"N_CTX_VISION": 2, "N_CTX_TEXT": 4, "PROMPT_DEPTH_VISION": 3, "PROMPT_DEPTH_TEXT": 2}

CASES = (
    Case("ZeroshotCLIP", frozenset()),
    Case("CoOp", frozenset({TEXT}), {"N_CTX": 4}),
    Case("IVLP", frozenset({TEXT, VISION}), DEEP),
    Case("PromptSRC", frozenset({TEXT, VISION}), DEEP | {"GPA_MEAN": 1}),
)
