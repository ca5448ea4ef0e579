"""What can be named: students and methods."""

from __future__ import annotations

from caspl.results.order import KNOWN
from caspl.zoo import OPENAI, SHIPPED


def list_students() -> list[str]:
    """Names of the CLIPs that can carry tokens, beside open_clip's pairs ``ARCHITECTURE:TAG`` and weights files."""
    return [*SHIPPED, *OPENAI]


def list_methods() -> list[str]:
    """Names of the adapting methods that come with CasPL, each also as ``CasPL_<name>`` behind boosting tokens.

    What runs they leave is read by :func:`caspl.load`; they are trained in a checkout, with ``train.py``.
    """
    return [name for name in KNOWN if name != "CasPL"]
