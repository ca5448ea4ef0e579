"""The text tower with its shared prefix beside the plain computation of 77 positions x classes, in one run.

python benchmarks/text_prefix.py [--classes 100] [--tokens 16] [--repeats 5] [--width 512] [--layers 12]
python benchmarks/text_prefix.py --images 8       tokens that depend on the image (CoCoOp), a batch of 8
python benchmarks/text_prefix.py --budget 256     also with so many MiB of activations, the rest computed again
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from caspl.prompts import ImageConditioned, Segment, TextCascade, normal_tokens
from caspl.towers import CLIP, Sizes, random_state_dict, tokenize


def seconds(run: Callable[[], torch.Tensor], leaf: torch.Tensor) -> float:
    """Time of one forward and backward pass."""
    start = time.perf_counter()
    leaf.grad = None
    run().square().sum().backward()
    return time.perf_counter() - start


def kept(run: Callable[[], torch.Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights aside."""
    storages: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        if not value.is_leaf:
            storage = value.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        features = run()
    del features
    return sum(storages.values())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("classes", 100), ("tokens", 16), ("repeats", 5), ("width", 512), ("layers", 12)):
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--images", type=int, default=0, help="batch of CoCoOp's image-conditioned tokens")
    p.add_argument("--budget", type=int, default=0, metavar="MIB", help="of activations; more are computed again")
    args = p.parse_args()
    sizes = Sizes(args.width, 32, 16, 64, 1, args.width, args.layers)
    clip = CLIP.from_state_dict(random_state_dict(sizes)).freeze()
    names = [f"class number {index}" for index in range(args.classes)]
    tokens = normal_tokens(1, args.tokens, args.width)
    conditioned = ImageConditioned("adapting", tokens, sizes.embed_dim)
    segment = conditioned if args.images else Segment("adapting", tokens)
    condition = F.normalize(torch.randn(args.images, sizes.embed_dim), dim=-1) if args.images else None
    cascade = TextCascade([segment])
    cascade.set_classes(names, clip.text)
    ids = tokenize([" ".join(["x"] * args.tokens) + f" {name}." for name in names])
    embedded, end = clip.text.embed(ids).detach(), ids.argmax(-1)
    pad = torch.zeros_like(end[:1]) + ids.shape[1] - 1

    def plain_pass(context: torch.Tensor) -> torch.Tensor:
        """All 77 positions of every class, read at the end tokens: nothing shared, nothing cut."""
        x = torch.cat([embedded[:, :1], context.expand(len(names), -1, -1), embedded[:, 1 + args.tokens :]], dim=1)
        longest = torch.cat([end, pad])  # keeps the tower from cutting at the longest end token
        x = torch.cat([x, x[:1]])
        return clip.text.classes(x, longest, [], 0)[0, :-1]

    def plain() -> torch.Tensor:
        """One pass, or as in CoCoOp's published code one for every image."""
        if condition is None:
            return plain_pass(segment.values[0])
        return torch.stack([plain_pass(context) for context in segment.tokens(0, condition)])

    def shared(budget: int = 0) -> torch.Tensor:
        return cascade(clip.text, condition, budget)

    with torch.no_grad():
        difference = (plain() - shared()).abs().max().item()
    passes = {"plain": plain, "shared": shared}
    if args.budget:
        passes["within a budget"] = partial(shared, args.budget * 2**20)
    times: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(args.repeats):  # interleaved, so that all see the same machine
        for name, run in passes.items():
            times[name].append(seconds(run, segment.values))
    medians = {name: statistics.median(found) for name, found in times.items()}
    print(
        f"{args.classes} classes, {args.images or 'no'} images, {args.tokens} tokens, width {args.width}, "
        f"{args.layers} layers, {torch.get_num_threads()} threads; forward and backward, median of {args.repeats}"
    )
    ratio = medians["plain"] / medians["shared"]
    print(f"plain  {medians['plain']:.3f} s   shared {medians['shared']:.3f} s   ratio {ratio:.1f}")
    print(f"largest difference of the features: {difference:.1e}")
    if args.budget:
        ratio = medians["within a budget"] / medians["shared"]
        with torch.no_grad():
            same = torch.equal(shared(), shared(args.budget * 2**20))
        few = kept(passes["within a budget"]) / 2**20
        print(
            f"kept for the backward pass: {kept(shared) / 2**20:.0f} MiB, within {args.budget} MiB {few:.0f} MiB for "
            f"{ratio:.2f} x the time; bitwise equal features: {same}"
        )


if __name__ == "__main__":
    main()
