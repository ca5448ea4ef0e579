"""``caspl fit``: from a folder of pictures that somebody has to answers about others."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caspl import load
from caspl.__main__ import main
from caspl.commands.progress import Talk
from caspl.commands.stages import Checkout, Stage, length
from caspl.data.look import LABELS, LEAK
from caspl.errors import CasPLError
from tests.runs import REPO

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
PAIR = ("--student", "tiny-student", "--teacher", "tiny-teacher")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Noisy colours, ten pictures each."""
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = np.clip(np.array(colour) + generator.normal(0, 40, (40, 40, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)


def test_from_pictures_to_answers(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    command = ["fit", str(pictures), "-o", str(run), *PAIR, "--epochs", "1", "--shots", "6"]
    (pictures / "red" / "words.docx").touch()
    for number in range(10):  # some of them are in the test, which makes it a fault
        (pictures / "blue" / f"{number}.png").write_bytes((pictures / "red" / f"{number}.png").read_bytes())
    assert main(command) == 0
    said, shown = capsys.readouterr()
    front = said.splitlines()[:4]
    assert front[0] == f"{pictures}: 3 classes (blue, green, red)"
    assert front[1] == "pictures: 15 for training, 6 for validation, 9 held out for the test, all can be read"
    assert front[2].endswith("without labels, epochs: 1")
    assert front[3] == "phase 2, adapting: PromptSRC with 6 labelled pictures a class, epochs: 1"
    assert re.search(f"^warning: ({LEAK}|{LABELS}): ", shown, re.MULTILINE)
    # Each stage warns of them again.
    assert shown.count("files in its class folders that are not read as images: 1 .docx") == 1
    assert shown.count("3 of 3 classes have fewer than 6 training images and give all they have") == 1
    assert "phase 2, adapting: epoch 1 of 1, batch" in shown
    assert "zero-shot CLIP: done\n" in shown
    assert "accuracy on 9 held-out pictures:" in said
    for name, folder in (("zero-shot", run / "look"), ("boosted", run / "boost"), ("adapted", run)):
        record = json.loads((folder / "result.json").read_text())
        line = next(line for line in said.splitlines() if line.strip().startswith(name))
        (right,) = re.findall(r"\* correct: (\d+)", (folder / "log.txt").read_text())
        assert line.split()[1:] == [f"{record['metrics']['accuracy']:.1f}%", f"({right}", "of", "9)"]
    assert json.loads((run / "result.json").read_text())["trainer"] == "CasPL_PromptSRC"
    assert f"caspl predict {run} PICTURE" in said
    assert f"caspl evaluate {run} --root {pictures}\n" in said
    assert main(["predict", str(run), str(pictures / "red" / "0.png"), "--top", "3", "--format", "json"]) == 0
    (answer,) = capsys.readouterr().out.splitlines()
    assert {one["class"] for one in json.loads(answer)["answers"]} == set(COLOURS)
    started = (run / "result.json").stat().st_mtime_ns
    assert main(command) == 0  # all is done
    assert (run / "result.json").stat().st_mtime_ns == started
    assert main([*command, "--seed", "2"]) == 2
    other = f"{run} holds a run of other arguments (--seed 1 there, 2 here): use another -o, or delete it"
    assert other in capsys.readouterr().err
    assert main([*command, "--method", "CoOp"]) == 2
    assert "(--method PromptSRC there, CoOp here)" in capsys.readouterr().err
    assert "--method" not in json.loads((run / "fit.json").read_text())["command"]
    # The split was made of pictures of which one goes.
    (pictures / "red" / "0.png").unlink()
    anew = tmp_path / "anew"
    assert main(["fit", str(pictures), "-o", str(anew), *PAIR]) == 2
    said = capsys.readouterr().err
    assert "holds images that are gone (1, such as red/0.png): delete it and fit into another -o" in said
    assert "phase" not in said
    assert not anew.exists()


def test_names_and_unlabelled_pictures_end_after_phase_1(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a red thing\na blue thing\nlion\nhorses\n")
    run = tmp_path / "run"
    assert main(["fit", str(pictures), "-o", str(run), *PAIR, "--epochs", "1", "--classes", str(names)]) == 0
    said, shown = capsys.readouterr()
    assert f"caspl predict {run} PICTURE" in said
    assert "pictures: 30 unlabelled, all can be read" in said
    assert shown.count("warning: tiny-student knows no word of lion, horses: these classes look alike to it") == 1
    assert main(["predict", str(run), str(pictures / "red"), "--format", "csv"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert {row.split(",")[2] for row in rows} == {"a red thing", "a blue thing", "lion", "horses"}
    assert not (run / "result.json").exists()
    (run / "boost" / "CasPL" / "checkpoint").unlink()
    assert main(["predict", str(run), str(pictures / "red")]) == 2
    assert f"the run in {run} is not finished: go on with caspl fit {pictures} -o {run} --student" in (
        capsys.readouterr().err
    )


def test_phase_1_looks_at_other_pictures_alone(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more, run = tmp_path / "more", tmp_path / "run"
    more.mkdir()
    for number, path in enumerate(sorted(pictures.rglob("*.png"))[:6]):
        pixels = np.asarray(Image.open(path))[::-1]  # as no picture of the test is
        Image.fromarray(pixels).save(more / f"{number}.png")
    assert main(["fit", str(pictures), "-o", str(run), *PAIR, "--epochs", "1", "--unlabelled", str(more)]) == 0
    assert "6 unlabelled" in capsys.readouterr().out
    assert "6 unlabelled images: phase 1 looks at these only" in (run / "boost" / "log.txt").read_text()


def test_broken_pictures_are_all_found_before_anything_is_written(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("blue/3.png", "red/7.png"):
        (pictures / name).write_bytes((pictures / name).read_bytes()[:-100])
    run = tmp_path / "run"
    assert main(["fit", str(pictures), "-o", str(run), *PAIR]) == 2
    _, said = capsys.readouterr().err.splitlines()
    assert said.startswith("error: the picture ")
    assert said.count("cannot be read") == 1
    assert said.endswith(f"; 2 pictures are broken: replace or delete what `caspl data check {pictures}` names")
    assert not run.exists()
    assert not list(pictures.glob("*.json"))


def test_a_template_that_fits_no_name(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(pictures), "-o", str(tmp_path / "run"), *PAIR, "--template", "photo"]) == 2
    assert "must hold {} once" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_a_refused_stage_leaves_goes(tmp_path: Path) -> None:
    refused = tmp_path / "run" / "look"
    with pytest.raises(CasPLError, match="^zero-shot CLIP: "):
        Stage("zero-shot CLIP", refused, ("--trainer", "Nobody")).run(Checkout(REPO), Talk(io.StringIO()), {})
    assert not refused.exists()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interrupted_while_modules_load(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nprint('loading', flush=True)\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt as error:\n    raise ImportError('half of it') from error\n"
    )
    code = "import caspl.__main__ as caspl; caspl.COMMANDS['fit'] = ('slow', ''); caspl.main(['fit'])"
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    search = os.pathsep.join([str(tmp_path), str(REPO)])
    begun = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": search},
    )
    signal.signal(signal.SIGINT, heard)
    assert begun.stdout is not None
    assert begun.stdout.readline() == "loading\n"
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate(timeout=30)
    assert (begun.returncode, said) == (130, "interrupted\n")


def test_interrupted_before_the_first_stage(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("caspl.commands.fit.plan", interrupted)
    assert main(["fit", str(pictures), "-o", str(tmp_path / "run"), *PAIR]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_it_goes_on_after_an_interruption(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "caspl", "fit", str(pictures), "-o", str(run), *PAIR, "--epochs", "60"]
    # A shell's background jobs ignore the signal, and what they start does so too.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, heard)
    until = time.monotonic() + 120
    while not (run / "boost" / "resume.pt").exists():
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "the same command goes on" in said
    with pytest.raises(CasPLError, match="is not finished: go on with caspl fit .* --epochs 60$"):
        load(run)
    assert not (run / "boost" / "result.json").exists()
    epochs = (run / "boost" / "log.txt").read_text().count("epoch [1/60]")
    assert epochs
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (run / "boost" / "log.txt").read_text().count("epoch [1/60]") == epochs  # the first was not done again
    assert "adapted" in done.stdout


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--method", "PromptSCR"], "did you mean PromptSRC?"),
        (["--shots", "0"], "--shots is 1 or more"),
        (["--student", "ViT-X"], "unknown CLIP 'ViT-X'"),
        (["--teacher", "ViT-X", "--student", "tiny-student"], "ViT-X"),
        (["--classes", "absent.txt"], "cannot be read"),
        (["--unlabelled", "absent"], "there is no folder of pictures absent"),
        (["--unlabelled", "train.py"], "train.py is a file: name the folder that holds the pictures"),
        (["-o", "{pictures}/red/run"], "is inside the folder of the pictures"),
        (["-o", "train.py/run"], "train.py is a file, not a folder"),
    ],
)
def test_wrong_input(
    more: list[str], sentence: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [word.format(pictures=pictures) for word in more]
    assert main(["fit", str(pictures), "-o", str(tmp_path / "run"), *PAIR, *more]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said
    assert not (tmp_path / "run").exists()
    assert not (pictures / "red" / "run").exists()


def test_the_help_names_the_methods(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ", ".join(Checkout(REPO).methods()) in said


def test_elsewhere_than_in_a_checkout(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", str(pictures), "-o", "run"]) == 2
    assert "is no checkout of CasPL: call it in one" in capsys.readouterr().err


def test_length_and_settings() -> None:
    assert length(30, limited=False) == (4, 72)  # 7 steps an epoch
    assert length(4, limited=False) == (4, 200)
    assert length(8000, limited=False) == (4, 20)
    assert length(50_000, limited=False) == (128, 20)
    assert length(400, limited=True) == (4, 10)
    assert length(9000, limited=True) == (4, 1)
    checkout = Checkout(REPO)
    published = REPO / "configs/trainers"
    name = "vit_b16_c2_ep20_batch4_8+8ctx_l12.yaml"
    assert checkout.config("CasPL", tiny=False) == published / "CasPL" / name
    assert checkout.config("PromptSRC", tiny=False) == published / "CasPL_PromptSRC" / name
    for method in checkout.methods():
        assert checkout.config(method, tiny=True).is_file()
        assert checkout.config(method, tiny=False).is_file()
