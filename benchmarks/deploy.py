"""What a deployed model costs beside its student and its teacher: parameters, operations, latency and throughput.

    PYTHONPATH=. python benchmarks/deploy.py [--repeats 20] [--batches 5] [--threads 2] [--device cuda]

Student (ViT-B/16), student with boosting tokens (8+8 in 12 layers), a cascade of these and PromptSRC's adapting tokens
(8+8 in 12 layers), the same cascade exported and read again, and the teacher (ViT-L/14). All have random weights,
nothing is downloaded. Class features are computed once, as in every use; timed is the way from normalised pixels to
logits. Every round times each model once, in an order that turns, so that all see the same machine; ratios are of one
round. The table is Markdown; --small builds small towers, to see that it works: those times mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from caspl.classifier import Classifier
from caspl.model import PromptedCLIP
from caspl.pixels import Pixels
from caspl.predictor.merged import read_merged, write_merged
from caspl.predictor.predictor import PRECISIONS
from caspl.prompts import Prompts, Segment, both_towers, normal_tokens
from caspl.towers import CLIP, Sizes, random_state_dict

B16 = Sizes(512, 224, 16, vision_width=768, vision_layers=12, text_width=512, text_layers=12)
L14 = Sizes(768, 224, 14, vision_width=1024, vision_layers=24, text_width=768, text_layers=12)
SMALL = (Sizes(64, 32, 16, 64, 12, 64, 12), Sizes(96, 32, 16, 96, 12, 96, 12))
BOOSTING, ADAPTING = (8, 12), (8, 12)
"""(length, depth) in each tower, as in the configs of CasPL and CasPL_PromptSRC."""
STUDENT, BOOSTED, CASCADE, MERGED, TEACHER = (
    "student",
    "student + boosting",
    "cascade",
    "cascade, exported",
    "teacher",
)


class Deployed(NamedTuple):
    """One row's model.

    Args:
        classifier: what answers.
        parameters: of all that it takes to answer with any class names: both towers and the tokens. An exported
            predictor has image tower, tokens and class features alone.
        learned: of them the tokens'.
        texts: operations for the features of all classes, once.
    """

    classifier: Classifier
    parameters: int
    learned: int
    texts: int


def models(student: Sizes, teacher: Sizes, classes: int) -> dict[str, Deployed]:
    """All rows by name, the student first."""
    torch.manual_seed(0)
    names = [f"class number {number}" for number in range(classes)]
    clip = CLIP.from_state_dict(random_state_dict(student)).freeze()
    boosting = Prompts(
        nearest=[_tokens(BOOSTING, student.text_width)], vision=[_tokens(BOOSTING, student.vision_width)]
    )
    cascade = both_towers(clip, ADAPTING, ADAPTING, "a photo of a").behind(boosting)
    template = Prompts(templates=("a photo of a {}.",))
    made = {
        STUDENT: deployed(clip, template, names),
        BOOSTED: deployed(clip, template.behind(boosting), names),
        CASCADE: deployed(clip, cascade, names),
    }
    made[MERGED] = exported(made[CASCADE].classifier, clip)
    large = CLIP.from_state_dict(random_state_dict(teacher)).freeze()
    return made | {TEACHER: deployed(large, template, names)}


def deployed(clip: CLIP, prompts: Prompts, names: Sequence[str]) -> Deployed:
    """A model of some prompts; its class features are computed."""
    model = PromptedCLIP.of(clip, prompts, names).eval()
    learned = sum(_size(segment) for segment in model.segments().values())
    return Deployed(model.fixed(), _size(clip) + learned, learned, operations(model.encode_text))


def exported(classifier: Classifier, clip: CLIP) -> Deployed:
    """What is read again of a classifier that was written as a predictor."""
    with tempfile.TemporaryDirectory() as folder:
        pixels = Pixels(clip.sizes.resolution)
        write_merged(folder, classifier, clip.sizes, clip.activation, pixels, {})
        read = read_merged(folder)[0]
        read.load_state_dict({key: value.clone() for key, value in read.state_dict().items()}, assign=True)
    return Deployed(read, _size(read), _size(read.vision), 0)


def operations(run: Callable[[], Tensor]) -> int:
    """Floating-point operations of its matrix products and convolutions; a product and a sum are two."""
    # Of torch's fused attentions on a CPU nothing is counted.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        run()
    return int(counted.get_total_flops())


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time of one call."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start


def rounds(runs: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each call in every round, after one round to warm up."""
    names = list(runs)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in tqdm(range(-1, repeats), unit="round", disable=None):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            took = seconds(runs[name], device)
            if number >= 0:
                found[name].append(took)
    return found


