"""Every reader of users' files against anything: a sentence or a result, never a traceback, and nothing is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

import train
from caspl.boosting import read_boosting
from caspl.build import load_model
from caspl.checkpoint import read_checkpoint
from caspl.dassl.outcome import settings as run_settings
from caspl.data import Entry, Split, read_split
from caspl.data.split import split_text
from caspl.errors import CasPLError
from caspl.files.parse import parse_json, parse_yaml
from caspl.results import read_record
from caspl.results.collect import find_records
from caspl.towers import read_state_dict
from caspl.zoo import load_clip
from dassl.data.decode import read_tensor
from dassl.utils.tools import ImageError, read_image
from datasets.protocol.fewshot import few_shots
from datasets.protocol.tables import is_split, read_list, read_names, read_paths
from tests.cases import CASES
from tests.conftest import boosting_file
from tests.datasets.made import draw, made_split
from tests.results.made import record as made_record
from tests.tiny_clip import tiny_clip
from tests.trainers.building import build
from trainers.config import build_cfg

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Read = Callable[[Path], object]


def refused_or_read(read: Read, path: Path) -> None:
    """Only a sentence may come of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL")  # it warns of a damaged tag, and reads on
        said = "it is read"
        try:
            read(path)
        except (CasPLError, ImageError) as error:
            said = str(error)
    assert said
    assert "\n" not in said
    assert len(said) < 20_000


names = st.text(max_size=12) | st.sampled_from(
    ["train", "val", "test", "path", "class", "split", "a\0b", "../x", "a/b.jpg"]
)
numbers = st.integers(-3, 10) | st.just(10**300) | st.floats(allow_nan=True)
leaves = st.none() | st.booleans() | numbers | names
trees = st.recursive(leaves, lambda part: st.lists(part, max_size=4) | st.dictionaries(names, part, max_size=4))
entries = st.lists(st.tuples(names, numbers | names, names), max_size=4)
texts = st.text(max_size=60) | trees.map(json.dumps)
contents = st.binary(max_size=60) | texts.map(str.encode)
DEEP = "[" * 100_000
BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9 if i else ['1'])}]\n" for i in range(12))


changes = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4)


def changed(content: bytes, faults: list[tuple[float, int, bytes]]) -> bytes:
    """Valid content with some bytes replaced, cut out or put in."""
    data = bytearray(content)
    for place, length, new in faults:
        start = int(place * len(data))
        data[start : start + length] = new
    return bytes(data)


# Text ----------------------------------------------------------------------------------------------------------------


def tables(path: Path) -> None:
    for read in (is_split, read_names, lambda of: read_list(of, of.parent), lambda of: read_paths(of, of.parent)):
        refused_or_read(read, path)


def collected(path: Path) -> None:
    for record in find_records(path.parent):
        assert record


def config(path: Path) -> None:
    build_cfg(train.parser().parse_args(["--config-file", str(path), "--seed", "1"]))


def kept_settings(path: Path) -> None:
    """Of a run's folder, as `caspl.dassl.run_folder` reads them."""
    from caspl.dassl.run_folder import _kept

    _kept(path.parent, {})


def sample(path: Path) -> None:
    kept = few_shots(made_split(), 2, 1, path.parent, draw)
    assert len(kept.train) == 6


TEXTS: dict[str, Read] = {
    "split.json": read_split,
    "list.json": tables,
    "list.csv": tables,
    "list.tsv": tables,
    "list.txt": tables,
    "result.json": read_record,
    "run/result.json": collected,
    "settings.yaml": config,
    "config.yaml": kept_settings,
    "shot_2-seed_1.json": sample,
}


