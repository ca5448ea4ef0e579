"""CasPL in code bases that are not ours; two lines in their ``train.py``. See :mod:`caspl.dassl.plugin`."""

from __future__ import annotations

from caspl.dassl.plugin import cascade, extend_cfg, register_cascades

__all__ = ["cascade", "extend_cfg", "register_cascades"]
