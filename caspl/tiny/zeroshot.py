"""Zero-shot accuracy of the tiny pair on the drawn domains: ``python -m caspl.tiny.zeroshot --split val``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.tiny import MODELS, load_state_dict
from caspl.tiny.domain import DOMAINS, SPLITS, TINYSAT, Domain
from caspl.tiny.objective import normalised
from caspl.tiny.store import read
from caspl.towers import CLIP, tokenize


def pictures(split: str, seed: int = 1, domain: Domain = TINYSAT) -> tuple[Tensor, Tensor]:
    """The normalised images and labels of a split, drawn exactly as the files are."""
    labels = domain.labels(split)
    drawn = domain.render(domain.rng(split, seed), labels)
    return normalised(torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255), torch.from_numpy(labels)


@torch.no_grad()
def zero_shot_logits(state: Mapping[str, Tensor], images: Tensor, domain: Domain = TINYSAT) -> Tensor:
    """Logits (images, classes) of a CLIP with the domain's template."""
    clip = CLIP.from_state_dict(state).freeze()
    text = F.normalize(clip.encode_text(tokenize([domain.template.format(name) for name in domain.classnames])), dim=-1)
    image = torch.cat([F.normalize(clip.encode_image(part), dim=-1) for part in images.split(250)])
    return clip.logit_scale.exp() * image @ text.t()


def accuracies(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy in percent among all classes, and among the base and the new classes alone, with their mean."""
    half = (logits.shape[1] + 1) // 2
    base = labels < half

    def percent(part: Tensor, truth: Tensor) -> float:
        return 100 * (part.argmax(1) == truth).float().mean().item()

    found = {
        "all": percent(logits, labels),
        "base": percent(logits[base][:, :half], labels[base]),
        "new": percent(logits[~base][:, half:], labels[~base] - half),
    }
    return found | {"HM": 2 / (1 / found["base"] + 1 / found["new"])}


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m caspl.tiny.zeroshot", description="zero-shot accuracy on a drawn domain"
    )
    parser.add_argument("weights", nargs="*", type=Path, help="weights files (default: the shipped pair)")
    parser.add_argument("--split", choices=sorted(SPLITS), default="val")
    parser.add_argument("--domain", choices=list(DOMAINS), default=TINYSAT.name, help="(default: tinysat)")
    args = parser.parse_args(argv)
    domain = DOMAINS[args.domain]
    images, labels = pictures(args.split, domain=domain)
    models = {str(path): read(path) for path in args.weights} or {name: load_state_dict(name) for name in MODELS}
    print(f"{args.split:<24} {'all':>6} {'base':>6} {'new':>6} {'HM':>6} {'sure':>6}")
    for name, state in models.items():
        logits = zero_shot_logits(state, images, domain)
        sure = 100 * logits.softmax(1).max(1).values.mean().item()
        print(f"{name:<24} " + " ".join(f"{value:6.1f}" for value in (*accuracies(logits, labels).values(), sure)))


if __name__ == "__main__":
    main()
