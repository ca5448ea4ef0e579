"""``caspl info FILE_OR_RUN``: what a run, a checkpoint, a boosting file or an exported predictor is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch.nn import functional as F

from caspl.build import read_built
from caspl.checkpoint import Checkpoint
from caspl.commands.card import card, records_of
from caspl.errors import CasPLError
from caspl.hub import local
from caspl.predictor.merged import is_merged, read_merged
from caspl.results.record import RunRecord
from caspl.store import Store
from caspl.store.header import FILE as STORE
from caspl.towers import CLIP
from caspl.towers.tokenizer import decode
from caspl.zoo import load_clip


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(prog="caspl info", description="What a file or a run's folder is.")
    made.add_argument("file", metavar="FILE_OR_RUN", help="run, checkpoint, boosting file, predictor, store, hf://...")
    made.add_argument("--epoch", type=int, metavar="N", help="of the run (default: the best, else the last)")
    made.add_argument(
        "--words", type=int, nargs="?", const=3, metavar="K", help="the K nearest words to each learned text token"
    )
    made.add_argument("--student", metavar="CLIP", help="for --words: the student by another name")
    made.add_argument("--json", action="store_true", help="as JSON")
    made.add_argument(
        "--card", action="store_true", help="a model card for a hub, in Markdown: redirect it to README.md"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    options.file = local(options.file)
    if (options.file / STORE).is_file():
        if options.words is not None or options.card:
            raise CasPLError(f"{options.file} is a store of features: it has neither words nor a card")
        said = describe_store(Store.there(options.file))
    elif is_merged(options.file):
        if options.words is not None:
            raise CasPLError(f"{options.file} is an exported predictor, which has no text tokens: name its run")
        classifier, pixels, about = read_merged(options.file)
        said = {"kind": "exported predictor", "classes": classifier.classnames, "pixels": pixels.as_dict(), **about}
        if classifier.head is not None:
            said["classifies"] = _head(classifier.head.kind)
    else:
        found = read_built(options.file, options.epoch, heads=True)
        said = describe(found) | {"tested": [_test(record) for record in records_of(options.file)]}
        if options.words is not None:
            said["words"] = nearest_words(found, load_clip(options.student or found.student), options.words)
    if options.card:
        print(card(said, options.file), end="")
        return 0
    print(json.dumps(said, indent=1, ensure_ascii=False) if options.json else _lines(said))
    return 0


def describe_store(store: Store) -> dict[str, Any]:
    """What a store of features is, as plain JSON."""
    kept = {"views": len(store), "bytes": store.size}
    return {"kind": "store of features", "folder": str(store.folder), **kept, **asdict(store.header)}


def describe(found: Checkpoint) -> dict[str, Any]:
    """What a checkpoint or a boosting file is, as plain JSON."""
    tokens = {name: list(value.shape) for name, value in sorted(found.tensors.items())}
    return {
        "kind": "boosting file" if found.path.suffix == ".safetensors" else "checkpoint",
        "file": str(found.path),
        "student": f"{found.student} (weights {found.student_hash})",
        "trained on": {key: value for key, value in found.trained_on.items() if value not in ("", None)},
        "classes": list(found.classnames),
        **_texts(found),
        "pixels": dict(found.pixels),
        "tensors": tokens,
        "parameters": sum(value.numel() for value in found.tensors.values()),
        "written by": f"caspl {found.library}" if found.library else "",
    }


def _texts(found: Checkpoint) -> dict[str, Any]:
    """Where the features of its classes come from."""
    if found.head:
        return {"classifies": _head(found.head["kind"])}
    if found.given is not None:
        return {"class features": f"a teacher's, of {len(found.given[0])} classes"}
    return {"templates": list(found.description["texts"]["class"]["templates"])}


def _head(kind: str) -> str:
    return f"a head behind the image tower ({kind})"


def _test(record: RunRecord) -> str:
    accuracy = "no number" if record.accuracy is None else f"{record.accuracy:.2f}%"
    when = f", {record.finished[:10]}" if record.finished else ""
    classes = "" if record.classes == "all" else f" {record.classes} classes"
    return f"{record.trainer} on {record.dataset}{classes}: {accuracy} of {record.test_images} pictures{when}"


def nearest_words(found: Checkpoint, clip: CLIP, most: int = 3) -> dict[str, list[list[str]]]:
    """The vocabulary's nearest words to each text token of the first layer, as CoOp shows them (arXiv 2109.01134,
    section 4.3): by Euclidean distance, with that distance.

    Returns:
        Name of the segment -> for each token its words, the nearest first.

    Raises:
        CasPLError: if there are no text tokens, or the student is another.
    """
    named = {
        name.split(".")[1]: value[0]
        for name, value in found.tensors.items()
        if name.startswith("text.") and name.endswith(".values") and value.dim() == 3
    }
    if most < 1:
        raise CasPLError(f"--words is 1 or more, not {most}")
    if not named:
        raise CasPLError(f"{found.path} holds no text tokens that all classes share")
    vocabulary = clip.text.token_embedding.weight.detach().float()
    if any(value.shape[1] != vocabulary.shape[1] for value in named.values()):
        raise CasPLError(f"the tokens of {found.path} are of another width than this student's words")
    words: dict[str, list[list[str]]] = {}
    for name, tokens in named.items():
        near = F.pairwise_distance(tokens.float()[:, None], vocabulary[None]).topk(most, largest=False)
        words[name] = [
            [f"{decode([place])} ({far:.3f})" for place, far in zip(places, distances, strict=True)]
            for places, distances in zip(near.indices.tolist(), near.values.tolist(), strict=True)
        ]
    return words


def _lines(said: Mapping[str, Any]) -> str:
    width = max(map(len, said))
    lines = []
    for key, value in said.items():
        if key == "words":
            for name, tokens in value.items():
                lines += [f"{name} {number}: {', '.join(words)}" for number, words in enumerate(tokens, start=1)]
            continue
        each = [f"{name} {_told(one)}" for name, one in value.items()] if key == "tensors" else [_told(value, key)]
        each = value if key == "tested" else each
        heads = [key.replace("_", " "), *[""] * len(each)]
        lines += [f"{head:<{width}}  {one or '-'}" for head, one in zip(heads, each or ["-"], strict=False)]
    return "\n".join(lines)


def _told(value: Any, key: str = "") -> str:
    """A value in words."""
    if isinstance(value, Mapping):
        parts = (f"({_told(one)})" if isinstance(one, Mapping) else _told(one) for one in value.values())
        return ", ".join(f"{name} {part}" for name, part in zip(value, parts, strict=True) if part)
    if isinstance(value, list | tuple) and value and not isinstance(value[0], str):
        return (" x " if isinstance(value[0], int) else " ").join(map(_told, value))
    if isinstance(value, list | tuple):
        shown = ", ".join(map(_told, value[:10])) + (", ..." if len(value) > 10 else "")
        return f"{len(value)}: {shown}" if key == "classes" else shown
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
