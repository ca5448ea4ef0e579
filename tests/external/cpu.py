"""Run a program of another code base on a machine without CUDA: its ``.cuda()`` calls do nothing, and are noted.

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


def enter(checkout: Path, weights: Path, full_precision: bool) -> None:
    """Work inside a checkout, its packages first, with the given weights and without CUDA."""
    os.chdir(checkout)
    sys.path.insert(0, str(checkout))
    if not torch.cuda.is_available():
        _without_cuda(checkout)
    if full_precision:
        torch.Tensor.half = _stay  # type: ignore[method-assign, assignment]
        torch.nn.Module.half = _stay  # type: ignore[method-assign, assignment]
    package = importlib.import_module("clip.clip")
    package._download = lambda url, *args: str(weights / os.path.basename(url))  # type: ignore[attr-defined]
    package._MODELS.setdefault("ViT-L/14", "ViT-L-14.pt")


def _stay(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self


def _without_cuda(checkout: Path) -> None:
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


def main() -> None:
    split = sys.argv.index("--")
    options, (script, *arguments) = sys.argv[1:split], sys.argv[split + 1 :]
    checkout, weights = (Path(option).resolve() for option in options[:2])
    sys.path.pop(0)  # this folder
    enter(checkout, weights, "--full-precision" in options)
    sys.argv = [script, *arguments]
    runpy.run_path(str(checkout / script), run_name="__main__")


if __name__ == "__main__":
    main()