def ratios(times: dict[str, list[float]], name: str) -> tuple[float, float, float]:
    """Median, least and largest of a model's times over the student's, round by round."""
    found = [own / student for own, student in zip(times[name], times[STUDENT], strict=True)]
    return statistics.median(found), min(found), max(found)


def measure(rows: dict[str, Deployed], batch: int, repeats: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each model for a batch, in every round."""
    device, kind = torch.device(args.device), PRECISIONS[args.precision]
    runs: dict[str, Callable[[], object]] = {}
    for name, row in rows.items():
        pixels = _pixels(row.classifier, batch, device)
        runs[name] = lambda model=row.classifier, pixels=pixels: model(pixels)  # type: ignore[misc]
    with torch.no_grad(), nullcontext() if kind is None else torch.autocast(device.type, kind):
        return rounds(runs, repeats, device)


def table(rows: dict[str, Deployed], one: dict[str, list[float]], many: dict[str, list[float]], batch: int) -> str:
    """Markdown, with the claim's row below."""
    head = ["", "parameters, M", "learned, M", "GFLOP an image", "GFLOP for the classes, once"]
    head += ["latency, ms", "times the student's", f"images/s at {batch}", "times the student's time"]
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for name, row in rows.items():
        model = row.classifier
        count = operations(lambda model=model: model(_pixels(model, 1, model.scale.device)))  # type: ignore[misc]
        cells = [name, f"{row.parameters / 1e6:.1f}", f"{row.learned / 1e6:.2f}", f"{count / 1e9:.2f}"]
        cells += [f"{row.texts / 1e9:.1f}" if row.texts else "-"]
        cells += [f"{1000 * statistics.median(one[name]):.1f}", _ratio(one, name)]
        cells += [f"{batch / statistics.median(many[name]):.1f}", _ratio(many, name)]
        lines.append(_row(cells))
    first, second = ratios(one, BOOSTED)[0], ratios(many, BOOSTED)[0]
    claim = f"**claim: {BOOSTED} is no slower than {STUDENT}**: measured {first:.2f} times its latency, "
    return "\n".join([*lines, "", claim + f"{second:.2f} times its time at {batch}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--repeats", type=int, default=20, help="rounds of single images (default: %(default)s)")
    p.add_argument("--batches", type=int, default=5, help="rounds of batches (default: %(default)s)")
    p.add_argument("--batch", type=int, default=32, help="of the throughput (default: %(default)s)")
    p.add_argument("--classes", type=int, default=100, help="(default: %(default)s)")
    p.add_argument("--threads", type=int, help="of a CPU (default: as torch takes them)")
    p.add_argument("--device", default="cpu", help="(default: %(default)s)")
    p.add_argument("--precision", default="fp32", choices=list(PRECISIONS), help="(default: %(default)s)")
    p.add_argument("--small", action="store_true", help="small towers: a dry run")
    args = p.parse_args(arguments)
    if min(args.repeats, args.batches, args.batch, args.classes) < 1:
        p.error("--repeats, --batches, --batch and --classes are 1 or more")
    if args.threads:
        torch.set_num_threads(args.threads)
    rows = models(*(SMALL if args.small else (B16, L14)), args.classes)
    for row in rows.values():
        row.classifier.to(args.device)
    threads = f", {torch.get_num_threads()} threads" if args.device == "cpu" else ""
    print(
        f"{args.classes} classes, {args.precision} on {args.device}{threads}, torch {torch.__version__}, medians of "
        f"{args.repeats} rounds of one image and {args.batches} of {args.batch} (least to most)\n"
    )
    one, many = measure(rows, 1, args.repeats, args), measure(rows, args.batch, args.batches, args)
    print(table(rows, one, many, args.batch))
    return 0


def _tokens(size: tuple[int, int], width: int) -> Segment:
    length, depth = size
    return Segment("boosting", normal_tokens(depth, length, width), trainable=False)


def _size(module: nn.Module) -> int:
    return sum(value.numel() for value in module.state_dict().values())


def _pixels(model: Classifier, batch: int, device: torch.device) -> Tensor:
    side = model.visual.conv1.kernel_size[0] * round((model.visual.positional_embedding.shape[0] - 1) ** 0.5)
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1)).to(device)


def _ratio(times: dict[str, list[float]], name: str) -> str:
    return "1" if name == STUDENT else "{:.2f} ({:.2f} to {:.2f})".format(*ratios(times, name))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
