"""``caspl export RUN -o DIR [--onnx]``: a merged predictor, which needs neither the run nor the student's weights."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from caspl.commands.model import add_model, load_model
from caspl.predictor.merged import is_merged
from caspl.predictor.onnx import TEXT, open_text


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="caspl export",
        description="Write image tower with its tokens, class features, preprocessing and names; caspl.load reads it.",
    )
    add_model(made, computes=False)
    made.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="folder, made if not there")
    made.add_argument("--onnx", action="store_true", help="also as ONNX, checked against onnxruntime")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    model = load_model(options)
    if is_merged(options.output):
        print(f"{options.output} holds a predictor, which is written over", file=sys.stderr)
    folder = model.export(options.output, onnx=options.onnx)
    files = ", ".join(sorted(path.name for path in folder.iterdir()))
    print(f"wrote {folder}: {files}")
    why = "a head classifies" if model.model is None else open_text(model.model)
    if options.onnx and why is not None:
        print(f"without {TEXT}: {why}; its class names are fixed")
    print(f"try it: caspl predict {folder} PICTURE")
    return 0
