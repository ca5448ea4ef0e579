"""The checkpoints that CoOp, CoCoOp, IVLP, MaPLe and PromptSRC publish, as models of ours.

CoOp and CoCoOp save their prompt learner alone (``ctx``, ``meta_net.*``), the others the whole model, the learner
behind ``prompt_learner.``: ``ctx`` and MaPLe's ``compound_prompts_text.<0, 1, ...>`` with their projections, and in the
towers ``VPT`` and ``VPT_shallow``. PromptSRC is told from IVLP by the frozen tower that it also saves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from caspl.convert.state import State
from caspl.errors import CasPLError
from caspl.prompts import ImageConditioned, Prompts, Segment, coop_context, coupled_context
from caspl.prompts.text import fixed
from caspl.towers import CLIP

LEARNER = "prompt_learner."
BUFFERS = ("token_prefix", "token_suffix")
FOLDERS = {
    "CoOp": "prompt_learner",
    "CoCoOp": "prompt_learner",
    "IVLP": "VLPromptLearner",
    "MaPLe": "MultiModalPromptLearner",
    "PromptSRC": "VLPromptLearner",
}
"""Method -> folder of its checkpoints, as published."""
ALLOWED = {
    "CoOp": r"ctx",
    "CoCoOp": r"ctx|meta_net\..*",
    "IVLP": r"ctx",
    "MaPLe": r"ctx|proj\..*|compound_prompts_text\.\d+|compound_prompt_projections\..*",
    "PromptSRC": r"ctx|ZS_image_encoder\..*",
}
"""Method -> what its learner holds; a learner with more is another method's."""


def learner_key(state: State, name: str) -> str:
    """What a tensor of the learner is called in this file."""
    return name if "ctx" in state.entries else LEARNER + name


def method_of(state: State) -> str | None:
    """The method that wrote a checkpoint; None where it is none of these.

    Raises:
        CasPLError: it is like one of these, but holds more.
    """
    if learner_key(state, "ctx") not in state.entries:
        return None
    bare = "ctx" in state.entries
    learner = {key if bare else key.removeprefix(LEARNER) for key in state.entries if bare or key.startswith(LEARNER)}
    learner -= set(BUFFERS)
    if any("VPT" in key for key in state.entries) or any(key.startswith("ZS_image") for key in learner):
        method = "PromptSRC" if any(key.startswith("ZS_image_encoder.") for key in learner) else "IVLP"
    elif any(key.startswith("compound_prompt") for key in learner) or "proj.weight" in learner:
        method = "MaPLe"
    else:
        method = "CoCoOp" if any(key.startswith("meta_net.") for key in learner) else "CoOp"
    more = sorted(key for key in learner if not re.fullmatch(ALLOWED[method], key))
    if more:
        raise CasPLError(
            f"{state.path} is of a method that is not converted: beside what {method} has it holds {more[0]}"
        )
    return method


def prompts_of(method: str, state: State, clip: CLIP, rest: Sequence[int], position: str) -> Prompts:
    """The prompts of a checkpoint, with their values.

    Args:
        method: as :func:`method_of` found it.
        clip: the student.
        rest: ids of words that stay between tokens and class name.
        position: of CoOp's context, see :func:`caspl.prompts.coop_context`.

    Raises:
        CasPLError: tensors are missing, damaged, or do not fit the student.
    """
    ctx = learner_key(state, "ctx")
    if method in ("CoOp", "CoCoOp"):
        values = state.numbers(ctx, (2, 3) if method == "CoOp" else (2,)).float()
        _require_width(state, ctx, values, clip.sizes.text_width)
        conditioned = partial(ImageConditioned, embed_dim=clip.sizes.embed_dim)
        classes = values.shape[0] if values.dim() == 3 else None
        kind = conditioned if method == "CoCoOp" else Segment
        made = coop_context(clip.text, values.shape[-2], "", classes, position, kind)
        _fill(_segment(made), state, {"values": values.unsqueeze(0)} | _net(state))
        if rest and position != "end":
            raise CasPLError("words that stay behind the tokens go with --position end alone")
        return replace(made, before=[*made.before, *fixed(rest)])
    if method == "MaPLe":
        return _maple(state, clip, rest)
    return Prompts(
        [Segment("adapting", _deep(state, ctx, "text_encoder", clip.sizes.text_width)), *fixed(rest)],
        vision=[Segment("adapting", _deep(state, "image_encoder.VPT", "image_encoder", clip.sizes.vision_width))]
        if any(key.startswith("image_encoder.") and "VPT" in key for key in state.entries)
        else [],
    )


