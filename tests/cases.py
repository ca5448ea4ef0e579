"""The smallest settings of every adapting trainer, for the matrix. A new method adds one row.

``PLUGIN=my_method.py pytest tests/trainers/test_matrix.py`` adds those of a user's file, its ``CASES``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.tiny_clip import SIZES


@dataclass(frozen=True)
class Case:
    """One row: a registered trainer and its section's settings; ``trained`` are the tensors that learn.

    ``texts`` says whether the student's text tower has a part in it, and so boosting tokens there. ``more`` are further
    settings, with ``__`` for the dots. A TEACHER called ``teacher`` is the tests' own.
    """

    trainer: str
    trained: frozenset[str]
    options: dict[str, Any] = field(default_factory=dict)
    texts: bool = True
    more: dict[str, Any] = field(default_factory=dict)


META_NET = {f"text.adapting.meta_net.linear{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")}


def projections(*deep: str) -> set[str]:
    """Tensors of the linear maps from text to vision; ``deep`` are those of later layers."""
    return {f"vision.adapting.{name}.{kind}" for name in ("first", *deep) for kind in ("weight", "bias")}


NORMS = {
    f"vision.norms.blocks.{block}.{norm}.{kind}"
    for block in range(SIZES.vision_layers)
    for norm in ("ln_1", "ln_2")
    for kind in ("weight", "bias")
}
GENERATOR = [f"nets.0.{name}" for name in ("fc", "ln", "mlp.0", "mlp.2")]
ADAPTERS = {f"{tower}.adapter.fc.{layer}.weight" for tower in ("text", "vision") for layer in (0, 2)}
TEXT, VISION = "text.adapting.values", "vision.adapting.values"
PROJECTOR = {f"vision.projector.{layer}.{kind}" for layer in ("first", "norm", "last") for kind in ("weight", "bias")}
STUDENT = {"TEACHER": "teacher", "N_CTX_VISION": 2, "PROMPT_DEPTH_VISION": 2, "KD_WEIGHT": 3.0}
DEEP = {"N_CTX_VISION": 2, "N_CTX_TEXT": 4, "PROMPT_DEPTH_VISION": 3, "PROMPT_DEPTH_TEXT": 2}

CASES = (
    Case("ZeroshotCLIP", frozenset()),
    Case("ZeroshotCLIP2", frozenset()),
    Case("CoOp", frozenset({TEXT}), {"N_CTX": 4}),
    Case("CoCoOp", frozenset({TEXT} | META_NET), {"N_CTX": 3}),
    Case("VPT", frozenset({VISION}), {"N_CTX_VISION": 2, "PROMPT_DEPTH_VISION": 2}),
    Case("IVLP", frozenset({TEXT, VISION}), DEEP),
    Case("MaPLe", frozenset({TEXT} | projections("deep.0.0")), {"N_CTX": 2, "PROMPT_DEPTH": 2}),
    Case("PromptSRC", frozenset({TEXT, VISION}), DEEP | {"GPA_MEAN": 1}),
    Case("MPL", frozenset({TEXT} | projections("deep.0.0", "deep.1.0")), {"N_CTX": 1, "N_RM_OP": 2, "PROMPT_DEPTH": 2}),
    Case("KgCoOp", frozenset({TEXT}), {"N_CTX": 4, "W": 4.0}),
    Case("TCP", frozenset({TEXT} | META_NET), {"N_CTX": 4, "LAYER": 1}),
    Case("ProGrad", frozenset({TEXT}), {"N_CTX": 6, "LAMBDA": 0.5}),
    Case("PromptOT", frozenset({TEXT, VISION}), DEEP),
    Case("FDBPL_CoOp", frozenset({TEXT, "text.negative.values"}), {"N_CTX": 4}),
    Case("FDBPL_PromptSRC", frozenset({TEXT, VISION}), DEEP | {"GPA_MEAN": 1}),
    Case("PromptKD", frozenset({VISION} | PROJECTOR), STUDENT, texts=False),
    Case("COMMA", frozenset({TEXT} | projections(*GENERATOR)), {"N_CTX": 2, "PROMPT_DEPTH": 2}),
    Case("BayesPrompt", frozenset({TEXT} | {f"text.adapting.{n}.values" for n in ("mean", "log_variance")}), {"L": 3}),
    Case("CoPrompt", frozenset({TEXT} | projections("deep.0.0") | ADAPTERS), {"N_CTX": 2, "PROMPT_DEPTH": 2}),
    Case("LASP", frozenset({TEXT, "text.correction.values"} | NORMS), {"N_CTX": 4, "LASP_PROMPTS": ("a {}.", "{}.")}),
)


def taught(case: Case, **more: Any) -> Case:
    """``KDPL_X`` of a row."""
    settings = {f"TRAINER__KDPL__{key}": value for key, value in ({"TEACHER": "teacher"} | more).items()}
    return replace(case, trainer=f"KDPL_{case.trainer}", more=settings)


PUBLISHED = ("CoOp", "CoCoOp", "VPT", "MaPLe", "PromptSRC", "KgCoOp", "LASP", "COMMA", "BayesPrompt", "CoPrompt")
TAUGHT = tuple(taught(case) for case in CASES if case.trainer in PUBLISHED)
"""Rows of methods that a teacher takes the labels' place in."""
AGNOSTIC = tuple(
    taught(case, CLASS_AGNOSTIC=True, DICTIONARY="tinyworld", K_MAX=5) for case in CASES if case.trainer in PUBLISHED
)
"""Likewise where the classes are not known; they need each batch whole."""
GUARDED = (
    *(case for case in TAUGHT if case.trainer in ("KDPL_CoOp", "KDPL_CoCoOp", "KDPL_PromptSRC")),
    *(case for case in AGNOSTIC if case.trainer in ("KDPL_CoOp", "KDPL_PromptSRC")),
)
"""Of both those that differ in what a step asks the teacher and the method for: enough for what is slow."""

ON_KEPT_FEATURES = frozenset({"LinearProbeCLIP", "TipAdapter", "TipAdapterF"})
"""Trainers that learn no tokens, but from images: tests/trainers has files of their own for them, not the matrix."""


def rows_of_plugins(names: Sequence[str]) -> tuple[Case, ...]:
    """The rows of users' files: (name, tensors that learn, settings) each."""
    import trainers  # noqa: F401  registers ours first
    from trainers.user_modules import load_plugins

    modules = load_plugins(names)
    for module in modules:
        assert getattr(module, "CASES", []), f"{module.__name__} has no CASES = [(trainer, what learns, settings)]"
    rows = [row for module in modules for row in module.CASES]
    return tuple(Case(name, frozenset(trained), options) for name, trained, options in rows)


PLUGINS = [os.environ["PLUGIN"]] if os.environ.get("PLUGIN") else []
CASES += rows_of_plugins(PLUGINS)
