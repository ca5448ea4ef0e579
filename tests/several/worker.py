"""One of the processes that ``tests/several`` starts with torchrun: rows, pieces and command lines, one by one.

Argument: a folder with ``work.json``, which holds weights and command lines. The first process writes ``found.pt``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import train
from caspl.errors import CasPLError, OthersFailed
from caspl.group import Group
from caspl.step import Batch, Step
from dassl.utils.logger import close_logger
from tests.cases import CASES
from tests.several.rows import ROWS, trained
from tests.trainers.building import batch, build


def normalisation(group: Group) -> dict[str, Tensor]:
    """Batch normalisation over three images here and two there: the gradient of what is normalised, and of the gain."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(5, 4, generator=generator)
    wanted = torch.randn(5, 4, generator=generator)
    mine = slice(0, 3) if group.rank == 0 else slice(3, 5)
    own, gain = whole[mine].clone().requires_grad_(), torch.ones(4, requires_grad=True)
    share = len(own) / 5
    mean = group.total(share * own.mean(dim=0))
    variance = group.total(share * (own - mean).square().mean(dim=0))
    made = gain * (own - mean) / (variance + 1e-5).sqrt()
    (share * (made - wanted[mine]).abs().pow(3).mean()).backward()
    assert own.grad is not None
    assert gain.grad is not None
    return {"images": group.cat(own.grad), "gain": group.add_up(gain.grad), "whole": whole, "wanted": wanted}


def normalised_alone(whole: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """The same by torch, in one process."""
    whole, gain = whole.clone().requires_grad_(), torch.ones(4, requires_grad=True)
    made = F.batch_norm(whole, None, None, gain, training=True)
    (made - wanted).abs().pow(3).mean().backward()
    assert whole.grad is not None
    assert gain.grad is not None
    return {"images": whole.grad, "gain": gain.grad}


def a_step_that_one_would_skip(group: Group, clips: dict[str, str], folder: Path) -> Tensor:
    """Of a scaled step, infinite in the second process alone: skipped steps, and whether tokens are as before."""
    trainer = build(CASES[2], False, clips, folder)

    def losses(output: Any, batch: Batch) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(output.logits, batch.labels) * (float("inf") if group.rank == 1 else 1.0)}

    step = Step(trainer.model, losses, trainer.optim, trainer.precision, group=group)
    step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    before = [value.detach().clone() for value in step.learned]
    step(Batch.of(batch(count=2), torch.device("cpu"), 0.5))
    same = all(torch.equal(value, kept) for value, kept in zip(step.learned, before, strict=True))
    return torch.tensor([[float(step.skipped), float(same)]])


def ended(group: Group, work: Callable[[], object]) -> Tensor:
    """Whether each process ends in something that it can do, in its own words or since another has."""
    found = 0.0
    try:
        work()
    except OthersFailed:
        found = 1.0
    except CasPLError:
        found = 2.0
    return group.cat(torch.tensor([found]))


def fail_in(rank: int, group: Group) -> None:
    if group.rank == rank:
        raise CasPLError("it fails")


def refusals(group: Group, clips: dict[str, str], folder: Path) -> dict[str, Tensor]:
    def in_turn(rank: int) -> None:
        with group.in_turn():
            fail_in(rank, group)

    trainer = build(CASES[2], False, clips, folder)

    def nested(rank: int) -> None:
        with group.in_turn(), Group.join().in_turn():
            fail_in(rank, group)

    step = Step(trainer.model, trainer.losses, trainer.optim, trainer.precision, group=group)
    step._first_bad.fill_(4 if group.rank == 1 else -1)
    return {
        "first": ended(group, lambda: group.first(lambda: fail_in(0, group))),
        "turn of the first": ended(group, lambda: in_turn(0)),
        "turn within a turn": ended(group, lambda: nested(0)),
        "turn of the second": ended(group, lambda: in_turn(1)),
        "not finite in the second": ended(group, lambda: step.require_finite(0, "lower it")),
        "other tokens": ended(group, lambda: group.require_same(torch.tensor([float(group.rank)]), "tokens")),
        "no failure": ended(group, lambda: in_turn(2)),
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    group = Group.join()
    work = json.loads((folder / "work.json").read_text())
    clips = work["clips"]
    found: dict[str, Any] = {"rows": {}}
    for number, row in enumerate(ROWS):
        found["rows"][row.name] = trained(row, clips, folder / f"row{number}")
    found["normalisation"] = normalisation(group)
    found["skipped"] = group.cat(a_step_that_one_would_skip(group, clips, folder / "skip"))
    found["refusals"] = refusals(group, clips, folder / "refuse")
    found["codes"] = []
    for command in work["commands"]:
        found["codes"].append(train.main(command))
        close_logger()
    if group.writes:
        torch.save(found, folder / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
