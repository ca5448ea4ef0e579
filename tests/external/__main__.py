"""Code bases that are not ours: their trainers on our engine, and CasPL in them. Prints both tables.

    python -m tests.external --repo PATH --trainer X      any checkout, see tests/external/tree.py
    python -m tests.external CHECKOUT... [--work DIR] [--python INTERPRETER] [--path DIR] [--only NAME...]

CHECKOUT is a clone of CoOp, MaPLe (multimodal-prompt-learning), PromptSRC, Modular-Prompt-Learning, PromptKD or a fork.
It is copied; in the copy's train.py, for the second table, the plug-in's two lines are added. Everything runs on the
CPU, through ``python train.py``, on a miniature EuroSAT and small random CLIPs, so that accuracies mean nothing.
With --python and --path another environment is used, e.g. one with the original Dassl.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.external import tree
from tests.external.cpu import MARK
from tests.external.material import OURS, RELEASED, SIDE, make_cases, make_eurosat, make_weights
from tests.external.runs import BOOST, Checkout, Setting, verdict


def open_checkout(source: Path, target: Path, plugged: bool) -> Checkout:
    """Copy a checkout; with ``plugged`` add the plug-in's two lines to its train.py."""
    commit = subprocess.run(["git", "-C", str(source), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".git"))
    if plugged:
        script = target / "train.py"
        text, first = re.subn(r"^import torch$", "import torch\nimport caspl.plugin", script.read_text(), flags=re.M)
        text, second = re.subn(r"^( +)extend_cfg\(cfg\)$", r"\g<0>\n\1caspl.plugin.extend_cfg(cfg)", text, flags=re.M)
        assert first == second == 1, f"{script} is not as expected"
        script.write_text(text)
    found = {
        name: path
        for path in sorted((target / "trainers").glob("*.py"))
        for name in re.findall(r"@TRAINER_REGISTRY\.register\(\)\s*class (\w+)", path.read_text())
        if f"import trainers.{path.stem}\n" in (target / "train.py").read_text()
    }
    return Checkout(source.name, commit.stdout.strip(), target, found)


def arguments(setting: Setting, checkout: Checkout, trainer: str, output: Path, *more: str) -> list[str]:
    """For train.py: a short run of the published config on the miniature."""
    plain = trainer.removeprefix("CasPL_")
    section = "" if trainer == "CasPL" else checkout.section(plain)
    config = checkout.config(plain)
    prec = [f"TRAINER.{section}.PREC", "fp32"] if section and not setting.published else []
    # fmt: off
    return [
        "--root", str(setting.work / "data"), "--seed", "1", "--trainer", trainer, "--output-dir", str(output),
        "--dataset-config-file", "configs/datasets/eurosat.yaml", "--config-file", str(config), *more,
        "INPUT.SIZE", f"({SIDE}, {SIDE})", "DATALOADER.NUM_WORKERS", "0", "DATALOADER.TRAIN_X.BATCH_SIZE", "4",
        "OPTIM.MAX_EPOCH", "2", "TRAIN.PRINT_FREQ", "1", "USE_CUDA", "False", *prec, *setting.opts,
    ]
    # fmt: on


def try_trainer(setting: Setting, checkout: Checkout, trainer: str, *pairs: str) -> tuple[str, str, str]:
    """Train on the base classes, test on the new ones; returns both outcomes and the CUDA-only lines."""
    output = setting.work / "out" / checkout.folder.name / trainer
    plain = trainer.removeprefix("CasPL_")
    learns = not plain.startswith("Zeroshot")
    lines: dict[str, None] = {}
    outcomes = {"base": "-", "new": "-"}
    for step in outcomes:
        # PromptKD looks at the images of all classes, and knows base and new ones itself.
        shots = "1" if setting.published else "4"  # half precision is slow on a CPU
        subset = [] if plain == "PromptKD" else ["DATASET.SUBSAMPLE_CLASSES", step, "DATASET.NUM_SHOTS", shots]
        evaluate = ["--eval-only"] if step == "new" or not learns else []
        loading = ["--model-dir", str(output), "--load-epoch", "2"] if evaluate and learns else []
        folder = output / "new" if step == "new" else output
        run = arguments(setting, checkout, trainer, folder, *evaluate, *loading)
        done = setting.run(checkout, [*run, *subset, *pairs])
        (setting.work / f"{checkout.folder.name}-{trainer}-{step}.log").write_text(done.stdout + done.stderr)
        lines |= dict.fromkeys(word for line in done.stdout.splitlines() if MARK in line for word in line.split()[1:])
        outcomes[step] = verdict(done)
        if done.returncode:
            break
    return outcomes["base"], outcomes["new"], " ".join(lines)


def engine_rows(setting: Setting, sources: list[Path], only: list[str]) -> Iterator[str]:
    """Their trainers, unmodified."""
    for source in sources:
        checkout = open_checkout(source, setting.work / source.name, plugged=False)
        prepare_teacher(setting, checkout)
        for trainer in checkout.trainers:
            if not only or trainer in only:
                trained, tested, cuda = try_trainer(setting, checkout, trainer)
                yield f"| {checkout.name} {checkout.commit} | {trainer} | {trained} | {tested} | {cuda or '-'} |"


