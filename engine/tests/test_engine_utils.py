"""Small tools."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import PIL
import pytest
import torch
from PIL import Image
from torch import nn

from dassl.utils import (
    check_isfile,
    collect_env_info,
    count_num_param,
    download_url,
    init_network_weights,
    listdir_nohidden,
    mkdir_if_missing,
    open_all_layers,
    open_specified_layers,
    read_image,
    read_json,
    tolist_if_not,
    write_json,
)


def test_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "a.json"
    write_json({"b": [1, "é"], "a": None}, str(path))
    assert path.read_bytes() == b'{\n    "b": [\n        1,\n        "\\u00e9"\n    ],\n    "a": null\n}'
    assert read_json(str(path)) == {"b": [1, "é"], "a": None}
    monkeypatch.chdir(tmp_path)
    write_json([1], "bare.json")
    assert read_json("bare.json") == [1]
    with pytest.raises(TypeError):
        write_json({"bad": object()}, "bare.json")
    assert read_json("bare.json") == [1]
    assert sorted(os.listdir(tmp_path)) == ["bare.json", "new"]


def test_folders(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    mkdir_if_missing(str(folder))
    mkdir_if_missing(str(folder))
    for name in ("z.txt", ".hidden", "b.txt", "a.txt"):
        (folder / name).touch()
    assert listdir_nohidden(str(folder), sort=True) == ["a.txt", "b.txt", "z.txt"]
    assert listdir_nohidden(str(folder)) == [name for name in os.listdir(folder) if name != ".hidden"]
    with pytest.raises(FileNotFoundError):
        mkdir_if_missing("")


def test_check_isfile(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert check_isfile(str(tmp_path / "a")) is True
    with pytest.warns(UserWarning, match=f'No file found at "{tmp_path}"'):
        assert check_isfile(str(tmp_path)) is False


def test_read_image(tmp_path: Path) -> None:
    Image.new("L", (3, 2), 7).save(tmp_path / "a.png")
    image = read_image(str(tmp_path / "a.png"))
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (3, 2), (7, 7, 7))


def test_tolist_if_not() -> None:
    given = [1]
    assert tolist_if_not(given) is given
    assert tolist_if_not((1, 2)) == [(1, 2)]
    assert tolist_if_not("ab") == ["ab"]


def test_env_info(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.utils.collect_env as collect_env

    monkeypatch.setattr(collect_env, "get_pretty_env_info", lambda: "versions")
    assert collect_env_info() == f"versions\n        Pillow ({PIL.__version__})"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2)


def test_count_num_param() -> None:
    model = nn.Linear(2, 3)
    assert count_num_param(model) == 9
    assert count_num_param(params=[model.weight]) == 6
    assert count_num_param(params=[{"params": model.bias}, {"params": [model.weight, model.bias]}]) == 12
    with pytest.raises(ValueError, match=r"model and params must provide at least one\."):
        count_num_param()


def test_open_layers() -> None:
    model = Net()
    open_specified_layers(model, ["norm", "head"])
    assert [model.conv.training, model.norm.training, model.head.training] == [False, True, True]
    assert [param.requires_grad for param in model.parameters()] == [False, False, True, True, True, True]
    open_specified_layers(model, "conv")
    assert [param.requires_grad for param in model.parameters()] == [True, True] + [False] * 4
    with pytest.raises(ValueError, match="'conv', 'norm', 'head'"):
        open_specified_layers(model, "tail")
    open_all_layers(model)
    assert model.norm.training
    assert all(param.requires_grad for param in model.parameters())


@pytest.mark.parametrize("init_type", ["normal", "xavier", "kaiming", "orthogonal"])
def test_init_network_weights(init_type: str) -> None:
    model = Net()
    with torch.no_grad():
        for param in model.parameters():
            param.fill_(7.0)
    torch.manual_seed(0)
    init_network_weights(model, init_type, gain=0.5)
    assert model.norm.weight.tolist() == [1.0] * 4
    for layer in (model.conv, model.norm, model.head):
        assert layer.bias is not None
        assert layer.bias.abs().sum() == 0
    assert model.head.weight.std() > 0
    assert model.head.weight.abs().max() < 5
    if init_type == "orthogonal":
        assert torch.allclose(model.head.weight @ model.head.weight.T, 0.25 * torch.eye(2), atol=1e-6)


def test_init_type_is_checked() -> None:
    with pytest.raises(NotImplementedError, match="uniform"):
        init_network_weights(Net(), "uniform")


@pytest.fixture
def server(tmp_path: Path) -> Any:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(b"x" * 3_000_000)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def send_header(self, name: str, value: str) -> None:
            if name == "Content-Length" and "short" in self.path:
                value = str(int(value) + 5)
            super().send_header(name, value)

    (folder / "short.bin").write_bytes(b"x")
    httpd = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_download_url(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    download_url(f"{server}/file.bin", str(tmp_path / "file.bin"))
    assert (tmp_path / "file.bin").stat().st_size == 3_000_000
    assert "100%" in terminal.getvalue()
    with pytest.raises(OSError, match="ended after 1 of 6 bytes"):
        download_url(f"{server}/short.bin", str(tmp_path / "short.bin"))
    assert not (tmp_path / "short.bin").exists()
