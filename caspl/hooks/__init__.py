"""Tokens in towers that somebody else built: at their blocks, by hooks."""
