"""Configuration trees (yacs) with the published default keys."""

from __future__ import annotations

from yacs.config import CfgNode

from .defaults import build_defaults

__all__ = ["cfg_default", "clean_cfg", "get_cfg_default"]

cfg_default: CfgNode = build_defaults()


def get_cfg_default() -> CfgNode:
    """Return an unfrozen copy of the default configuration; copies share nothing."""
    return cfg_default.clone()


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Drop, in place, every section of ``cfg.TRAINER`` that belongs to another method.

    Args:
        cfg: the configuration; may be frozen.
        trainer: name of the method to keep; its section is the upper-cased name.
    """
    keep = {"NAME", trainer.upper()}
    for key in [key for key in cfg.TRAINER if key not in keep]:
        cfg.TRAINER.pop(key)
