"""What ProGrad's settings cannot mean together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from yacs.config import CfgNode

from caspl.errors import CasPLError
from trainers.prograd import ProGrad

REFUSED = (
    ({"CSC": True}, r"TRAINER\.PROGRAD\.CSC .* CTX_INIT is 'template', a start that is one for all classes"),
    ({"CSC": True, "CTX_INIT": "a photo"}, r"TRAINER\.PROGRAD\.CSC .* set CTX_INIT to '' or CSC to False"),
    ({"CLASS_TOKEN_POSITION": "front"}, "CLASS_TOKEN_POSITION must be end, not 'front'"),
)


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_starts_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CasPLError, match=words):
        ProGrad.prompts(SimpleNamespace(), None, CfgNode(ProGrad.defaults | changes), ["cat", "dog"])  # type: ignore[arg-type]
