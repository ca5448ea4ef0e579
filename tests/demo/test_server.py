"""What the server of ``caspl demo`` answers, and what it refuses."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import caspl
from caspl.__main__ import main
from caspl.demo.server import LARGEST, Server, page, policy
from caspl.predictor.images import read_picture
from tests.conftest import CLASSES
from tests.runs import REPO

JSON = {"Content-Type": "application/json"}


def ask(
    server: Server, method: str, place: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, http.client.HTTPMessage]:
    """Status, content (JSON or bytes) and headers of a reply."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    path = place if place.startswith("/") else address.path + place
    connection.request(method, path, body, headers or {})
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    said = json.loads(content) if reply.headers["Content-Type"].startswith("application/json") else content
    return reply.status, said, reply.headers


def question(server: Server, **said: Any) -> tuple[int, Any]:
    return ask(server, "POST", "answer", json.dumps(said).encode(), JSON)[:2]


def sent(picture: Image.Image, kind: str) -> str:
    file = io.BytesIO()
    picture.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def test_a_picture_is_answered_as_by_the_library(server: Server, run: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 900, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "one.png")
    classes = ["sea or lake", "forest", "highway"]
    given = [" sea  or lake ", "forest", "", "highway", "forest"]
    status, said = question(server, classes=given, picture=sent(picture, "PNG"))
    assert status == 200
    assert said["classes"] == classes
    logits = caspl.load(run, classes=classes, device="cpu").logits(tmp_path / "one.png")
    assert said["columns"][2]["probabilities"] == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-6)
    assert said["size"] == [900, 700]
    kind, _, data = said["preview"].partition(";base64,")
    shown = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (kind, shown.mode) == ("data:image/jpeg", "RGB")  # as the models get it: without alpha, and smaller
    assert max(shown.size) == 640


def test_the_page_and_its_examples(server: Server) -> None:
    status, content, headers = ask(server, "GET", "")
    assert (status, content.decode()) == (200, page())
    assert headers["Content-Security-Policy"] == policy()
    assert headers["Server"].strip() == "caspl"
    _, about, _ = ask(server, "GET", "about")
    assert [column["title"] for column in about["columns"]] == ["Student", "Boosted", "Cascade", "Teacher"]
    assert about["classes"] == list(CLASSES)
    status, content, headers = ask(server, "GET", "examples/1")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert read_picture(io.BytesIO(content)).tobytes() == server.examples[1].read().tobytes()
    status, said = question(server, classes=["a", "b"], example=1)
    assert (status, said["size"], len(said["columns"])) == (200, [32, 32], 4)


def test_the_page_asks_for_nothing_outside() -> None:
    """One file: no address of another machine, and nothing that its own policy would not let it do."""
    assert "//" not in page().replace("// ", "")
    assert " style=" not in page()
    assert page().count("<script>") == page().count("<style>") == 1
    assert "'unsafe" not in policy()


def test_a_column_that_cannot_says_so(server: Server) -> None:
    """A name that no text tower has room for; what is wrong with the question itself is no column's."""
    status, said = question(server, classes=["x y z " * 30, "forest"], example=0)
    assert status == 200
    assert ["error" in column for column in said["columns"]] == [True] * 4, said
    assert all("class name" in column["error"] for column in said["columns"]), said
    assert question(server, classes=["forest", "river"], example=0)[1]["columns"][2]["probabilities"]


