"""A wrapped method takes the settings of what it wraps."""

from __future__ import annotations

from pathlib import Path

import pytest

from caspl.protocols.files import config_file
from caspl.protocols.protocol import read_protocol, unwrapped

CONFIGS = Path(__file__).parents[1] / "configs"


def test_names_without_wrappers() -> None:
    assert unwrapped("CasPL_KDPL_CoOp") == ["CasPL_KDPL_CoOp", "KDPL_CoOp", "CoOp"]
    assert unwrapped("KDPL_CoOp") == ["KDPL_CoOp", "CoOp"]
    assert unwrapped("CasPL_FDBPL_CoOp") == ["CasPL_FDBPL_CoOp", "FDBPL_CoOp", "CoOp"]
    assert unwrapped("CoOp") == ["CoOp"]


@pytest.mark.parametrize("method", ["KDPL_CoOp", "CasPL_KDPL_CoOp"])
def test_a_taught_method_finds_the_config_of_its_method(method: str) -> None:
    protocol = read_protocol("base2new")
    assert protocol.config(method, "eurosat", 16) == protocol.config("CoOp", "eurosat", 16)
    assert config_file(CONFIGS, method, "tiny") == CONFIGS / "trainers/CoOp/tiny.yaml"
