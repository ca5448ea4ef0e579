"""The documents' commands and code blocks do what they say: each is run, as far as a test can go."""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import caspl
import train
from caspl.__main__ import main as caspl_main
from caspl.checkpoint import read_checkpoint
from caspl.files.parse import parse_yaml
from caspl.results import read_record
from caspl.towers import random_state_dict
from caspl.towers.weights import write_clip
from dassl.utils.logger import close_logger
from tests.runs import REPO, Runs
from tests.test_reproduce import reproduce
from tests.test_scripts import VIT_B16, VIT_L14
from trainers import session
from trainers.config import build_cfg
from trainers.user_modules import load_plugins

PAGES = sorted(f"docs/{path.name}" for path in (REPO / "docs").glob("*.md"))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "engine/README.md", *PAGES]
PROGRAMS = r"(?:[A-Z_]+=\S+ )*(?:python|bash|make|for|export)\b"
# What is somebody else's, in another place, or asks for a download.
ELSEWHERE = ("MyMethod", "my_table", "PATH/TO", "/path/to", "pip install", "git ", "cd ")


def fenced(document: str, language: str) -> list[str]:
    """Blocks of a language."""
    text = (REPO / document).read_text(encoding="utf-8")
    return [textwrap.dedent(block) for block in re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.M | re.S)]


def commands(document: str) -> list[str]:
    """Blocks of commands, fenced or indented."""
    whole = (REPO / document).read_text(encoding="utf-8")
    text = re.sub(r"^ *```.*?^ *```$", "", whole, flags=re.M | re.S)
    indented = re.findall(r"(?:^ {4,}\S.*\n)+", text, re.M)
    return fenced(document, "bash") + [
        textwrap.dedent(block) for block in indented if re.match(rf" +{PROGRAMS}", block)
    ]