def _maple(state: State, clip: CLIP, rest: Sequence[int]) -> Prompts:
    key = partial(learner_key, state)
    deep = sum(name.startswith(key("compound_prompts_text.")) for name in state.entries)
    depth = min(1 + deep, clip.sizes.most_layers)  # what is deeper than both towers is never used
    values = state.layers([key("ctx"), *(key(f"compound_prompts_text.{number}") for number in range(depth - 1))])
    _require_width(state, key("ctx"), values, clip.sizes.text_width)
    made = coupled_context(clip, [Segment("adapting", values), *fixed(rest)])
    coupled = made.vision[0]
    maps = {"first": "proj"} | {
        f"deep.0.{number}": f"compound_prompt_projections.{number}" for number in range(coupled.depth - 1)
    }
    tensors = {}
    for ours, theirs in maps.items():
        for part, dims in (("weight", 2), ("bias", 1)):
            tensors[f"{ours}.{part}"] = state.numbers(key(f"{theirs}.{part}"), (dims,))
    _fill(coupled, state, tensors)
    return made


def _deep(state: State, first: str, tower: str, width: int) -> Tensor:
    """Tokens (depth, length, width) of IVLP's in one tower."""
    pattern = rf"{tower}\.transformer\.resblocks\.\d+\.VPT_shallow"
    count = sum(re.fullmatch(pattern, key) is not None for key in state.entries)
    keys = [first, *(f"{tower}.transformer.resblocks.{layer}.VPT_shallow" for layer in range(1, count + 1))]
    missing = [key for key in keys if key not in state.entries]
    if missing:
        raise CasPLError(f"{state.path} lacks {missing[0]}: take the file from its origin again")
    values = state.layers(keys)
    _require_width(state, first, values, width)
    return values


def _net(state: State) -> dict[str, Tensor]:
    """CoCoOp's net; nothing for others."""
    found = {}
    for number in (1, 2):
        for part, dims in (("weight", 2), ("bias", 1)):
            key = learner_key(state, f"meta_net.linear{number}.{part}")
            if learner_key(state, "meta_net.linear1.weight") in state.entries:
                found[f"meta_net.linear{number}.{part}"] = state.numbers(key, (dims,))
    return found


def _segment(prompts: Prompts) -> torch.nn.Module:
    """The one segment of CoOp's context."""
    text, _ = prompts.cascade()
    (segment,) = text.segments.values()
    return segment


def _fill(segment: torch.nn.Module, state: State, tensors: Mapping[str, Tensor]) -> None:
    """Give a segment its values.

    Raises:
        CasPLError: they are of other shapes than the student's sizes ask for.
    """
    expected = segment.state_dict()
    for name, value in expected.items():
        found = tensors.get(name)
        if found is None or found.shape != value.shape:
            shape = "nothing" if found is None else f"numbers of shape {tuple(found.shape)}"
            raise CasPLError(
                f"{state.path} holds {shape} as {name}, where the student asks for {tuple(value.shape)}; name another "
                "student with --student"
            )
    segment.load_state_dict({name: tensors[name].float() for name in expected})


def _require_width(state: State, key: str, values: Tensor, width: int) -> None:
    if values.shape[-1] != width:
        raise CasPLError(
            f"{state.path} has tokens of width {values.shape[-1]} in {key}, but the student's tower has width {width}; "
            "name another student with --student"
        )
