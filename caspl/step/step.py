"""The training step: a batch in, numbers out. Every trainer's, ours and the plug-in's, phase 1 and phase 2.

Nothing in :meth:`Step.compute` or the backward pass waits for the device: numbers come back as tensors, and whether a
loss was finite is noted on the device and asked later (:meth:`Step.require_finite`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from caspl.errors import CasPLError
from caspl.model import Output, PromptedCLIP, TextFeatures
from caspl.step.batch import Batch
from caspl.step.precision import Precision

Terms = dict[str, Tensor]
"""Name -> scalar."""


class Step:
    """One model's step.

    Args:
        model: whose prompts learn.
        losses: named terms of an output; their sum is minimised.
        optimizer: of the prompts.
        precision: in which to compute.
        metrics: further numbers to report.
    """

    def __init__(
        self,
        model: PromptedCLIP,
        losses: Callable[[Output, Batch], Terms],
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        metrics: Callable[[Output, Batch], Terms] | None = None,
    ) -> None:
        self.model, self.losses, self.optimizer, self.precision = model, losses, optimizer, precision
        self.metrics = metrics
        self.scaler = precision.scaler()
        self.skipped = 0
        self._stepped = False
        optimizer.register_step_post_hook(self._note)
        self.text: TextFeatures | None = None
        device = precision.device
        self._count = torch.zeros((), dtype=torch.long, device=device)
        self._first_bad = torch.full((), -1, dtype=torch.long, device=device)

    def __call__(self, batch: Batch) -> Terms:
        """Step once; returns the numbers to report, scalars on the device: the loss, metrics, and terms if several."""
        loss, numbers = self.compute(batch)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self._update()
        return numbers

    def compute(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Forward pass and losses: the loss, with its graph, and the numbers to report, without."""
        with self.precision.compute():
            output = self.model(batch.images, self.text)
            terms = self.losses(output, batch)
        each = torch.stack([term.float() for term in terms.values()])
        loss = each.sum()
        numbers = {"loss": loss} | (self.metrics(output, batch) if self.metrics is not None else {})
        if len(terms) > 1:
            numbers |= dict(zip(terms, each.unbind(), strict=True))
        self._look_at(loss.detach())
        return loss, {name: value.detach() for name, value in numbers.items()}

    def begin_epoch(self) -> None:
        """Count steps from here on; where nothing in the texts learns, compute their features, for the whole epoch."""
        self._count.zero_()
        if not self.model.text_learns and not self.model.text.conditional:
            with torch.no_grad(), self.precision.compute():
                self.text = self.model.encode_texts()

    def require_finite(self, epoch: int, advice: str) -> None:
        """Refuse to go on if a loss was not finite. This waits for the device.

        Args:
            epoch: counted from 0.
            advice: what to do about it.

        Raises:
            CasPLError: naming the first step with such a loss.
        """
        first = int(self._first_bad)
        if first >= 0:
            raise CasPLError(not_finite(epoch, first, advice))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; one of a run without loss scaling says nothing of the scale."""
        if state.get("scaler") and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.skipped = state.get("skipped", 0)

    def _update(self) -> None:
        self._stepped = False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.skipped += not self._stepped

    def _note(self, *_: object) -> None:
        """After the optimizer's step, which a scaler leaves out where gradients are not finite."""
        self._stepped = True

    def _look_at(self, loss: Tensor) -> None:
        new = ~torch.isfinite(loss) & (self._first_bad < 0)
        self._first_bad.copy_(torch.where(new, self._count, self._first_bad))
        self._count.add_(1)


def not_finite(epoch: int, batch: int, advice: str) -> str:
    """The sentence for a loss that is not finite; both counted from 0."""
    return f"the loss is not finite in epoch {epoch + 1}, batch {batch + 1}; {advice}"


def accuracy(output: Output, batch: Batch) -> Terms:
    """Share of the batch that is classified rightly, in percent."""
    return {"acc": 100 * (output.logits.argmax(dim=1) == batch.labels).float().mean()}
