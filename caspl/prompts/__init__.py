"""Prompt segments, their cascade in each tower, and their files."""

from caspl.prompts.context import (
    both_towers,
    coop_context,
    coupled_context,
    placeholder_context,
    text_context,
    vision_tokens,
)
from caspl.prompts.coupling import Coupled, ImageConditioned
from caspl.prompts.ensemble import TextEnsemble
from caspl.prompts.initial import normal_tokens, word_tokens
from caspl.prompts.prompts import Prompts
from caspl.prompts.segment import AnySegment, Segment
from caspl.prompts.state import BoostingFile, Header, read_boosting, write_boosting
from caspl.prompts.text import TextCascade, Words
from caspl.prompts.vision import VisionCascade

__all__ = [
    "AnySegment",
    "BoostingFile",
    "Coupled",
    "Header",
    "ImageConditioned",
    "Prompts",
    "Segment",
    "TextCascade",
    "TextEnsemble",
    "VisionCascade",
    "Words",
    "both_towers",
    "coop_context",
    "coupled_context",
    "normal_tokens",
    "placeholder_context",
    "read_boosting",
    "text_context",
    "vision_tokens",
    "word_tokens",
    "write_boosting",
]
