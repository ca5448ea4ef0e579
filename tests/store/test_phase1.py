"""Phase 1 from a store: the same bits as without, for any number of workers, and refusals in one sentence."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import train
from caspl.dassl.views import NamedViews
from caspl.store import Store
from caspl.store.__main__ import main
from caspl.teachers import CLIPTeacher
from tests.runs import Runs, learned, refused

CROPS = ["INPUT.TRANSFORMS", "('random_resized_crop','random_flip','normalize')", "INPUT.RRCROP_SCALE", "(0.6, 1.0)"]


def phase1(runs: Runs, out: str, views: int, store: str = "", *more: str) -> list[str]:
    folder = str(runs.folder / out / "boosting")
    options = ["TRAINER.CASPL.VIEWS", str(views), "TRAINER.CASPL.STORE", store and str(runs.folder / store)]
    return runs.phase1(out, *CROPS, "DATASET.NUM_SHOTS", "2", *options, "TRAINER.CASPL.BOOSTING_DIR", folder, *more)


@pytest.mark.parametrize("backend", ["pil", "tensor"])
def test_a_store_changes_no_bit(backend: str, runs: Runs) -> None:
    same = ("INPUT.BACKEND", backend)
    assert train.main(phase1(runs, "online", 3, "", *same)) == 0
    assert main(["build", *phase1(runs, "built", 3, "store", *same)]) == 0
    assert main(["verify", str(runs.folder / "store")]) == 0
    # Another order of batches, and workers, over the same store.
    assert train.main(phase1(runs, "kept", 3, "store", *same, "DATALOADER.NUM_WORKERS", "2")) == 0
    expected = learned(runs.folder / "online")
    assert expected
    assert learned(runs.folder / "kept") == expected
    (folder,) = (path.parent for path in runs.folder.glob("store/*/*/store.json"))
    assert len(Store.there(folder)) == 10 * 2 * 3


def test_the_teacher_does_not_look_where_its_features_are_kept(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(phase1(runs, "first", 2, "store")) == 0
    monkeypatch.setattr(CLIPTeacher, "encode_image", _never)
    assert train.main(phase1(runs, "second", 2, "store")) == 0
    assert learned(runs.folder / "first") == learned(runs.folder / "second")
    # More views, and other images, are made beside those that are there.
    monkeypatch.undo()
    assert train.main(phase1(runs, "third", 3, "store")) == 0
    capsys.readouterr()
    for wrong, words in (
        (["INPUT.RRCROP_SCALE", "(0.5, 1.0)"], "other views"),
        (["INPUT.BACKEND", "tensor"], "other preprocessing"),
    ):
        assert words in refused(capsys, phase1(runs, "wrong", 3, "store", *wrong))
    (folder,) = (path.parent for path in runs.folder.glob("store/*/*/store.json"))
    header = json.loads((folder / "store.json").read_text())
    for key, words in (("identity", "another encoder"), ("split", "another split")):
        (folder / "store.json").write_text(json.dumps(header | {key: "0"}))
        assert words in refused(capsys, phase1(runs, "wrong", 3, "store"))
    (folder / "store.json").write_text(json.dumps(header))
    assert train.main(phase1(runs, "again", 3, "store")) == 0
    assert main(["info", str(folder)]) == 0
    assert "120 views" not in capsys.readouterr().out


def promptkd(runs: Runs, out: str, *more: str) -> list[str]:
    few = ["OPTIM.MAX_EPOCH", "3", "TRAINER.PROMPTKD.PREC", "fp32", "TRAINER.PROMPTKD.SHOTS", "2"]
    teacher = ["TRAINER.PROMPTKD.TEACHER", runs.clips["teacher"], "TRAINER.CASPL.VIEWS", "3"]
    return runs.arguments("PromptKD", "PromptKD/vit_b16_c2_ep20_batch8_4+4ctx", out, *CROPS, *few, *teacher, *more)


def test_promptkd_shares_the_store_of_its_teacher(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With phase 1, which has asked the teacher; and a store changes no bit."""
    store = ["TRAINER.CASPL.STORE", str(runs.folder / "store")]
    assert train.main(promptkd(runs, "online")) == 0
    assert main(["build", *phase1(runs, "built", 3, "store")]) == 0
    monkeypatch.setattr(CLIPTeacher, "encode_image", _never)
    assert train.main(promptkd(runs, "kept", *store)) == 0
    assert learned(runs.folder / "online") == learned(runs.folder / "kept") != {}
    assert len(list(runs.folder.glob("store/*/*/store.json"))) == 1
    monkeypatch.undo()
    capsys.readouterr()
    jitter = ["INPUT.TRANSFORMS", "('colorjitter','normalize')"]
    assert "colorjitter" in refused(capsys, promptkd(runs, "wrong", *store, *jitter))


def test_rounding_is_all_that_differs(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train.main(phase1(runs, "rounded", 3)) == 0
    monkeypatch.setattr(CLIPTeacher, "named", property(lambda self: False, lambda self, value: None))
    assert train.main(phase1(runs, "plain", 3)) == 0
    first, second = (_losses(runs.folder / out) for out in ("rounded", "plain"))
    assert len(first) > 2
    assert first != second
    assert max(abs(a - b) for a, b in zip(first, second, strict=True)) < 1e-3


def test_several_views_of_a_decoded_image(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once: an epoch has twice the batches, sees two views, and reads each image once."""
    read, seen = [], []
    image, load = NamedViews._image, NamedViews.load

    def reading(self: NamedViews, index: int) -> Any:
        if self._last[0] != index:
            read.append(index)
        return image(self, index)

    def seeing(self: NamedViews, index: int, number: int) -> Any:
        seen.append((index, number))
        return load(self, index, number)

    monkeypatch.setattr(NamedViews, "_image", reading)
    monkeypatch.setattr(NamedViews, "load", seeing)
    two = ("TRAINER.CASPL.VIEWS_EACH", "2", "OPTIM.MAX_EPOCH", "2", "DATALOADER.TRAIN_X.BATCH_SIZE", "4")
    assert train.main(phase1(runs, "online", 3, "", *two)) == 0
    assert len(read) == 2 * 20
    first, second = seen[:40], seen[40:]
    assert sorted(first) == [(index, number) for index in range(20) for number in (0, 1)]
    assert sorted(second) == [(index, number) for index in range(20) for number in (0, 2)]
    read.clear()
    assert train.main(phase1(runs, "kept", 3, "store", *two)) == 0
    assert len(read) == 20 + 2 * 20  # for the store, three views of each; and for the student's own tower
    assert learned(runs.folder / "kept") == learned(runs.folder / "online")


def test_what_a_store_cannot_follow_is_refused(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no store to build" in refused(capsys, [*phase1(runs, "a", 2), "--build-store"])
    assert "VIEWS" in refused(capsys, phase1(runs, "a", 0, "store"))
    assert "VIEWS" in refused(capsys, phase1(runs, "a", 0, "", "TRAINER.CASPL.VIEWS_EACH", "2"))
    assert "at most" in refused(capsys, phase1(runs, "a", 2, "", "TRAINER.CASPL.VIEWS_EACH", "3"))
    jitter = ["INPUT.TRANSFORMS", "('colorjitter','normalize')"]
    assert "colorjitter" in refused(capsys, phase1(runs, "b", 2, "store", *jitter))
    assert "STORE_BYTES" in refused(capsys, phase1(runs, "c", 2, "store", "TRAINER.CASPL.STORE_BYTES", "100"))


def _never(*_: Any) -> Any:
    raise AssertionError("the teacher was asked")


def _losses(folder: Path) -> list[float]:
    with (folder / "history.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]
