"""The merge order of the field: defaults, data set file, method file, flags, KEY VALUE pairs; then frozen."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from caspl.errors import CasPLError
from dassl.config import get_cfg_default
from trainers.registry import extend_cfg


def build_cfg(args: argparse.Namespace) -> CfgNode:
    """The frozen config of a run.

    Raises:
        CasPLError: for a missing file, an unknown key (with near ones) or a value of the wrong type.
    """
    cfg = get_cfg_default()
    extend_cfg(cfg)
    for path in (args.dataset_config_file, args.config_file):
        if path:
            _merge_file(cfg, Path(path))
    if args.seed is not None and args.seed < 0:
        raise CasPLError(f"--seed is 0 or more, not {args.seed}; leave it out for a run without a seed")
    _apply_flags(cfg, args)
    _merge_pairs(cfg, args.opts)
    cfg.DATASET.ROOT = cfg.DATASET.ROOT or os.environ.get("DATA", "data")
    cfg.freeze()
    return cfg


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
    }
    for key, value in flags.items():
        if value is not None:  # not "if value": a seed of 0 is a seed
            node, leaf = _parent(cfg, key)
            node[leaf] = tuple(value) if isinstance(value, list) else value


def _merge_file(cfg: CfgNode, path: Path) -> None:
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=3, cutoff=0.3)
        hint = f"; in that folder there are {', '.join(near)}" if near else ""
        raise CasPLError(f"no config file at {path}{hint}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CasPLError(f"{path} is no YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise CasPLError(f"{path} is no config: it should hold KEY: value lines")
    for key, value in leaves(content):
        _merge_one(cfg, key, value, str(path))


def _merge_pairs(cfg: CfgNode, pairs: Sequence[str]) -> None:
    if len(pairs) % 2:
        raise CasPLError(f"options come as KEY VALUE pairs, but {' '.join(pairs)!r} has {len(pairs)} words")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        _merge_one(cfg, key, value, "the command line")


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


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``KEY.SUB`` -> value of every leaf of a nested config."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
