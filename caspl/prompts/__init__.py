"""Prompt segments, their cascade in each tower, and their files."""

from caspl.prompts.context import Prompts, both_towers, coop_context, text_context, vision_tokens
from caspl.prompts.initial import normal_tokens, word_tokens
from caspl.prompts.segment import Segment
from caspl.prompts.state import BoostingFile, Header, read_boosting, write_boosting
from caspl.prompts.text import TextCascade, Words
from caspl.prompts.vision import VisionCascade

__all__ = [
    "BoostingFile",
    "Header",
    "Prompts",
    "both_towers",
    "coop_context",
    "text_context",
    "vision_tokens",
    "Segment",
    "TextCascade",
    "VisionCascade",
    "Words",
    "normal_tokens",
    "read_boosting",
    "word_tokens",
    "write_boosting",
]