@pytest.mark.parametrize("name", TEXTS)
@few
@given(content=contents)
@example(content=DEEP.encode())
@example(content=b'{"a":' * 100_000)
@example(content=b'["\\ud800"]')
@example(content=b'{"train": [["\\ud800", 0, "\\udfff"]], "val": [], "test": []}')
@example(content=b'{"train": 1e999}')
@example(content=b'[{"!\\n!":null}]')
@example(content=b"\xff\xfe\x00")
@example(content=b"path,class\n" + b"x" * 200_000 + b",a")
@example(content=BOMB.encode())
@example(content=b"a: &a [*a]")
@example(content=b"OPTIM: &a {LR: *a}")
@example(content=b"? [a, b]\n: 1")
@example(content=b"a: !!python/object/apply:os.mkdir [x]")
@example(content=b"NAME: !!bool foo")
@example(content=b"NAME: !!int ''")
@example(content=b"NAME: !!timestamp foo")
@example(content=b"DATASET: {FOLDER: 1}")
@example(content=b"INPUT: {SIZE: {1: 2}}")
def test_text(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    refused_or_read(TEXTS[name], path)


@few
@given(lists=st.fixed_dictionaries({"train": entries, "val": entries, "test": entries}))
def test_splits_of_the_right_form(lists: Any, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(lists))
    refused_or_read(lambda of: read_split(of).digest(), path)


WHOLE = [name for name in TEXTS if name not in ("list.json", "list.tsv", "list.txt")]


@pytest.mark.parametrize("name", WHOLE)
@few
@given(faults=changes)
def test_whole_files_with_a_fault(name: str, faults: Any, tmp_path: Path) -> None:
    split = Split([Entry("a.jpg", 0, "a"), Entry("b.jpg", 1, "b")], [], [Entry("c.jpg", 0, "a")])
    record = json.dumps(made_record().__dict__, default=str)
    whole = {
        "split.json": split_text(split),
        "list.csv": "path,class,split\na.jpg,a,train\nb.jpg,b,test\n",
        "result.json": record,
        "run/result.json": record,
        "shot_2-seed_1.json": json.dumps({"split": made_split().digest(), "train": ["ant/0.jpg"], "val": []}),
        "settings.yaml": "OPTIM:\n  LR: 0.1\nINPUT:\n  SIZE: (32, 32)\n",
        "config.yaml": "OPTIM:\n  LR: 0.1\nTRAINER:\n  NAME: CoOp\n",
    }
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(changed(whole[name].encode(), faults))
    refused_or_read(TEXTS[name], path)


@pytest.mark.parametrize("text", [DEEP, '"\\ud800"', "{"])
def test_json_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|surrogate|Expecting"):
        parse_json(text)
    assert parse_json('"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


def test_yaml_that_stands_for_more_than_it_is() -> None:
    for text, words in (
        ("a: &a [*a]", "Circular"),
        ("[&a 1" + ", *a" * 21 + "]", "more than 20 aliases"),
        ("[" * 100, "nested"),
    ):
        with pytest.raises(ValueError, match=words):
            parse_yaml(text)
    assert run_settings("OPTIM: {LR: 0.1}\nSEED: &a 1\nX: *a", {})


# Tensors -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory, clips: dict[str, str]) -> Path:
    """A folder with a whole file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = build(CASES[2], False, clips, folder)
    trainer.save_model(0, str(folder / "run"))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8))
    found = {
        "boosting.safetensors": boosting_file(folder / "boosting.safetensors").read_bytes(),
        "model.pth.tar-1": (folder / "run" / trainer.saved_as / "model.pth.tar-1").read_bytes(),
    }
    for suffix in ("jpg", "png", "gif", "webp", "bmp", "tiff"):
        stream = io.BytesIO()
        picture.save(stream, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
        found[f"image.{suffix}"] = stream.getvalue()
    stream = io.BytesIO()
    state = tiny_clip().openai_state_dict()
    torch.save({key: value[:2].clone() for key, value in state.items() if value.dim()}, stream)
    found["weights.pt"] = stream.getvalue()
    for name, content in found.items():
        (folder / name).write_bytes(content)
    return folder


def image(path: Path) -> None:
    for read in (read_image, read_tensor):
        refused_or_read(lambda of, read=read: read(str(of)), path)  # type: ignore[misc]


def weights(path: Path) -> None:
    for read in (read_state_dict, lambda of: load_clip(str(of)), lambda of: load_model(of, tiny_clip())):
        refused_or_read(read, path)


def boosting(path: Path) -> None:
    for read in (read_boosting, lambda of: load_model(of, tiny_clip())):
        refused_or_read(read, path)


BINARIES: dict[str, Read] = {
    "boosting.safetensors": boosting,
    "model.pth.tar-1": read_checkpoint,
    "weights.pt": weights,
    **{f"image.{suffix}": image for suffix in ("jpg", "png", "gif", "webp", "bmp", "tiff")},
}


@pytest.mark.parametrize("name", BINARIES)
@few
@given(faults=changes)
@example(faults=[(0, 10**9, b"")])
@example(faults=[(0.5, 10**9, b"")])
def test_binaries(name: str, faults: Any, binaries: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(changed((binaries / name).read_bytes(), faults))
    refused_or_read(BINARIES[name], path)


@pytest.fixture
def bounded() -> Iterator[None]:
    """No more than 2 GiB beyond what this process has."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG that says it is so large."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG")
    data = bytearray(stream.getvalue())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
@pytest.mark.usefixtures("bounded")
def test_files_that_say_they_are_huge(tmp_path: Path) -> None:
    (tmp_path / "huge.jpg").write_bytes(jpeg_of(65500, 65500))
    for read in (read_image, read_tensor):
        with pytest.raises(ImageError, match=r"huge\.jpg cannot be read: .*exceeds limit"):
            read(str(tmp_path / "huge.jpg"))
    spread = torch.zeros(1).expand(10**6, 10**6)
    torch.save({"state_dict": {"_extra_state": {}, "text.adapting.values": spread}}, tmp_path / "model.pth.tar-1")
    with pytest.raises(CasPLError, match=r"text\.adapting\.values in .* is larger than its file"):
        read_checkpoint(tmp_path / "model.pth.tar-1")
    state = tiny_clip().openai_state_dict()
    torch.save({**state, "token_embedding.weight": torch.zeros(1).expand(10**9, 128)}, tmp_path / "weights.pt")
    with pytest.raises(CasPLError, match=r"token_embedding\.weight in .* is larger than its file"):
        read_state_dict(tmp_path / "weights.pt")


OTHER_KINDS = {
    "sparse": torch.eye(3).to_sparse(),
    "meta": torch.empty(3, device="meta"),
    "float8": torch.zeros(3).to(torch.float8_e4m3fn),
    "complex": torch.zeros(2).cfloat(),
}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize("tensor", OTHER_KINDS.values(), ids=OTHER_KINDS.keys())
def test_tensors_of_other_kinds(tensor: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"state_dict": {"_extra_state": {}, "x": tensor}}, tmp_path / "model.pth.tar-1")
    torch.save({"x": tensor}, tmp_path / "weights.pt")
    for read, name in ((read_checkpoint, "model.pth.tar-1"), (read_state_dict, "weights.pt")):
        with pytest.raises(CasPLError, match="plain tensors|no tensor of numbers|not a CLIP|is broken"):
            read(tmp_path / name)


@pytest.mark.parametrize("content", [{1: torch.zeros(1)}, {"state_dict": {"a": {"b": torch.zeros(1)}}}, {}, [1]])
def test_state_dicts_that_are_none(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(CasPLError, match="it holds no (tensors by name|state dict)"):
        read_state_dict(tmp_path / "weights.pt")


# Code ----------------------------------------------------------------------------------------------------------------


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def resumed(path: Path) -> None:
    from dassl.engine.snapshot import read_snapshot

    try:
        read_snapshot(str(path))
    except pickle.UnpicklingError as error:  # a trainer says it as a sentence
        raise CasPLError("refused") from error


def converted(path: Path) -> None:
    from caspl.convert.inert import read_inertly

    read_inertly(path)


PICKLES: dict[str, Read] = {
    "shot_2-seed_1.pkl": sample,
    "model.pth.tar-1": read_checkpoint,
    "model-best.pth.tar": converted,
    "weights.pt": weights,
    "weights.bin": weights,
    "boosting.safetensors": boosting,
    "resume.pt": resumed,
    "split.json": read_split,
    "image.jpg": image,
}


@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch", "inside"])
def test_nothing_is_run(name: str, kind: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "run by a reader", tmp_path / name
    evil: Any = Evil(mark)
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"train": evil, "val": evil}, protocol=2))
    else:
        content = {"state_dict": {"x": evil}, "epoch": 1} if kind == "inside" else evil
        torch.save(content, path, _use_new_zipfile_serialization=kind != "old torch")
    refused_or_read(PICKLES[name], path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(evil))
    assert mark.exists()  # it does, where nobody looks
