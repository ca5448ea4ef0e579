"""``hf://owner/name``: repositories of each kind in place of the hub, read by the readers of local files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

import caspl
from caspl.__main__ import main
from caspl.errors import CasPLError
from caspl.hub import local
from tests.cases import CASES
from tests.conftest import boosting_file
from tests.test_convert import Harmful
from tests.test_front_door import saved
from tests.tiny_clip import tiny_clip
from tests.trainers.building import batch


class Hub:
    """Repositories below a folder, given out as the hub's functions do; what was fetched is noted."""

    def __init__(self, folder: Path) -> None:
        self.remote, self.cache = folder / "remote", folder / "cache"
        self.fetched: list[tuple[str, str | None]] = []

    def file(self, repo_id: str, filename: str, revision: str | None = None) -> str:
        if not (self.remote / repo_id / filename).is_file():
            raise errors.EntryNotFoundError(filename)
        return str(self._copy(repo_id, filename, revision))

    def snapshot(self, repo_id: str, revision: str | None = None, allow_patterns: Any = None) -> str:
        root = self.remote / repo_id
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_file() and any(fnmatch(name, pattern) for pattern in allow_patterns):
                self._copy(repo_id, name, revision)
        (self.cache / repo_id).mkdir(parents=True, exist_ok=True)
        return str(self.cache / repo_id)

    def _copy(self, repo: str, name: str, revision: str | None) -> Path:
        self.fetched.append((name, revision))
        target = self.cache / repo / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(self.remote / repo / name, target))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", made.file)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot)
    return made


def test_a_run_and_its_export(
    hub: Hub, clips: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = saved(CASES[5], True, clips, tmp_path)
    mine, pixels = caspl.load(tmp_path / "run", device="cpu"), batch(9)["img"]
    shutil.copytree(tmp_path / "run", hub.remote / "me/run")
    (hub.remote / "me/run/setup.py").write_text("raise SystemExit")
    mine.export(hub.remote / "me/both/merged")
    for name in ("hf://me/run", "hf://me/run/", "hf://me/both/merged", "hf://me/both/merged/predictor.safetensors"):
        found = caspl.load(name, device="cpu")
        torch.testing.assert_close(found.logits(pixels), mine.logits(pixels), rtol=0, atol=1e-5)
    assert not any(name.endswith(".py") for name, _ in hub.fetched)
    hub.fetched.clear()
    checkpoint = f"{trainer.saved_as}/model.pth.tar-1"
    assert torch.equal(caspl.load(f"hf://me/run@v1/{checkpoint}", device="cpu").logits(pixels), mine.logits(pixels))
    assert hub.fetched == [(checkpoint, "v1")]
    assert main(["info", "hf://me/run", "--card"]) == 0
    assert "# run" in capsys.readouterr().out
    assert main(["calibrate", "hf://me/run", "--root", str(tmp_path)]) == 2
    assert "fetch hf://me/run first" in capsys.readouterr().err
    assert not Path("hf:").exists()


def test_a_boosting_file(hub: Hub, tmp_path: Path) -> None:
    path = boosting_file(hub.remote / "me/eurosat/seed1.safetensors")
    (hub.remote / "me/eurosat/README.md").write_text("a card")
    student = tiny_clip()
    expected = caspl.load(path, student, device="cpu").encode_text()
    for name in ("hf://me/eurosat", "hf://me/eurosat/seed1.safetensors"):
        assert torch.equal(caspl.load(name, student, device="cpu").encode_text(), expected)
    assert local(Path("hf://me/eurosat")).name == "seed1.safetensors"  # pathlib takes away a stroke
    boosting_file(hub.remote / "me/eurosat/seed2.safetensors", seed=1)
    with pytest.raises(CasPLError, match=r"holds 2 files: name one, e\.g\. hf://me/eurosat/seed1\.safetensors"):
        local("hf://me/eurosat")


def test_nothing_in_a_repository_is_run(hub: Hub, tmp_path: Path) -> None:
    made, folder = tmp_path / "made", hub.remote / "me/run/prompt_learner"
    folder.mkdir(parents=True)
    torch.save({"state_dict": Harmful(os.mkdir, str(made))}, folder / "model.pth.tar-1")
    (folder / "checkpoint").write_text("model.pth.tar-1\n")
    with pytest.raises(CasPLError, match="is not run"):
        caspl.load("hf://me/run", device="cpu")
    assert not made.exists()
    torch.load(folder / "model.pth.tar-1", weights_only=False)  # shows that the file is harmful
    assert made.exists()


@pytest.mark.parametrize("name", ["hf://me", "hf://", "hf://me/a b", "hf://me/run/../../x", "hf:///"])
def test_names_that_are_none(hub: Hub, name: str) -> None:
    with pytest.raises(CasPLError, match="is no name on the hub: it is like hf://owner/name"):
        local(name)
    assert hub.fetched == []


def test_an_empty_repository_and_a_missing_file(hub: Hub) -> None:
    (hub.remote / "me/empty").mkdir(parents=True)
    with pytest.raises(CasPLError, match="holds no model of this library"):
        local("hf://me/empty")
    with pytest.raises(CasPLError, match="the repository has no such file"):
        local("hf://me/empty/seed1.safetensors")


def answered(kind: Callable[..., Exception]) -> Exception:
    """An error that comes with the hub's answer."""
    answer = type("Answer", (), {"headers": {}, "status_code": 404, "request": None, "text": ""})()
    return kind("no", response=answer)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (answered(errors.RepositoryNotFoundError), "there is no hf://me/run@v9 on the hub; if it is private"),
        (answered(errors.GatedRepoError), "whom its owner lets in"),
        (answered(errors.RevisionNotFoundError), "has no revision v9"),
        (errors.LocalEntryNotFoundError("no"), "is not on this machine and the hub cannot be reached"),
        (errors.OfflineModeIsEnabled("no"), "is not on this machine and the hub cannot be reached"),
        (errors.HFValidationError("too long"), "is no name on the hub: too long"),
        (ConnectionError("refused"), r"cannot be fetched \(refused\)"),
    ],
)
def test_what_the_hub_answers(monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(CasPLError, match=sentence):
        caspl.load("hf://me/run@v9")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CasPLError, match="hf://me/run needs huggingface_hub: pip install huggingface_hub"):
        local("hf://me/run")
