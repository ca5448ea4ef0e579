"""``caspl data check`` on a folder of one's own."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caspl.data.__main__ import main
from caspl.data.look import LABELS, LEAK, TWICE, TWO_LISTS, Labelled, look_at, report
from tests.runs import REPO

_spec = importlib.util.spec_from_file_location("check_folder", REPO / "scripts/check_folder.py")
assert _spec is not None
assert _spec.loader is not None
check_folder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(check_folder)


def content(seed: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def write(root: Path, **parts: dict[str, bytes]) -> Path:
    for part, files in parts.items():
        for name, one in files.items():
            (root / part / name).parent.mkdir(parents=True, exist_ok=True)
            (root / part / name).write_bytes(one)
    return root


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Two classes, all well."""
    numbers = iter(range(99))
    parts = {"train": 3, "val": 1, "test": 2}
    files = {
        part: {f"{name}/{n}.png": content(next(numbers)) for name in ("fly_agaric", "puffball") for n in range(count)}
        for part, count in parts.items()
    }
    return write(tmp_path / "mine", **files)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[str]]:
    code: int = check_folder.main([str(word) for word in words])
    return code, capsys.readouterr().out.splitlines()


def test_all_is_well(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = ("DATASET.TEMPLATE", "a photo of a {}, a type of mushroom.")
    assert run(capsys, good, *template) == (
        0,
        [
            "2 classes, pictures: 6 train, 2 val, 4 test",
            "  fly_agaric: “a photo of a fly agaric, a type of mushroom.” (3 train, 1 val, 2 test)",
            "  puffball: “a photo of a puffball, a type of mushroom.” (3 train, 1 val, 2 test)",
            "12 pictures, all can be read",
        ],
    )


def test_broken_pictures_and_identical_ones(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = content(0)  # of train/fly_agaric/0.png
    write(good, test={"puffball/cut.png": content(50)[:-40], "puffball/again.png": whole},
          train={"puffball/text.jpg": b"text", "puffball/0.png": content(1)})  # fmt: skip
    code, lines = run(capsys, good)
    assert code == 1
    faults = [line for line in lines if line.startswith("fault: ")]
    assert len(faults) == 4
    assert faults[0].startswith("fault: the picture train/puffball/text.jpg cannot be read: it is of no kind")
    assert faults[1].startswith("fault: the picture test/puffball/cut.png cannot be read: ")
    assert faults[2] == f"fault: {LEAK}: train/fly_agaric/0.png (train) = test/puffball/again.png (test)"
    assert faults[3] == f"fault: {LABELS}: train/fly_agaric/1.png (train) = train/puffball/0.png (train)"
    assert "can be read" not in lines[-1]


def test_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A split by shares is not fixed by a look: what is found may have to be mended first."""
    files = {f"{name}/{n}.png": content(10 * n + len(name)) for name in ("ant", "bear") for n in range(10)}
    write(tmp_path, mine=files)
    before = sorted(tmp_path.rglob("*"))
    code, lines = run(capsys, tmp_path / "mine")
    assert (code, lines[0]) == (0, "2 classes, pictures: 10 train, 4 val, 6 test")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_fault_of_the_layout_is_not_the_last_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, mine={"ant/1.png": content(1), "ant/2.png": b"broken"})
    code, lines = run(capsys, tmp_path / "mine")
    assert code == 1
    assert lines[0].startswith("fault: Folder: ")
    assert lines[1].startswith("fault: the picture ant/2.png cannot be read")


def test_settings_and_wrong_input(good: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(tmp_path, more={"1.png": content(80), "2.png": (good / "test/puffball/1.png").read_bytes()})
    code, lines = run(capsys, good, "DATASET.FOLDER.UNLABELLED", tmp_path / "more")
    assert (code, lines[0]) == (1, "2 classes, pictures: 6 train, 2 val, 4 test, 2 unlabelled")
    assert any(LEAK in line and "(unlabelled)" in line for line in lines)
    (good / "names.txt").write_text("puffball " + "a very long name " * 30)
    code, lines = run(capsys, good, "DATASET.FOLDER.CLASSNAMES", "names.txt")
    assert code == 1
    assert any("shorten the class name" in line for line in lines)
    for words, sentence in (
        ([tmp_path / "nowhere"], "no folder of pictures"),
        ([good, "DATASET.TEMPLATE", "photo"], "must hold {} once"),
        ([good, "DATASET.FOLDER.LITS", "x"], "LITS"),
    ):
        assert check_folder.main(list(map(str, words))) == 2
        assert sentence in capsys.readouterr().err


def test_what_another_program_reads(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(good, test={"puffball/cut.png": content(50)[:-40], "puffball/again.png": content(0)})
    file = tmp_path / "found.json"
    assert check_folder.main([str(good), "--json", str(file), "--shots", "4"]) == 1
    assert capsys.readouterr().out == ""
    found = json.loads(file.read_text())
    assert found["classes"] == ["fly_agaric", "puffball"]
    assert found["lists"] == {"train": 6, "val": 2, "test": 6}
    (broken,) = found["broken"]
    assert f"the picture {good / 'test/puffball/cut.png'} cannot be read" in broken
    assert found["faults"] == [f"{LEAK}: train/fly_agaric/0.png (train) = test/puffball/again.png (test)"]
    (note,) = found["notes"]
    assert note.startswith("2 of 2 classes have fewer than 4 training images")
    assert check_folder.main([str(good), "--json", str(file), "DATASET.TEMPLATE", "photo"]) == 2
    assert "must hold {} once" in json.loads(file.read_text())["error"]


def test_odd_pictures_are_said(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    turned = Image.Exif()
    turned[0x0112] = 6
    frames[0].save(tmp_path / "turned.jpg", exif=turned)
    (tmp_path / "clear.png").write_bytes(content(1, mode="RGBA"))
    (tmp_path / "print.jpg").write_bytes(content(1, "JPEG", "CMYK"))
    Image.fromarray(np.full((9, 9), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.ones((9, 9), dtype=np.float32)).save(tmp_path / "float.tiff")
    (tmp_path / "plain.png").write_bytes(content(1))
    paths = sorted(map(str, tmp_path.iterdir()))
    found = report({"train": [Labelled(path, "a") for path in paths]}, look_at(paths, "looking"), tmp_path)
    assert [note.rpartition(": ")[2] for note in found.notes] == [
        *("print.jpg", "turned.jpg", "deep.png", "two.gif", "clear.png")
    ]
    (fault,) = found.faults
    assert "float.tiff cannot be read: it holds grey values of 32 bits" in fault


def test_what_is_identical_by_hand(tmp_path: Path) -> None:
    """The four cases, and that many are counted rather than named."""
    place = {name: str(tmp_path / name) for name in "abcdefgh"}
    for number, path in enumerate(place.values()):  # two by two
        Path(path).write_bytes(content(number // 2))
    lists = {
        "train": [*(Labelled(place[name], "x") for name in "acegh"), Labelled(place["d"], "y")],
        "val": [Labelled(place["f"], "x")],
        "test": [Labelled(place["b"], "x")],
    }
    found = report(lists, look_at(sorted(place.values()), "looking"), tmp_path)
    assert found.faults == [f"{LEAK}: a (train) = b (test)", f"{LABELS}: c (train) = d (train)"]
    assert found.notes == [f"{TWO_LISTS}: e (train) = f (val)", f"{TWICE}: g (train) = h (train)"]
    same = [str(tmp_path / f"{n}.png") for n in range(30)]
    for n, path in enumerate(same):
        Path(path).write_bytes(content(n // 2))
    (note,) = report({"train": [Labelled(path, "x") for path in same]}, look_at(same, "looking"), tmp_path).notes
    assert note.endswith(", and 5 more")


def test_the_command(good: Path) -> None:
    line = [sys.executable, "-m", "caspl", "data", "check", str(good), "--set", "DATASET.TEMPLATE", "it is {}."]
    done = subprocess.run(line, cwd=REPO, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "“it is fly agaric.”" in done.stdout


def test_outside_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert main(["check", "mine"]) == 2
    assert "read by the data sets beside train.py, and" in capsys.readouterr().err
    (tmp_path / "eurosat").mkdir()
    assert main(["check", "eurosat", "--root", "nowhere"]) == 2  # the data set of that name
    assert "no data root nowhere" in capsys.readouterr().err
