"""Frozen models that a loss listens to: teachers that give class logits, references that give features."""
