"""Prompt segments and their cascade in each tower."""

from caspl.prompts.beside import Adapter, Norms, Shift
from caspl.prompts.class_aware import ClassAware
from caspl.prompts.context import (
    both_towers,
    coop_context,
    coupled_context,
    late_words,
    placeholder_context,
    text_context,
    vision_tokens,
)
from caspl.prompts.coupling import Coupled, ImageConditioned
from caspl.prompts.described import Described
from caspl.prompts.generated import Generated
from caspl.prompts.initial import normal_tokens, word_tokens
from caspl.prompts.projector import Projector
from caspl.prompts.prompts import Prompts, Texts
from caspl.prompts.sampled import Sampled
from caspl.prompts.segment import AnySegment, Segment
from caspl.prompts.sets import AnyTexts, TextEnsemble, TextSets
from caspl.prompts.text import TextCascade, Words, plain_text
from caspl.prompts.vision import VisionCascade

__all__ = [
    "Adapter",
    "AnySegment",
    "AnyTexts",
    "ClassAware",
    "Coupled",
    "Described",
    "Generated",
    "ImageConditioned",
    "Norms",
    "Projector",
    "Prompts",
    "Sampled",
    "Segment",
    "Shift",
    "TextCascade",
    "TextEnsemble",
    "TextSets",
    "Texts",
    "VisionCascade",
    "Words",
    "both_towers",
    "coop_context",
    "coupled_context",
    "late_words",
    "normal_tokens",
    "placeholder_context",
    "plain_text",
    "text_context",
    "vision_tokens",
    "word_tokens",
]
