"""tinysat on disk: layout, counts, determinism, damage."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from caspl.errors import CasPLError
from caspl.tiny import CLASSNAMES, domain, zeroshot
from caspl.tiny import write as write_tinysat
from caspl.tiny.objective import normalised
from tests.files.worker import working


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tinysat(tmp_path_factory.mktemp("data"))


@pytest.fixture
def small(monkeypatch):
    for split, count in {"train": 2, "val": 1, "test": 1}.items():
        monkeypatch.setitem(domain.SPLITS, split, count)


def _split(folder):
    return json.loads((folder / "split_zhou_tinysat.json").read_text())


def test_split_lists_every_image_once_with_its_label_and_class(folder):
    split = _split(folder)
    assert {part: len(rows) for part, rows in split.items()} == {"train": 2000, "val": 1000, "test": 1000}
    listed = [path for rows in split.values() for path, _, _ in rows]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {str(p.relative_to(folder / "images")) for p in folder.rglob("*.png")}
    for rows in split.values():
        assert np.bincount([label for _, label, _ in rows]).tolist() == [len(rows) // 20] * 20
        for path, label, name in rows:
            assert name == CLASSNAMES[label]
            assert path.startswith(name.replace(" ", "_") + "/")


def test_no_picture_is_in_two_splits(folder):
    seen = {}
    for part, rows in _split(folder).items():
        for path, _, _ in rows:
            pixels = np.asarray(Image.open(folder / "images" / path))
            assert pixels.shape == (32, 32, 3)
            assert seen.setdefault(pixels.tobytes(), (part, path)) == (part, path)


def test_files_hold_the_pictures_that_zero_shot_evaluation_draws(folder):
    images, labels = zeroshot.pictures("val")
    rows = _split(folder)["val"]
    for index in (0, 417, 999):
        path, label, _ = rows[index]
        pixels = np.asarray(Image.open(folder / "images" / path), dtype=np.float32) / 255
        expected = normalised(torch.from_numpy(pixels).permute(2, 0, 1))
        assert torch.allclose(images[index], expected)
        assert labels[index] == label


def test_same_seed_same_pictures_and_other_seed_others():
    labels = np.arange(20)
    first, again, other = (domain.TINYSAT.render(np.random.default_rng(seed), labels) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_both_halves_use_the_same_words():
    base, new = CLASSNAMES[:10], CLASSNAMES[10:]
    assert not set(base) & set(new)
    for place in (0, 1):
        assert {name.split()[place] for name in base} == {name.split()[place] for name in new}


@pytest.mark.usefixtures("small")
def test_a_whole_folder_is_kept_and_a_damaged_or_foreign_one_refused(tmp_path):
    folder = write_tinysat(tmp_path, seed=5)
    stamp = (folder / "tinysat.json").stat().st_mtime_ns
    assert write_tinysat(tmp_path, seed=5) == folder
    assert (folder / "tinysat.json").stat().st_mtime_ns == stamp
    with pytest.raises(CasPLError, match="version or seed"):
        write_tinysat(tmp_path, seed=6)
    next(folder.rglob("*.png")).unlink()
    with pytest.raises(CasPLError, match="lacks 1 images"):
        write_tinysat(tmp_path, seed=5)
    (folder / "tinysat.json").unlink()
    with pytest.raises(CasPLError, match="not a whole tinysat"):
        write_tinysat(tmp_path, seed=5)


@pytest.mark.usefixtures("small")
def test_an_interrupted_writer_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        write_tinysat(tmp_path)
    assert list(tmp_path.iterdir()) == []


WRITE = """
import importlib, sys
domain = importlib.import_module("caspl.tiny.domain")
domain.SPLITS.update(train=2, val=1, test=1)
domain.Domain.render = None
importlib.import_module("caspl.tiny.write").write(sys.argv[1])
"""


@pytest.mark.usefixtures("small")
def test_of_several_processes_one_draws(tmp_path, monkeypatch):
    """The second comes while the first draws; it cannot draw itself, and waits."""
    others = []

    drawn = domain.Domain.render

    def render(self, rng, labels):
        if not others:
            command = [sys.executable, "-c", WRITE, str(tmp_path)]
            others.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            said = others[0].stderr.readline()
            assert f"{tmp_path / 'tinysat'} is claimed by process {os.getpid()} on" in said
            assert "(drawing tinysat): waiting until that has ended" in said
        return drawn(self, rng, labels)

    monkeypatch.setattr(domain.Domain, "render", render)
    write_tinysat(tmp_path)
    (other,) = others
    assert other.communicate()[1] == ""
    assert other.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tinysat"]


@pytest.mark.usefixtures("small")
def test_a_killed_process_is_not_in_the_way(tmp_path):
    with working() as worker:
        assert worker.ask("take", tmp_path / "tinysat") == "done"
        worker.kill()
    assert write_tinysat(tmp_path) == tmp_path / "tinysat"
    assert [path.name for path in tmp_path.iterdir()] == ["tinysat"]
