"""``caspl calibrate RUN --root DIR``: set the temperature of a model's probabilities on labelled pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from caspl.commands.evaluate import calibration_error
from caspl.commands.labelled import labelled, split_of
from caspl.commands.model import add_model, load_model
from caspl.errors import CasPLError
from caspl.hub import is_remote
from caspl.predictor.calibration import fit_temperature, write_temperature


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="caspl calibrate",
        description="Set a temperature, so that a probability of 80%% is right in 80 of 100 cases, on pictures that "
        "the model was not trained on: a folder with one folder for each class; of a folder that holds val/, or a "
        "split that a run has made, its validation pictures. "
        "It is kept beside the run as calibration.json, and used by predict, evaluate and export.",
    )
    add_model(made)
    made.add_argument("--root", required=True, type=Path, metavar="DIR", help="the labelled pictures, or a split file")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    if is_remote(options.run):
        raise CasPLError(f"a temperature is kept beside the model: fetch {options.run} first, and name its folder")
    model = load_model(options)
    paths, places = labelled(options.root, model.classes, "val", split_of(model))
    logits, labels = model.logits(paths, options.batch_size), torch.tensor(places)
    temperature = fit_temperature(logits, labels)
    before, after = (calibration_error(logits / one, labels) for one in (model.temperature, temperature))
    about = {"pictures": len(paths), "classes": model.classes, "calibration_error": after}
    written = write_temperature(Path(options.run).expanduser(), temperature, model.tokens, about)
    print(
        f"temperature {temperature:.4f} on {len(paths)} pictures: calibration error {100 * before:.2f}% -> "
        f"{100 * after:.2f}%; {written}"
    )
    return 0
