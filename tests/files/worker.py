"""Another process that takes claims, as it is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAIN = """
import sys
from caspl.errors import CasPLError
from caspl.files import Claim

claim = None
for line in sys.stdin:
    command, _, path = line.strip().partition(" ")
    try:
        if command == "release":
            claim.release()
        else:
            one = Claim(path, "another")
            claim = one.take() if command == "take" else one.wait(0.01, lambda _: print("waits", flush=True))
        print("done", flush=True)
    except CasPLError as error:
        print(error, flush=True)
"""


class Worker:
    """A process that reads commands and says how each has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self, command: str, path: Path | str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command} {path}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, command: str, path: Path | str = "") -> str:
        self.tell(command, path)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def working(environment: dict[str, str] | None = None) -> Iterator[Worker]:
    """Start one; it is killed in the end."""
    command = [sys.executable, "-c", MAIN]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()
