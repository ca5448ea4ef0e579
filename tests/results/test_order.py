"""The order of rows."""

from __future__ import annotations

from types import SimpleNamespace

from caspl.results.order import sort_key


def test_taught_methods_follow_their_method() -> None:
    names = ["Own", "PromptSRC", "CasPL_KDPL_CoOp", "KDPL_CoOp", "CasPL_FDBPL_CoOp", "FDBPL_CoOp", "CasPL_CoOp", "CoOp"]
    groups = [SimpleNamespace(dataset="d", trainer=name, config="c", shots=16) for name in names]
    assert [group.trainer for group in sorted(groups, key=sort_key)] == [
        *("CoOp", "CasPL_CoOp", "FDBPL_CoOp", "CasPL_FDBPL_CoOp", "KDPL_CoOp", "CasPL_KDPL_CoOp", "PromptSRC", "Own"),
    ]
