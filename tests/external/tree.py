"""Try CasPL in any checkout: one row for a trainer, in about a minute.

    python -m tests.external --repo PATH --trainer X [--config FILE] [--own-name] [--hints ARGUMENTS] [--opts ...]

The checkout is copied, its train.py gets the plug-in's two lines, and three runs follow on a miniature EuroSAT with
small random CLIPs, on a CPU: X as it is on whatever ``dassl`` is installed, phase 1, and CasPL_X on the base classes.
What the self-check at the first batch says fills the last columns.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.external.material import SIDE
from tests.external.runs import BOOST, Checkout, Setting, verdict

HEAD = "| code base | trainer | engine | phase 1 | phase 2 | tokens reach | self-check |\n|" + " --- |" * 7
NOT_THEIRS = ("__pycache__", ".git", "Dassl*", "output", "data")


def open_any(source: Path, target: Path, trainer: str = "", hints: str = "") -> Checkout:
    """Copy a checkout and add the two lines behind its own ``extend_cfg(cfg)``, wherever its imports are.

    Args:
        source: the checkout.
        target: the copy.
        trainer: one that is cascaded with hints.
        hints: arguments of ``caspl.plugin.cascade``, as in Python: ``text=False``.
    """
    commit = subprocess.run(
        ["git", "-C", str(source), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_THEIRS))
    script = target / "train.py"
    text = script.read_text()
    lines = ["import caspl.plugin", "from dassl.engine import TRAINER_REGISTRY"]
    lines += [f"caspl.plugin.cascade(TRAINER_REGISTRY.get({trainer!r}), {hints})"] if hints else []
    added = "; ".join([*lines, "caspl.plugin.extend_cfg(cfg)"])
    text, found = re.subn(r"^( +)(extend_cfg\(cfg\).*)$", rf"\1\2\n\1{added}", text, flags=re.M)
    if not found:
        raise SystemExit(f"{script} does not call extend_cfg(cfg): add the plug-in's two lines there by hand")
    script.write_text(text)
    return Checkout(source.name, commit.stdout.strip(), target)


def config_of(checkout: Checkout, trainer: str) -> Path:
    """The first config for a ViT-B, of the trainer if its folder is called so, else of any."""
    configs = checkout.folder / "configs/trainers"
    folders = [folder for folder in sorted(configs.iterdir()) if folder.name.lower() == trainer.lower()]
    for folder in (*folders, configs):
        files = sorted(folder.rglob("vit_b16*.yaml")) or sorted(folder.rglob("*.yaml"))
        if files:
            return files[0].relative_to(checkout.folder)
    raise SystemExit(f"no config of {trainer} below {configs}: name one with --config")


def row(setting: Setting, source: Path, trainer: str, config: str = "", own_name: bool = False, hints: str = "") -> str:
    """The three runs of a trainer.

    Args:
        setting: where and with what.
        source: a checkout.
        trainer: one of its trainers.
        config: a config file in it; empty: one is looked for.
        own_name: both phases under the trainer's own name, by ``TRAINER.CASPL.PHASE``.
        hints: arguments of ``caspl.plugin.cascade``.
    """
    checkout = open_any(source, setting.work / f"{source.name}-{trainer}", trainer, hints)
    file = Path(config) if config else config_of(checkout, trainer)
    boosting = ["TRAINER.CASPL.BOOSTING_DIR", str(setting.work / "boosting"), *BOOST]
    base = ["DATASET.SUBSAMPLE_CLASSES", "base", "DATASET.NUM_SHOTS", "4"]
    said, logs = {}, {}
    names = (trainer, "CasPL", f"CasPL_{trainer}")
    phases: tuple[list[str], ...] = ([], [], [])
    if own_name:  # whose train.py knows no other
        names, phases = (trainer,) * 3, ([], ["TRAINER.CASPL.PHASE", "1"], ["TRAINER.CASPL.PHASE", "2"])
    for column, name, phase, more in zip(
        ("engine", "phase 1", "phase 2"),
        names,
        phases,
        (base, [*boosting, "TEST.FINAL_MODEL", "last_step"], [*base, *boosting]),
        strict=True,
    ):
        # fmt: off
        run = [
            "--root", str(setting.work / "data"), "--seed", "1", "--trainer", name,
            "--output-dir", str(setting.work / "out" / checkout.folder.name / column.replace(" ", "")),
            "--dataset-config-file", "configs/datasets/eurosat.yaml", "--config-file", str(file), *setting.opts,
            "MODEL.BACKBONE.NAME", "ViT-B/16", "INPUT.SIZE", f"({SIDE}, {SIDE})",
            "DATALOADER.NUM_WORKERS", "0", "DATALOADER.TRAIN_X.BATCH_SIZE", "4",
            "OPTIM.MAX_EPOCH", "2", "TRAIN.PRINT_FREQ", "1", "USE_CUDA", "False", *more, *phase,
        ]
        # fmt: on
        done = setting.run(checkout, run)
        logs[column] = done.stdout + done.stderr
        (setting.work / f"{checkout.folder.name}-{column.replace(' ', '')}.log").write_text(logs[column])
        said[column] = verdict(done)
    reach, check = self_check(logs["phase 2"])
    cells = [f"{checkout.name} {checkout.commit}", trainer, *said.values(), reach, check]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def self_check(log: str) -> tuple[str, str]:
    """Whether the tokens reach the logits, and what the self-check said."""
    found = re.findall(r"self-check: (.*)", log)
    if not found:
        return "-", "-"
    if "not checked" in found[-1]:
        return ("-" if "did not run" in found[-1] else "yes"), found[-1][:300]
    if "passed" in found[-1]:
        return ("not asked" if "gradients" in found[-1] else "yes"), found[-1]
    return ("no" if "not reach" in found[-1] or "the same with" in found[-1] else "-"), found[-1][:300]
