"""Pre-train the tiny student or teacher: ``python -m caspl.tiny.pretrain student -o student.safetensors``.

The run is seeded and can be stopped at any time: started again with the same arguments it goes on from its last
checkpoint (``<output>.checkpoint``).
"""

from __future__ import annotations

import argparse
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from caspl.files import write_atomically
from caspl.tiny import store
from caspl.tiny.augment import developed, turned
from caspl.tiny.objective import contrastive, fitting, normalised
from caspl.tiny.pool import Pool, open_or_build
from caspl.tiny.recipe import RECIPES, Recipe
from caspl.tiny.vocabulary import known_ids
from caspl.towers import CLIP, random_state_dict

log = logging.getLogger(__name__)
HOTTEST = math.log(100)


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to zero."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * done))


def draw(pool: Pool, recipe: Recipe, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Batch number `step`: images, compact caption ids and which caption fits which image.

    It depends on seed and step alone, so that a resumed run sees what an uninterrupted one would have seen.
    """
    rng = np.random.default_rng((recipe.seed, step))
    rows = rng.integers(len(pool.images), size=recipe.batch)
    which = rng.integers(pool.ids.shape[1], size=recipe.batch)
    images = torch.from_numpy(pool.images[rows]).permute(0, 3, 1, 2).float() / 255
    images = torch.cat([turned(part, int(rng.integers(8))) for part in images.chunk(8)])
    images = normalised(developed(images, rng))
    ids = torch.from_numpy(pool.ids[rows, which]).long()
    told = torch.from_numpy(pool.told[rows, which])
    return images, ids, fitting(torch.from_numpy(pool.labels[rows]), told)


def encode_captions(model: CLIP, ids: Tensor) -> Tensor:
    """`model.encode_text(ids)`, the shorter half of the captions apart from the longer: less padding to compute."""
    order = ids.argmax(-1).argsort()
    features = torch.cat([model.encode_text(half) for half in ids[order].chunk(2)])
    return features[order.argsort()]


def _optimizer(model: CLIP, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))


def train(recipe: Recipe, output: Path, pool_path: Path, save_every: int, compile_tower: bool = False) -> None:
    """Pre-train by `recipe`; writes the weights to `output` at every checkpoint and at the end."""
    known = known_ids()
    sizes = replace(recipe.sizes, vocabulary=len(known))
    model = CLIP.from_state_dict(random_state_dict(sizes, recipe.seed)).train()
    optimizer = _optimizer(model, recipe)
    checkpoint = output.with_name(output.name + ".checkpoint")
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
        log.info("going on from step %d of %s", first, checkpoint)
    encode_image = torch.compile(model.encode_image) if compile_tower else model.encode_image
    pool = open_or_build(pool_path, recipe.pictures, recipe.pool_seed)
    progress = trange(first, recipe.steps, initial=first, total=recipe.steps, desc=output.stem, mininterval=5)
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        images, ids, fits = draw(pool, recipe, step)
        with torch.autocast("cpu", torch.bfloat16):
            image, text = encode_image(images), encode_captions(model, ids)
        loss = contrastive(image, text, model.logit_scale.exp(), fits)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=HOTTEST)
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}", scale=f"{model.logit_scale.exp().item():.1f}")
        if (step + 1) % save_every == 0 or step + 1 == recipe.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            write_atomically(checkpoint, lambda path, state=state: torch.save(state, path))  # type: ignore[misc]
            store.write(output, model.openai_state_dict(), known)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m caspl.tiny.pretrain", description="pre-train a tiny CLIP")
    parser.add_argument("which", choices=sorted(RECIPES))
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights file to write (.safetensors)")
    parser.add_argument("--pool", type=Path, help="file that keeps the rendered pictures (default: beside output)")
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--compile", action="store_true", help="compile the image tower (needs a C++ compiler)")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = RECIPES[args.which]
    if args.steps is not None:
        recipe = replace(recipe, steps=args.steps)
    train(recipe, args.output, args.pool or args.output.with_name("world.npz"), args.save_every, args.compile)
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