def plugin_rows(setting: Setting, sources: list[Path], only: list[str]) -> Iterator[str]:
    """CasPL in their trees."""
    for source in sources:
        checkout = open_checkout(source, setting.work / f"{source.name}-caspl", plugged=True)
        prepare_teacher(setting, checkout)
        boosting = ["TRAINER.CASPL.BOOSTING_DIR", str(setting.work / "boosting" / checkout.name), *BOOST]
        output = setting.work / "out" / checkout.folder.name / "CasPL"
        done = setting.run(checkout, arguments(setting, checkout, "CasPL", output) + boosting)
        (setting.work / f"{checkout.folder.name}-CasPL.log").write_text(done.stdout + done.stderr)
        yield f"| {checkout.name} {checkout.commit} | CasPL | {verdict(done)} | | |"
        names = [name for name in (*RELEASED, *OURS) if trainer_of(name) in checkout.trainers]
        said = compare(setting, checkout, names)
        for trainer in checkout.trainers:
            if only and trainer not in only:
                continue
            trained, tested, _ = try_trainer(setting, checkout, f"CasPL_{trainer}", *boosting)
            equal = "; ".join(words for name, words in said.items() if trainer_of(name) == trainer)
            row = f"| {checkout.name} {checkout.commit} | CasPL_{trainer} | {trained} | {tested} |"
            yield f"{row} {equal or '-'} |"


def trainer_of(case: str) -> str:
    """The trainer of a case by its name."""
    names = {
        "coop": "CoOp",
        "cocoop": "CoCoOp",
        "maple": "MaPLe",
        "promptsrc": "PromptSRC",
        "ivlp": "IVLP",
        "mpl": "MPL",
    }
    return names[case.split("_")[1]]


def compare(setting: Setting, checkout: Checkout, names: list[str]) -> dict[str, str]:
    """What each case says; one that says nothing has failed."""
    if not names:
        return {}
    done = setting.parity(checkout, names)
    (setting.work / f"{checkout.folder.name}-cases.log").write_text(done.stdout + done.stderr)
    printed = dict(line.split(" ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("CASE "))
    silent = "failed: " + (done.stderr.strip().splitlines() or ["no output"])[-1][:150]
    return {name: f"{'ours' if name in OURS else 'the release'}: {printed.get(name, silent)}" for name in names}


def prepare_teacher(setting: Setting, checkout: Checkout) -> None:
    """PromptKD reads its weights and its teacher, a PromptSRC run, from folders of its own."""
    if "PromptKD" not in checkout.trainers:
        return
    for file in (setting.work / "weights").iterdir():
        shutil.copy(file, checkout.folder / "clip")
    output = setting.work / "out" / checkout.folder.name / "teacher"
    run = arguments(setting, checkout, "PromptSRC", output, "--backbone", "ViT-L/14")
    done = setting.run(checkout, [*run, "DATASET.NUM_SHOTS", "4", "DATASET.SUBSAMPLE_CLASSES", "base"])
    (setting.work / f"{checkout.folder.name}-teacher.log").write_text(done.stdout + done.stderr)
    home = checkout.folder / "teacher_model/EuroSAT/VLPromptLearner"
    home.mkdir(parents=True, exist_ok=True)
    if done.returncode == 0:
        shutil.copy(output / "VLPromptLearner/model.pth.tar-2", home / "model-best.pth.tar")


def versions(setting: Setting) -> str:
    """Of what runs everything."""
    code = (
        "import sys, torch, torchvision, dassl; print('Python', sys.version.split()[0], '/ torch', torch.__version__, "
        "'/ torchvision', torchvision.__version__, '/ dassl', dassl.__version__)"
    )
    done = setting._call([setting.python, "-c", code], setting.work, setting.path)
    return done.stdout.strip() or done.stderr.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.external", description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="*", type=Path, help="clones of other code bases")
    parser.add_argument("--repo", type=Path, help="any checkout, for one row of one trainer of it")
    parser.add_argument("--trainer", action="append", default=[], help="with --repo: the trainer; may be repeated")
    parser.add_argument("--config", default="", help="with --repo: a config file in it; else one is looked for")
    parser.add_argument("--own-name", action="store_true", help="with --repo: both phases under the trainer's own name")
    parser.add_argument("--hints", default="", help="with --repo: arguments of caspl.plugin.cascade, e.g. text=False")
    parser.add_argument("--work", type=Path, default=Path("output/external"), help="folder of copies, data and logs")
    parser.add_argument("--python", default=sys.executable, help="interpreter that runs them")
    parser.add_argument("--path", action="append", default=[], help="for PYTHONPATH, e.g. the original Dassl")
    parser.add_argument("--only", action="append", default=[], help="names of trainers")
    parser.add_argument("--table", choices=("engine", "plugin", "both"), default="both")
    parser.add_argument("--as-published", action="store_true", help="in half precision: slow, for a few trainers")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE pairs for every run")
    options = parser.parse_args()
    if bool(options.repo) == bool(options.checkouts) or bool(options.repo) != bool(options.trainer):
        parser.error("give checkouts, or --repo PATH and --trainer X")
    work = options.work.resolve()
    if work.exists():
        parser.error(f"{work} is there already: delete it, or name another --work")
    setting = Setting(work, options.python, options.path, options.opts, options.as_published)
    make_eurosat(work / "data")
    make_weights(work / "weights")
    print(versions(setting), "\n")
    if options.repo:
        print(tree.HEAD)
        for trainer in options.trainer:
            repo = options.repo.resolve()
            print(tree.row(setting, repo, trainer, options.config, options.own_name, options.hints), flush=True)
        return
    make_cases(work / "cases", work / "recipe")
    sources = [path.resolve() for path in options.checkouts]
    if options.table != "plugin":
        print("| code base | trainer | trains | tests new classes | CUDA-only lines |\n| --- | --- | --- | --- | --- |")
        for row in engine_rows(setting, sources, options.only):
            print(row, flush=True)
    if options.table != "engine":
        print("\n| code base | trainer | trains | tests new classes | equal to |\n| --- | --- | --- | --- | --- |")
        for row in plugin_rows(setting, sources, options.only):
            print(row, flush=True)


if __name__ == "__main__":
    main()