@pytest.mark.parametrize(
    ("said", "status", "sentence"),
    [
        ({"classes": [" "], "example": 0}, 422, "no class names"),
        ({"classes": "forest", "example": 0}, 400, "list of names"),
        ({"classes": [str(n) for n in range(1001)], "example": 0}, 422, "takes 1000 class names"),
        ({"classes": ["a"], "example": 99}, 404, "no such example"),
        ({"classes": ["a"], "example": True}, 404, "no such example"),
        ({"classes": ["a"], "example": "../../etc/passwd"}, 404, "no such example"),
        ({"classes": ["a"], "picture": "/etc/passwd0"}, 422, "is of no kind"),  # it is base64, of nothing
        ({"classes": ["a"], "picture": "no base64!"}, 400, "base64"),
        ({"classes": ["a"]}, 400, "base64"),
        ([1], 400, "is an object"),
    ],
)
def test_questions_that_are_none(server: Server, said: Any, status: int, sentence: str) -> None:
    found, answer, _ = ask(server, "POST", "answer", json.dumps(said).encode(), JSON)
    assert (found, sentence in answer["error"]) == (status, True), answer


def test_pictures_that_are_none(server: Server) -> None:
    whole = base64.b64decode(sent(Image.new("RGB", (64, 64)), "PNG"))
    for content, sentence in (
        (whole[: len(whole) // 2], "the picture that was given cannot be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is of no kind that is known"),
        (b"", "it is of no kind that is known"),
    ):
        status, said = question(server, classes=["a"], picture=base64.b64encode(content).decode())
        assert (status, sentence in said["error"]) == (422, True), said


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "[::1", "10.0.0.1"])
def test_another_machines_name_is_refused(server: Server, host: str) -> None:
    """A name that somebody points here, so that his page counts as of the same origin."""
    for method, place in (("GET", ""), ("GET", "about"), ("POST", "answer")):
        status, said, _ = ask(server, method, place, b"{}", {"Host": host} | JSON)
        assert (status, "this machine alone" in said["error"]) == (421, True)


def test_names_of_this_machine(server: Server) -> None:
    for host in ("127.0.0.1", "localhost:9", "LOCALHOST", "[::1]:80"):  # a tunnel may have another port
        assert ask(server, "GET", "about", headers={"Host": host})[0] == 200


def test_what_is_refused_before_it_is_read(server: Server) -> None:
    for headers, status in (
        ({"Content-Type": "text/plain"}, 415),  # which other pages may send unasked
        (JSON | {"Origin": "http://evil.example"}, 403),
        (JSON | {"Origin": "null"}, 403),
        (JSON | {"Content-Length": str(LARGEST + 1)}, 413),
        (JSON | {"Content-Length": "-1"}, 411),
        (JSON | {"Content-Length": "x"}, 411),
    ):
        assert ask(server, "POST", "answer", None, headers)[0] == status, headers
    assert ask(server, "POST", "answer", b"{", JSON)[:2] == (400, {"error": "the question is no JSON"})
    for place in ("/", "/about", "/wrong/about", "nothing", "examples/99", "examples/-1", "../../etc/passwd"):
        assert ask(server, "GET", place)[0] == 404, place
    assert ask(server, "POST", "about", b"{}", JSON)[0] == 404
    assert ask(server, "PUT", "answer", b"{}", JSON)[0] == 501


def test_on_this_machine_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert main(["demo", "nowhere"]) == 2


def test_wrong_words(run: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    taken = ["demo", str(run), "--no-teacher", "--device", "cpu", "--port", str(server.server_address[1])]
    for words, sentence in (
        (taken, "cannot be had"),
        ([*taken[:-1], "99999"], "cannot be had"),
        (["demo", str(run), "--examples", "nowhere"], "no folder of pictures nowhere"),
        (["demo", str(run), "--no-teacher", "--template", "photo"], "must hold {} once"),
    ):
        assert main(words) == 2
        assert sentence in capsys.readouterr().err


def test_the_command_ends_in_peace(run: Path) -> None:
    """It says where it is, answers there, and ends with Ctrl-C."""
    line = [sys.executable, "-m", "caspl", "demo", str(run), "--device", "cpu", "--no-teacher"]
    with subprocess.Popen(
        line,
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # background jobs are deaf to it
    ) as process:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().strip())
        connection = http.client.HTTPConnection(address.netloc, timeout=30)
        connection.request("GET", f"{address.path}about")
        assert json.loads(connection.getresponse().read())["name"] == str(run)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
