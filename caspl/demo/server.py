"""The page's server: on this machine alone, and as little as it takes.

A page of somebody else's, open in the same browser, must not get at it: the address has a secret part, the ``Host``
must be this machine (so that no other name can be pointed here), answers go to the page's own origin, and a question is
JSON, which a browser sends nowhere unasked. A client names no files; pictures are read from what it sends, and of
examples it says the number. Nothing that is sent is kept.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from caspl.demo.columns import SideBySide
from caspl.demo.examples import Example
from caspl.errors import CasPLError
from caspl.files.parse import parse_json
from caspl.predictor.images import read_picture

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
HERE = ("127.0.0.1", "localhost", "::1")
"""Names of this machine, also at the other end of a tunnel, where the port may be another."""
LARGEST = 32 * 2**20
"""Bytes of a question: a picture of 24 MB."""
MOST_CLASSES, LONGEST_NAME = 1000, 200
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
"""Of pictures that are sent: those whose readers start no other program."""
PREVIEW = 640
"""Longest side of a picture that is sent back, in pixels."""


class Refused(Exception):
    """An answer other than 200.

    Args:
        status: of HTTP.
        sentence: what is wrong.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Server(ThreadingHTTPServer):
    """Serves the page of a run until it is shut down.

    Args:
        shown: what answers.
        examples: pictures to begin with.
        name: of the run, for the heading.
        port: 0 for any that is free.

    Raises:
        CasPLError: if the port is taken.
    """

    daemon_threads = True

    def __init__(self, shown: SideBySide, examples: Sequence[Example], name: str, port: int = 0) -> None:
        self.shown, self.examples, self.name = shown, list(examples), name
        self.secret = secrets.token_urlsafe(9)
        self.computing = Lock()  # models have classes set while they answer
        try:
            super().__init__((ADDRESS, port), Handler)
        except (OSError, OverflowError) as error:
            raise CasPLError(
                f"the port {port} cannot be had ({error}): name another, or none for a free one"
            ) from error

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{ADDRESS}:{self.server_address[1]}/{self.secret}/"

    def about(self) -> dict[str, Any]:
        """What the page shows before anything is asked."""
        shown = self.shown
        return {
            "name": self.name,
            "columns": [{"title": column.title, "what": column.what} for column in shown.columns],
            "lead": shown.lead,
            "note": shown.note,
            "classes": shown.classes,
            "examples": [example.name for example in self.examples],
            "largest": LARGEST * 3 // 4,
        }

    def answer(self, question: Any) -> dict[str, Any]:
        """What the columns say of a picture.

        Args:
            question: ``classes``, a list of names, and ``picture``, a file in base64, or ``example``, a number.

        Raises:
            CasPLError: if the picture cannot be read, or the names are none.
            Refused: if it is no question.
        """
        if not isinstance(question, dict):
            raise Refused(400, "a question is an object")
        classes = _classes(question.get("classes"))
        picture = self._picture(question)
        columns = []
        with self.computing:
            for column in self.shown.columns:
                started = time.perf_counter()
                try:
                    said: dict[str, Any] = {"probabilities": column.probabilities(picture, classes)}
                except CasPLError as error:
                    said = {"error": str(error)}
                columns.append(said | {"seconds": time.perf_counter() - started})
        kind, content = preview(picture)
        data = base64.b64encode(content).decode()
        return {
            "classes": classes,
            "columns": columns,
            "size": picture.size,
            "preview": f"data:{kind};base64,{data}",
        }

    def example(self, number: object) -> Example:
        """The example of that number.

        Raises:
            Refused: if there is none.
        """
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(self.examples):
            raise Refused(404, "there is no such example")
        return self.examples[number]

    def _picture(self, question: dict[str, Any]) -> Image.Image:
        if "example" in question:
            return self.example(question["example"]).read()
        try:
            content = base64.b64decode(question["picture"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise Refused(400, "a question has a picture in base64, or the number of an example") from error
        return read_picture(io.BytesIO(content), "that was given", FORMATS)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version, sys_version = "caspl", ""
    timeout = 60  # seconds for the client to go on

    def do_GET(self) -> None:
        """The page, what it shows first, or an example's picture."""
        self._reply(self._get)

    def do_POST(self) -> None:
        """A question."""
        self._reply(self._post)

    def _get(self, place: str) -> tuple[str, bytes]:
        if place == "":
            return "text/html; charset=utf-8", page().encode()
        if place == "about":
            return _json(self.server.about())
        if found := re.fullmatch(r"examples/(\d{1,6})", place):
            return preview(self.server.example(int(found[1])).read())
        raise Refused(404, "there is nothing here")

    def _post(self, place: str) -> tuple[str, bytes]:
        if place != "answer":
            raise Refused(404, "there is nothing here")
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "a question is JSON")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers['Host']}":
            raise Refused(403, "only the page itself may ask")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,18}", length):
            raise Refused(411, "a question says how long it is")
        if int(length) > LARGEST:
            raise Refused(413, f"a picture may have {LARGEST * 3 // 4 // 2**20} MB")
        try:
            question = parse_json(self.rfile.read(int(length)).decode())
        except ValueError as error:
            raise Refused(400, "the question is no JSON") from error
        return _json(self.server.answer(question))

    def _reply(self, make: Callable[[str], tuple[str, bytes]]) -> None:
        try:
            status, (kind, content) = 200, make(self._place())
        except Refused as refused:
            status, (kind, content) = refused.status, _json({"error": str(refused)})
        except CasPLError as error:
            status, (kind, content) = 422, _json({"error": str(error)})
        except (TimeoutError, ConnectionError):
            return
        except Exception as error:
            logger.exception("a request failed")
            status, (kind, content) = 500, _json({"error": f"this failed ({type(error).__name__}); see the terminal"})
        with suppress(ConnectionError):  # the page was closed before it was answered
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Security-Policy", policy())
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def _place(self) -> str:
        """What is asked for, below the secret part of the address.

        Raises:
            Refused: for another machine's name, or another address.
        """
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:
            host = None
        if host not in HERE:
            raise Refused(421, "this page is for this machine alone: open it by 127.0.0.1")
        _, _, rest = self.path.partition("/")
        given, slash, place = rest.partition("?")[0].partition("/")
        if not slash or not secrets.compare_digest(given.encode(), self.server.secret.encode()):
            raise Refused(404, "there is nothing here: open the whole address that caspl demo has printed")
        return place

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for what goes wrong."""


HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@cache
def page() -> str:
    """The page, one file."""
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8")


@cache
def policy() -> str:
    """What the page may do: run its own script, wear its own style, and talk to its own server."""
    allowed = {
        kind: " ".join(
            f"'sha256-{base64.b64encode(sha256(block.encode()).digest()).decode()}'"
            for block in re.findall(rf"<{kind}>(.*?)</{kind}>", page(), re.S)
        )
        for kind in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def preview(picture: Image.Image) -> tuple[str, bytes]:
    """A picture as the models get it, but smaller: its type and bytes."""
    shown, file = picture.copy(), io.BytesIO()
    shown.thumbnail((PREVIEW, PREVIEW))
    small = max(shown.size) < PREVIEW // 2  # drawings and icons: without loss
    shown.save(file, "PNG" if small else "JPEG")
    return f"image/{'png' if small else 'jpeg'}", file.getvalue()


def _json(said: Any) -> tuple[str, bytes]:
    return "application/json; charset=utf-8", json.dumps(said, ensure_ascii=False).encode()


def _classes(given: Any) -> list[str]:
    """Class names, each once.

    Raises:
        CasPLError: if there are none, or too many.
        Refused: if they are no list of texts.
    """
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise Refused(400, "classes are a list of names")
    names = list(dict.fromkeys(" ".join(name.split()) for name in given if name.strip()))
    if not names:
        raise CasPLError("there are no class names: write one on each line")
    if len(names) > MOST_CLASSES or max(map(len, names)) > LONGEST_NAME:
        raise CasPLError(f"this page takes {MOST_CLASSES} class names of {LONGEST_NAME} characters: leave some out")
    return names
