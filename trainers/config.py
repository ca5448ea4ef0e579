"""The merge order of the field: defaults, data set file, method file, flags, KEY VALUE pairs; then frozen."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from yacs.config import CfgNode

from caspl.dassl.outcome import leaves
from caspl.errors import CasPLError
from caspl.files.parse import parse_yaml
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from trainers.published_keys import KD, translate
from trainers.registry import SECTIONS, extend_cfg
from trainers.user_modules import extend_by_plugins

logger = logging.getLogger(__name__)


def build_cfg(args: argparse.Namespace, plugins: Sequence[ModuleType] = ()) -> CfgNode:
    """The frozen config of a run. Files and pairs written for the authors' release are taken as they are.

    Args:
        args: the command line's.
        plugins: users' modules, which may add sections.

    Raises:
        CasPLError: for a missing file, an unknown key (with near ones), a value of the wrong type, or settings of the
            release that contradict the trainer or ours.
    """
    cfg = get_cfg_default()
    extend_cfg(cfg)
    extend_by_plugins(cfg, plugins)
    cfg.KD = CfgNode(KD)
    given: set[str] = set()
    for path in (args.dataset_config_file, args.config_file):
        if path:
            given |= _merge_file(cfg, Path(path))
    if args.seed is not None and args.seed < 0:
        raise CasPLError(f"--seed is 0 or more, not {args.seed}; leave it out for a run without a seed")
    _apply_flags(cfg, args)
    given |= _merge_pairs(cfg, args.opts)
    translate(cfg, given)
    _warn_of_another_section(cfg.TRAINER.NAME, given)
    cfg.DATASET.ROOT = cfg.DATASET.ROOT or os.environ.get("DATA", "data")
    cfg.freeze()
    return cfg


def _warn_of_another_section(name: str, given: set[str]) -> None:
    """A run with the file of another method would silently take its own method's defaults."""
    own = getattr(TRAINER_REGISTRY.get(name), "section", None) if name in TRAINER_REGISTRY else None
    if own is None or "Zeroshot" in name:  # zero-shot is run with any method's file, for its transforms
        return
    sections = {key.split(".")[1] for key in given if key.startswith("TRAINER.")} & SECTIONS.keys()
    others = sorted(sections - {own, "CASPL"})  # CASPL goes with every method
    if others and own not in sections:
        names = " and ".join(f"TRAINER.{other}" for other in others)
        logger.warning("%s is set, but %s reads TRAINER.%s, of which nothing is: its defaults hold", names, name, own)


def _apply_flags(cfg: CfgNode, args: argparse.Namespace) -> None:
    flags = {
        "DATASET.ROOT": args.root,
        "OUTPUT_DIR": args.output_dir,
        "RESUME": args.resume,
        "SEED": args.seed,
        "DATASET.SOURCE_DOMAINS": args.source_domains,
        "DATASET.TARGET_DOMAINS": args.target_domains,
        "INPUT.TRANSFORMS": args.transforms,
        "TRAINER.NAME": args.trainer,
        "MODEL.BACKBONE.NAME": args.backbone,
        "MODEL.HEAD.NAME": args.head,
        "TEST.SAVE_PREDICTIONS": args.save_predictions or None,
    }
    for key, value in flags.items():
        if value is not None:  # not "if value": a seed of 0 is a seed
            node, leaf = _parent(cfg, key)
            node[leaf] = tuple(value) if isinstance(value, list) else value


def _merge_file(cfg: CfgNode, path: Path) -> set[str]:
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=3, cutoff=0.3)
        hint = f"; in that folder there are {', '.join(near)}" if near else ""
        if not path.parent.is_dir():
            hint = f"; there is no folder {path.parent}: a method of your own takes any file (CFG for the drivers)"
        raise CasPLError(f"no config file at {path}{hint}")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8")) or {}
    except ValueError as error:
        raise CasPLError(f"{path} is no YAML file: {error}") from error
    if not isinstance(content, dict):
        raise CasPLError(f"{path} is no config: it should hold KEY: value lines")
    given = dict(leaves(content))
    for key, value in given.items():
        _merge_one(cfg, key, value, str(path))
    return set(given)


def _merge_pairs(cfg: CfgNode, pairs: Sequence[str]) -> set[str]:
    if len(pairs) % 2:
        raise CasPLError(f"options come as KEY VALUE pairs, but {' '.join(pairs)!r} has {len(pairs)} words")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        _merge_one(cfg, key, value, "the command line")
    return set(pairs[::2])


def _merge_one(cfg: CfgNode, key: str, value: Any, origin: str) -> None:
    node, leaf = _parent(cfg, key, origin)
    value = CfgNode._decode_cfg_value(value)  # literals only: "(224, 224)", "1e-5"
    old = node[leaf]
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(old, (list, tuple)) and isinstance(value, (list, tuple)):
        value = type(old)(value)
    if type(old) is not type(value) and old is not None and value is not None:
        raise CasPLError(
            f"{key} in {origin} must be of type {type(old).__name__} (as {old!r}), "
            f"not {type(value).__name__} ({value!r})"
        )
    node[leaf] = value


def _parent(cfg: CfgNode, key: str, origin: str = "the flags") -> tuple[CfgNode, str]:
    *parents, leaf = key.split(".")
    node = cfg
    for name in parents:
        node = node.get(name) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode) or leaf not in node or isinstance(node[leaf], CfgNode):
        near = difflib.get_close_matches(key, [name for name, _ in leaves(cfg)], n=3)
        raise CasPLError(f"unknown key {key} in {origin}" + (f"; near are {', '.join(near)}" if near else ""))
    return node, leaf
