"""Frozen models that a loss listens to: teachers that give class logits, references that give features."""

from caspl.teachers.clip import CLIPTeacher, Teacher
from caspl.teachers.reference import Reference

__all__ = ["CLIPTeacher", "Reference", "Teacher"]
