"""CasPL in code bases that are not ours: CoOp, MaPLe, PromptSRC and forks, on the original Dassl or on our engine.

Two lines in a ``train.py``, after its trainers are imported::

    import caspl.plugin
    caspl.plugin.extend_cfg(cfg)  # where the config is extended

Then ``--trainer CasPL`` learns boosting tokens (phase 1), and ``--trainer CasPL_<X>`` is the code base's trainer X
behind them (phase 2). Neither its trainers nor its ``clip`` folder are changed. See ``docs/plugin.md``.
"""

from __future__ import annotations

from caspl.dassl.plugin.register import cascade, extend_cfg, register_cascades

__all__ = ["cascade", "extend_cfg", "register_cascades"]
