"""Frozen models that a loss listens to: teachers give class logits, references features; encoders are behind them."""

from caspl.teachers.clip import CLIPTeacher, Teacher
from caspl.teachers.encoder import CLIPEncoder, Encoder
from caspl.teachers.load import load_encoder
from caspl.teachers.reference import Reference

__all__ = ["CLIPEncoder", "CLIPTeacher", "Encoder", "Reference", "Teacher", "load_encoder"]
