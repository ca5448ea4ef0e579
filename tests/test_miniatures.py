"""Every protocol with the published configs, over each data set in small and in its own form on disk."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import caspl
import train
from caspl.__main__ import main
from caspl.protocols import Request, plan, read_protocol
from caspl.results.all_classes import transfer
from caspl.results.base_new import tables
from caspl.results.collect import base_to_new, find_records
from caspl.results.paper_figures import dataset_order
from caspl.towers import Sizes, random_state_dict
from caspl.towers.weights import write_clip
from tests.datasets.miniatures import MINIATURES, images, numbered
from tests.runs import REPO

sys.path.append(str(REPO / "scripts"))
import reproduce

# Patches, layers and resolution as published; widths cut down, and one epoch.
SIZES = {
    "ViT-B-16": Sizes(64, 224, 16, vision_width=64, vision_layers=12, text_width=64, text_layers=12),
    "ViT-L-14": Sizes(96, 224, 14, vision_width=64, vision_layers=24, text_width=64, text_layers=12),
}
OWN = "own"
"""Below the data root: pictures of one's own, which are a root themselves."""
SHORT = ("OPTIM.MAX_EPOCH", "1", "DATALOADER.NUM_WORKERS", "0", "TEST.SAVE_PREDICTIONS", "True")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every data set in small below one root."""
    root = tmp_path_factory.mktemp("data")
    for miniature in MINIATURES.values():
        miniature.write(root)
    images(root / OWN, numbered("a lake", "forest", "open_field"))
    return root


@pytest.fixture
def finish(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Does all runs of a protocol; returns the output folder."""
    for seed, (name, sizes) in enumerate(SIZES.items()):
        write_clip(tmp_path / f"{name}.safetensors", random_state_dict(sizes, seed), "quick_gelu", sizes.heads)
    monkeypatch.setenv("CASPL_WEIGHTS", str(tmp_path))
    output = tmp_path / "output"

    def run(protocol: str, **asked: Any) -> Path:
        root = data / OWN if asked.get("datasets") == ("folder",) else data
        args = reproduce.parser().parse_args([protocol, "--root", str(root), "--output", str(output)])
        request = Request(read_protocol(protocol), REPO / "configs", output, **asked)
        request = replace(request, options=SHORT, boosting_options=SHORT)
        for one in plan(request):
            assert train.main(reproduce.command(one, args, request)) == 0, one.title
        return output

    return run


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [*read_protocol("base2new").sources, "folder", "tinysat"])
def test_base_to_new_and_few_shot(
    dataset: str, finish: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish("base2new", datasets=(dataset,), methods=("CoOp", "CasPL_PromptSRC"), shots=(1,))
    output = finish("few_shot", datasets=(dataset,), methods=("MaPLe",), shots=(1, 2))
    records = find_records(output)
    (table,) = tables(base_to_new(records))
    assert [row[0] for row in table.rows] == ["CoOp", "CasPL_PromptSRC"]
    assert sorted(record.shots for record in records if record.protocol == "few_shot") == [1, 2]
    assert all(record.test_images for record in records)
    (run,) = output.glob("base2new/train_base/*/*/CasPL_PromptSRC/*/seed1")
    answered = require_use(run, run, tmp_path / "predictor", capsys)
    # A CLIP of drawn weights gives all pictures one class.
    assert dataset != "tinysat" or len(answered) == 10


def require_use(
    run: Path, tested: Path, folder: Path, capsys: pytest.CaptureFixture[str], classes: Sequence[str] = ()
) -> set[str]:
    """What a run has left predicts a picture by the command, and its ONNX file a whole test: logits are those of
    caspl.load, classes those that the trainer answered.

    Returns these.

    Args:
        run: that has trained.
        tested: the folder of the test.
        folder: for what is exported.
        classes: of the test, where they are not the run's.
    """
    onnxruntime = pytest.importorskip("onnxruntime")
    with (tested / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    others = ["--classes", *classes] if classes else []
    capsys.readouterr()
    shown = ["--top", "1", "--format", "csv", "--device", "cpu", *others]
    assert main(["predict", str(run), rows[0]["image"], *shown]) == 0
    # Above it stands what the loggers of the runs in this process say.
    (said,) = csv.DictReader(capsys.readouterr().out.splitlines()[-2:])
    assert said["class"] == rows[0]["answer"].replace("_", " ")
    assert main(["export", str(run), "-o", str(folder), "--onnx", *others]) == 0
    model = caspl.load(folder, device="cpu")
    session = onnxruntime.InferenceSession(folder / "image.onnx")
    expected = caspl.load(run, classes=classes or None, device="cpu").logits([row["image"] for row in rows])
    for row, ours in zip(rows, expected, strict=True):
        pixels = model.transform(row["image"])[None].numpy()
        logits = session.run(None, {"pixels": pixels})[0]
        torch.testing.assert_close(torch.from_numpy(logits[0]), ours, rtol=0, atol=1e-4 * float(model.classifier.scale))
        assert model.classes[int(logits.argmax())] == row["answer"].replace("_", " "), row["image"]
    return {row["answer"] for row in rows}


SHIFTS = {
    "imagenetv2": "ImageNetV2",
    "imagenet_sketch": "ImageNetSketch",
    "imagenet_a": "ImageNetA",
    "imagenet_r": "ImageNetR",
}


def test_they_are_the_papers() -> None:
    assert len(read_protocol("base2new").sources) == len(dataset_order()) == 11


@pytest.mark.parametrize(
    "quick", [pytest.param(True, id="quick"), pytest.param(False, id="all", marks=pytest.mark.slow)]
)
def test_transfer_from_imagenet(quick: bool, finish: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = ("CasPL_CoOp",) if quick else ("ZeroshotCLIP", "CasPL_ZeroshotCLIP", "MaPLe", "CasPL_MaPLe", "CasPL_CoOp")
    targets = {"cross_dataset": ("dtd", "ucf101") if quick else (), "domain_generalization": ("imagenet_r",) * quick}
    for protocol, names in targets.items():
        output = finish(protocol, methods=methods, shots=(1,), targets=names)
    records = find_records(output)
    for shifts in (False, True):
        (table,) = transfer(records, shifts=shifts)
        assert {row[0] for row in table.rows} == set(methods)
        if not quick:
            columns = list(table.columns)
            assert all(cell.value is not None for row in table.rows for cell in row[1 : columns.index("seeds")])
    if quick:
        return
    (run,) = output.glob("cross_dataset/train/*/*/CasPL_MaPLe/*/seed1")
    for shift, name in SHIFTS.items():
        (tested,) = output.glob(f"domain_generalization/test/imagenet/{shift}/*/CasPL_MaPLe/*/seed1")
        require_use(run, tested, tmp_path / shift, capsys, MINIATURES[name].names)
