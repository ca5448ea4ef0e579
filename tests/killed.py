"""Runs of train.py that are killed: at a moment, or in the middle of writing a file. A program of its own, which forks.

Standard input: one JSON list a line, of the command and how it is to be killed: ``["seconds", 0.3]`` after it has
begun, ``["write", 5]`` in its fifth write below a folder, or null to let it end. Standard output: one line each, the
exit code, negative where a signal ended it, and the seconds that it took.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import signal
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import torch

import datasets  # noqa: F401  so that a run begins at once
import train
import trainers.session  # noqa: F401
from dassl.utils.logger import close_logger
from tests.forked import lock_of_its_own
from tests.full_disk import opened_over, path_of, writes


class HalfWritten(io.FileIO):
    """Takes half of the first bytes that it is given, and then its process is killed."""

    def write(self, data: Any) -> int:
        super().write(bytes(data)[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


def kill_in_write(folder: str, number: int) -> None:
    """Let this process be killed in the given one of its files below a folder, counted from 1."""
    plain, seen = builtins.open, []

    def count(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        path = path_of(file)
        if writes(mode) and path.startswith(folder):
            seen.append(path)
            if len(seen) == number:
                return opened_over(HalfWritten, file, mode)
        return plain(file, mode, *args, **options)

    builtins.open = io.open = count


def child(command: list[str], kind: str, value: Any, folder: str) -> None:
    """Run the command, in a process of its own; does not return."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    lock_of_its_own()
    if kind == "write":
        kill_in_write(folder, value)
    os._exit(train.main(command))


def main() -> None:
    torch.set_num_threads(1)
    folder = sys.argv[1]
    for line in sys.stdin:
        command, kill = json.loads(line)
        if kill is None:  # here, so that what a run imports late is there for those that are killed
            began = time.monotonic()
            with open(os.devnull, "w") as silence, redirect_stdout(silence), redirect_stderr(silence):
                code = train.main(command)
                close_logger()
            print(code, time.monotonic() - began, flush=True)
            continue
        kind, value = kill
        began = time.monotonic()
        process = os.fork()
        if not process:
            child(command, kind, value, folder)
        if kind == "seconds":
            time.sleep(value)
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main()
