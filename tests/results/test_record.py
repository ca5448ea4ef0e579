"""The record comes back as it was, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from caspl.errors import CasPLError
from caspl.results import RunRecord, read_record, write_record
from tests.results.made import record


def test_every_field_comes_back(tmp_path: Path) -> None:
    written = RunRecord(
        protocol="few_shot",
        trainer="CasPL_MaPLe",
        dataset="OxfordPets",
        config="vit_b16_ep5",
        shots=4,
        seed=3,
        classes="all",
        metrics={"accuracy": 100 / 3, "error_rate": 200 / 3, "macro_f1": 1e-17},
        test_images=3669,
        settings={"OPTIM": {"LR": 0.0035, "GAMMA": 0.1}, "INPUT": {"SIZE": [224, 224]}, "SEED": None},
        seconds={"train": 1.25, "test": 0.5},
        peak_memory_mb=512.5,
        versions={"python": "3.11"},
        commit="abc-dirty",
        hardware={"device": "cpu", "cores": 2},
        started="2025-01-01T00:00:00+00:00",
        finished="2025-01-01T01:00:00+00:00",
        extra={"note": "größer"},
    )
    path = write_record(tmp_path / "not" / "yet", written)
    assert path == tmp_path / "not" / "yet" / "result.json"
    assert read_record(path) == written


def test_odd_values_become_plain_ones_and_still_come_back(tmp_path: Path) -> None:
    written = record(
        metrics={"accuracy": np.float32(50.5), "macro_f1": float("nan")},
        seed=np.int64(2),
        settings={"SIZE": (224, 224), 7: torch.float16, "LR": torch.tensor(0.5), "W": torch.zeros(2), "P": Path("a")},
    )
    assert written.settings["SIZE"] == [224, 224]
    assert written.settings["7"] == "torch.float16"
    assert written.settings["LR"] == 0.5
    assert isinstance(written.settings["W"], str)
    assert written.metrics == {"accuracy": 50.5, "macro_f1": None}
    path = write_record(tmp_path, written)
    assert "NaN" not in path.read_text()
    assert read_record(path) == written


def test_a_write_that_fails_leaves_the_older_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_record(tmp_path, record(70.0))

    def half(self: Path, text: str, **options: Any) -> int:
        self.write_bytes(text[: len(text) // 2].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(CasPLError, match="No space left"):
        write_record(tmp_path, record(90.0))
    assert read_record(path).accuracy == 70.0
    assert [item.name for item in tmp_path.iterdir()] == ["result.json"]


def test_a_second_write_replaces_the_first(tmp_path: Path) -> None:
    write_record(tmp_path, record(70.0))
    assert read_record(write_record(tmp_path, record(90.0))).accuracy == 90.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trainer": None}, "'trainer'"),
        ({"shots": "16"}, "'shots'"),
        ({"metrics": [80.0]}, "'metrics'"),
        ({"metrics": {"accuracy": "80"}}, "'accuracy'"),
        ({"metrics": {"error_rate": 20.0}}, "'accuracy'"),
        ({"classes": "old"}, "all, base, new"),
        ({"peak_memory_mb": "much"}, "'peak_memory_mb'"),
    ],
)
def test_a_field_of_a_wrong_kind_is_named(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = write_record(tmp_path, record())
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(CasPLError, match=says) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = write_record(tmp_path, record())
    content = json.loads(path.read_text())
    del content["seed"]
    path.write_text(json.dumps(content))
    with pytest.raises(CasPLError, match="no 'seed'"):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b'{"trainer": "Co', b"[1]", b"\xff\xfe"])
def test_what_is_no_record_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(CasPLError, match=r"result\.json"):
        read_record(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="cannot read"):
        read_record(tmp_path / "result.json")


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    path = write_record(tmp_path, record())
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    assert read_record(path) == record()