BLOCKS = [
    pytest.param(block, id=f"{document}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(commands(document))
    if not any(word in block for word in ELSEWHERE)
]


VARIABLES = ["PLUGIN", "CFG", "LABEL", "SHOTS", "BOOST_CFG", "BOOST_LABEL", "BOOST_SEED", "BOOST_OPTIONS"]
"""Of the environment, which the drivers read."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, with programs that only note what they are given."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("caspl", "trainers", "datasets", "configs", "scripts", "docs", "tests", "benchmarks", "engine"):
        (folder / name).symlink_to(REPO / name)
    for name in ("train.py", "pyproject.toml", "Makefile", "requirements.txt", "setup.py"):
        (folder / name).symlink_to(REPO / name)
    (folder / "bin").mkdir()
    programs = dict.fromkeys(("rm", "du", "ln", "pytest"), "exit 0")
    noted = "".join(f"printf '{name}=%s\\037' \"${{{name}:-}}\"; " for name in VARIABLES)
    programs["python"] = f"{{ {noted}printf '%s\\037' \"$@\"; echo; }} >>{folder / 'calls'}"
    programs["torchrun"] = 'while [ "$1" != train.py ]; do shift; done; exec python "$@"'
    programs["make"] = f'exec {shutil.which("make")} --dry-run "$@" >/dev/null'
    for name, content in programs.items():
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{content}\n")
        path.chmod(0o755)
    return folder


def test_there_are_commands() -> None:
    """As many as a reader counts, about."""
    blocks = [str(block.values[0]) for block in BLOCKS]
    assert len(blocks) > 20
    assert sum(block.count("train.py") for block in blocks) > 8


@pytest.mark.parametrize("block", BLOCKS)
def test_commands(block: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell runs them, and the programs that they call take the arguments that they are given."""
    calls = place / "calls"
    calls.write_text("")
    folders = {"HOME": str(tmp_path), "DATA": str(tmp_path), "OUTPUT": str(tmp_path / "output")}
    path = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHON": str(place / "bin/python")}
    line = ["bash", "-eu", "-o", "pipefail", "-c", block]
    done = subprocess.run(line, cwd=place, env=os.environ | folders | path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}\n{done.stdout[-800:]}\n{done.stderr[-2000:]}"
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(sys, "argv", ["train.py"])
    for arguments in dict.fromkeys(tuple(line.split("\37")[:-1]) for line in calls.read_text().splitlines()):
        count = len(VARIABLES)
        for said in arguments[:count]:
            monkeypatch.setenv(*said.split("=", 1))
        take(list(arguments[count:]), monkeypatch)


def take(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command as far as its arguments tell: until a parser has taken them; of train.py also build the config."""
    if arguments[0].endswith("run_once.py"):
        arguments = arguments[arguments.index("--") + 1 :]
    if arguments[0].endswith("train.py"):
        args = train.parser().parse_intermixed_args([word for word in arguments[1:] if word != "..."])
        cfg = build_cfg(args, load_plugins(args.plugin))
        if "..." not in arguments:
            session.check(cfg, args)
        return
    if arguments[0].endswith("reproduce.py"):  # drivers are this
        assert reproduce.main(["--dry-run", *arguments[1:]]) == 0
        return
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *args: Any, **options: Any) -> Any:
        parse(parser, *args, **options)
        raise Taken

    module = arguments[0] == "-m"
    run = runpy.run_module if module else runpy.run_path
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*found in sys.modules.*")
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", arguments[module:])
        with pytest.raises(Taken):
            run(arguments[module], run_name="__main__")


class Taken(Exception):
    """The arguments are taken."""


# The recipe's blocks are run by tests/test_contributing.py, the data set's class by tests/datasets/test_pattern.py.
ELSEWHERE_RUN = {"CONTRIBUTING.md": 2, "docs/your-data.md": 1}
PLUGGED_IN = {"README.md": 1, "docs/plugin.md": 2}
ENGINE = {"engine/README.md": 2}
USED = {"docs/library.md": 3}  # tests/test_attach.py has the second


def test_every_code_block_is_run_by_a_test() -> None:
    found = {document: len(blocks) for document in DOCUMENTS if (blocks := fenced(document, "python"))}
    assert found == ELSEWHERE_RUN | ENGINE | USED | {"docs/plugin.md": 2, "README.md": 2, "docs/cascade.md": 1}


def test_the_blocks_of_the_plug_in(tmp_path: Path) -> None:
    """In a program of their own, for they register trainers; the shown lines of a train.py are taken out of it."""
    shown = [block.replace("...\n", "").replace("    extend", "extend").replace("    caspl", "caspl")
             for document in PLUGGED_IN for block in fenced(document, "python")[-PLUGGED_IN[document]:]]  # fmt: skip
    program = "\n".join([
        "from dassl.config import get_cfg_default",
        "from dassl.engine import TRAINER_REGISTRY, TrainerX",
        "@TRAINER_REGISTRY.register()",
        "class MyTrainer(TrainerX): pass",
        "cfg, extend_cfg = get_cfg_default(), lambda cfg: None",
        *shown,
        "assert cfg.TRAINER.CASPL.BOOSTING_SEED == 1",
        "assert TRAINER_REGISTRY.get('CasPL_MyTrainer')",
    ])  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_trained_model_in_use_as_told(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block of the README and that of docs/library.md, and the commands behind it."""
    few = ["TRAINER.COOP.PREC", "fp32", "OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "1"]
    assert train.main(runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "output/adapt", *few)) == 0
    monkeypatch.chdir(runs.folder)
    shutil.copytree(runs.root / "eurosat" / "2750", "labelled")
    shutil.copytree(Path("labelled/Forest"), "pictures")
    shutil.copy("pictures/Forest_1.jpg", "picture.jpg")
    for document in ("README.md", "docs/library.md"):
        names: dict[str, Any] = {}
        exec(fenced(document, "python")[0], names)  # our own document
    assert names["logits"].shape == (10, 3)
    assert names["image"].shape == (10, names["text"].shape[1])
    for line in fenced("docs/library.md", "bash")[0].splitlines():
        if "--onnx" not in line:  # tests/test_front_door.py
            words = shlex.split(line, comments=True)[3:]
            labelled = ["--classes", *sorted(path.name for path in Path("labelled").iterdir())]
            assert caspl_main([*words, *(labelled if words[0] == "evaluate" else [])]) == 0, line


def test_a_model_by_hand_as_told(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(fenced("docs/library.md", "python")[2], names)  # our own document
    (found,) = names["predictor"].predict(torch.zeros(1, 3, 32, 32))
    assert {answer.name for answer in found.answers} == {"forest", "sea or lake"}
    names["model"](torch.zeros(2, 3, 32, 32)).logits.sum().backward()
    tokens = [value for segment in names["model"].segments().values() for value in segment.parameters()]
    assert tokens
    assert all(value.grad is not None and bool(value.grad.any()) for value in tokens)


def test_the_blocks_of_the_engine() -> None:
    names: dict[str, Any] = {}
    for document in ENGINE:
        for block in fenced(document, "python"):
            exec(block, names)  # our own document
    assert names["MyTrainer"].rolling_resume


def test_a_model_from_a_runs_folder_as_told(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of docs/cascade.md, and what the sentence behind it says of the images."""
    few = ["TRAINER.COOP.PREC", "fp32", "OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "1"]
    assert train.main(runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", "output/adapt", *few)) == 0
    monkeypatch.chdir(runs.folder)
    (block,) = fenced("docs/cascade.md", "python")
    names: dict[str, Any] = {"images": torch.zeros(2, 3, 32, 32)}
    exec(block, names)  # our own document
    assert names["logits"].shape == (2, 10)
    pixels = read_checkpoint(next(Path("output/adapt").rglob("model.pth.tar-1"))).pixels
    assert {"size", "mean", "std", "interpolation"} <= pixels.keys()


def test_citation_and_changes_are_of_this_version() -> None:
    cited = parse_yaml((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == caspl.__version__
    assert cited["preferred-citation"]["url"].endswith("2409.17805")
    changes = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\d\S*\d)", changes, re.M)[0] == caspl.__version__


def test_ones_own_images_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All commands of docs/your-data.md for real, on a folder of pictures, with CLIPs of the shapes that they name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(REPO / "configs")
    weights = tmp_path / "weights"
    weights.mkdir()
    for name, sizes in (("ViT-B-16", VIT_B16), ("ViT-L-14", VIT_L14)):
        write_clip(weights / f"{name}.safetensors", random_state_dict(sizes, 0), "quick_gelu", sizes.heads)
    monkeypatch.setenv("CASPL_WEIGHTS", str(weights))
    generator = np.random.default_rng(0)
    for folder, count in (("my_images", 10), ("new_images/test", 2)):
        for name in ("red", "green")[: 1 + (folder == "my_images")]:
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 255, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / folder / name / f"{number}.jpg")
    short = ["OPTIM.MAX_EPOCH", "1", "DATALOADER.NUM_WORKERS", "0", "DATALOADER.TEST.BATCH_SIZE", "8"]
    values: dict[str, str] = {}
    ran = 0
    for block in fenced("docs/your-data.md", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            assigned = re.match(r'([A-Z]+)="(.*)"$', line)
            if assigned:
                values[assigned[1]] = assigned[2]
                continue
            line = re.sub(r"\$([A-Z]+)", lambda match: values[match[1]], line)
            words = shlex.split(line)
            assert words[:2] == ["python", "train.py"]
            assert train.main([*words[2:], *short]) == 0, line
            close_logger()
            ran += 1
    assert ran == 4
    for run, images in (("look", 6), ("boost", 6), ("adapt", 6), ("new", 2)):
        assert read_record(tmp_path / "output/mine" / run / "result.json").test_images == images


def test_the_tests_of_the_robustness_page_are_there() -> None:
    rows = [line for line in (REPO / "docs/robustness.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    cells = [row.rstrip(" |").rpartition("|")[2] for row in rows]
    named = {name for cell in cells for name in re.findall(r"`([\w/]+)`", cell)}
    assert len(named) > 15
    folders = (REPO / "tests", REPO / "engine/tests")
    assert not [name for name in named if not any((folder / f"{name}.py").is_file() for folder in folders)]
