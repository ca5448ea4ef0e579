"""Run a program that asks for CUDA on a machine without: its ``.cuda()`` calls do nothing, and are noted.

    python tests/external/cpu.py CHECKOUT WEIGHTS [--full-precision] -- train.py ARGUMENTS...

runs a script of a checkout inside it. Weights that its ``clip`` package would download are taken from the folder
WEIGHTS. With --full-precision its casts to half precision do nothing either. At the end the lines of the checkout that
asked for CUDA are printed, each once, behind ``CUDA-only:``.
"""

from __future__ import annotations

import atexit
import importlib
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch

MARK = "CUDA-only:"


def without_cuda(checkout: Path) -> None:
    """Let ``.cuda()`` leave tensors and modules where they are, and report who called it."""
    if torch.cuda.is_available():
        return
    seen: dict[str, None] = {}

    def stay(self: Any, *args: Any, **kwargs: Any) -> Any:
        frame = sys._getframe(1)
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(checkout):
            seen[f"{path.relative_to(checkout)}:{frame.f_lineno}"] = None
        return self

    torch.Tensor.cuda = stay  # type: ignore[method-assign]
    torch.nn.Module.cuda = stay  # type: ignore[method-assign, assignment]
    atexit.register(lambda: print(MARK, " ".join(seen)))


def in_full_precision() -> None:
    """Let casts to half precision do nothing."""

    def stay(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self

    torch.Tensor.half = stay  # type: ignore[method-assign]
    torch.nn.Module.half = stay  # type: ignore[method-assign, assignment]


def local_weights(folder: Path) -> None:
    """Let the checkout's ``clip`` package find its weights in a folder."""
    package = importlib.import_module("clip.clip")
    package._download = lambda url, *args: str(folder / os.path.basename(url))  # type: ignore[attr-defined]


def main() -> None:
    split = sys.argv.index("--")
    options, (script, *arguments) = sys.argv[1:split], sys.argv[split + 1 :]
    checkout, weights = (Path(option).resolve() for option in options[:2])
    os.chdir(checkout)
    sys.path[0] = str(checkout)
    sys.argv = [script, *arguments]
    without_cuda(checkout)
    if "--full-precision" in options:
        in_full_precision()
    local_weights(weights)
    runpy.run_path(str(checkout / script), run_name="__main__")


if __name__ == "__main__":
    main()
