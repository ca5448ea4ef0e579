"""The training step: a batch in, numbers out. Every trainer's, ours and the plug-in's, phase 1 and phase 2.

Nothing in :meth:`Step.compute` or the backward pass waits for the device: numbers come back as tensors, and whether a
loss was finite is noted on the device and asked later (:meth:`Step.require_finite`).

Where several processes have a batch together, each weights its loss by its share of the images, and the gradients are
summed once, after the backward pass: for losses that are means over images, or have nothing to do with them, that is
the gradient of the whole batch's loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caspl.group import Group
from caspl.model import Output, PromptedCLIP, TextFeatures
from caspl.step.batch import Batch
from caspl.step.graph import Recorded, Recorder
from caspl.step.precision import Precision

Layout = tuple[tuple[str, ...], list[Tensor]]
"""Names of the numbers of a pass, and the tensors that it has given a gradient."""
Terms = dict[str, Tensor]
"""Name -> scalar."""


class Steering(NamedTuple):
    """Losses that are not minimised, but whose gradient has a say in that of the others (ProGrad).

    Args:
        terms: their names.
        rule: gradient of what is minimised, gradient of these -> gradient to step by; tensor by tensor. It must be
            homogeneous in both together, since a scaled loss scales both.
    """

    terms: tuple[str, ...]
    rule: Callable[[Tensor, Tensor], Tensor]


class Step:
    """One model's step.

    Args:
        model: whose prompts learn.
        losses: named terms of an output; their sum is minimised.
        optimizer: of the prompts.
        precision: in which to compute.
        metrics: further numbers to report.
        choose: called before the forward pass: numbers of the classes that the logits are of; None for all.
        recorder: of the device, if forward and backward pass may be recorded and repeated; see
            :mod:`caspl.step.graph`.
        steering: losses that steer the gradient, if there are any.
        group: of the processes that have each batch together.
        clip_norm: largest norm of all gradients together, beyond which they are scaled down to it; 0: any.
    """

    def __init__(
        self,
        model: PromptedCLIP,
        losses: Callable[[Output, Batch], Terms],
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        metrics: Callable[[Output, Batch], Terms] | None = None,
        recorder: Recorder | None = None,
        group: Group | None = None,
        steering: Steering | None = None,
        choose: Callable[[Batch], Tensor | None] | None = None,
        clip_norm: float = 0.0,
    ) -> None:
        self.choose, self.clip_norm = choose, clip_norm
        self.model, self.losses, self.optimizer, self.precision = model, losses, optimizer, precision
        self.metrics, self.steering = metrics, steering
        self.group = group if group is not None and group.world > 1 else None
        self.scaler = precision.scaler()
        self.skipped = 0
        self._stepped = False
        optimizer.register_step_post_hook(self._note)
        self.text: TextFeatures | None = None
        device = precision.device
        self._count = torch.zeros((), dtype=torch.long, device=device)
        self._first_bad = torch.full((), -1, dtype=torch.long, device=device)
        if self.group is not None:
            self.group.share = torch.ones((), device=device)  # written in place: a recording reads it where it is
        self._last: Layout | None = None
        self._of_recording: Layout | None = None
        self._recorded: Recorded | None = None
        self._steers: list[Tensor] = []  # gradients of the losses that steer
        if recorder is not None and (self.group is None or steering is None):
            # Beside what it notes itself, a normalisation's running values.
            state = (self._count, self._first_bad, *model.vision.buffers())
            self._recorded = Recorded(self._pass, recorder, "the step", state, precision.computes, self._compared)

    @property
    def learned(self) -> list[Tensor]:
        """What the optimizer steps."""
        return [value for group in self.optimizer.param_groups for value in group["params"]]

    def __call__(self, batch: Batch) -> Terms:
        """Step once; returns the numbers to report, scalars on the device: the loss, metrics, and terms if several."""
        if self.group is not None and self.group.share is not None:
            self.group.share.fill_(batch.share)
        if self._recorded is None:
            numbers = self.gradients(batch)
        else:
            self._asked, self._last = batch, None
            made = self._recorded(batch.images, batch.labels, *batch.stored.values())
            layout = self._last or self._of_recording  # of this very pass, or of the one that was repeated
            assert layout is not None
            names, reached = layout
            for value, grad in zip(reached, made[len(names) :], strict=True):
                value.grad = grad
            # The next step overwrites them, and they are read later.
            numbers = dict(zip(names, torch.stack(list(made[: len(names)])).unbind(), strict=True))
        if self.group is not None:
            numbers = self._of_all(numbers, self.group)
        self._update()
        return numbers

    def gradients(self, batch: Batch) -> Terms:
        """Forward and backward pass: the numbers to report; gradients of the scaled loss are then in ``.grad``."""
        self.optimizer.zero_grad()
        loss, steers, numbers = self._compute(batch)
        self._steers = []
        if steers is not None:
            scaled = self.scaler.scale(self._part(steers))
            self._steers = list(torch.autograd.grad(scaled, self.learned, retain_graph=True, materialize_grads=True))
        loss = self._part(loss)
        self.scaler.scale(loss).backward()
        if self.group is None:  # else the sums over the processes are steered
            self._steer()
        return numbers

    def compute(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Forward pass and losses: the loss, with its graph, and the numbers to report, without."""
        loss, _, numbers = self._compute(batch)
        return loss, numbers

    def _compute(self, batch: Batch) -> tuple[Tensor, Tensor | None, Terms]:
        """Likewise, with the sum of the losses that steer in the middle."""
        with self.precision.compute():
            chosen = None if self.choose is None else self.choose(batch)
            output = self.model(batch.first, self.text, chosen, batch.image)
            terms = self.losses(output, batch)
        each = torch.stack([term.float() for term in terms.values()])
        loss, steers = each.sum(), None
        if self.steering is not None:
            steers = torch.stack([terms[name].float() for name in self.steering.terms]).sum()
            loss = torch.stack([term.float() for name, term in terms.items() if name not in self.steering.terms]).sum()
        numbers = {"loss": loss} | (self.metrics(output, batch) if self.metrics is not None else {})
        if len(terms) > 1:
            numbers |= dict(zip(terms, each.unbind(), strict=True))
        self._look_at(loss.detach())
        return loss, steers, {name: value.detach() for name, value in numbers.items()}

    def begin_epoch(self) -> None:
        """Count steps from here on; where nothing in the texts learns, compute their features, for the whole epoch."""
        self._count.zero_()
        if not self.model.text_learns and not self.model.text.conditional:
            with torch.no_grad(), self.precision.compute():
                text = self.model.encode_texts()
            self.text = self.text or {name: torch.empty_like(value) for name, value in text.items()}
            for name, value in text.items():  # in place: a recording reads them where they were
                self.text[name].copy_(value)

    def require_finite(self, epoch: int, advice: str) -> None:
        """Refuse to go on if a loss was not finite. This waits for the device.

        Args:
            epoch: counted from 0.
            advice: what to do about it.

        Raises:
            CasPLError: naming the first step with such a loss.
        """
        first = int(self._first_bad)
        if self.group is not None:  # where it was not finite in one process, all end
            never = torch.iinfo(torch.long).max
            first = int(self.group.least(torch.tensor(first if first >= 0 else never)))
            first = -1 if first == never else first
        if first >= 0:
            raise (self.group or Group()).refusal(not_finite(epoch, first, advice))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; one of a run without loss scaling says nothing of the scale."""
        if state.get("scaler") and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.skipped = state.get("skipped", 0)

    def _part(self, loss: Tensor) -> Tensor:
        """This process's part of a loss that is a mean over images."""
        return loss if self.group is None or self.group.share is None else loss * self.group.share

    def _steer(self) -> None:
        """Change the gradients by those of the losses that steer."""
        if self.steering is not None:
            for value, grad in zip(self.learned, self._steers, strict=True):
                if value.grad is not None:
                    value.grad.copy_(self.steering.rule(value.grad, grad))

    def _of_all(self, numbers: Terms, group: Group) -> Terms:
        """Sum the gradients over the processes, and average the numbers, which are means over images, in one go."""
        assert group.share is not None
        reached = [value for value in self.learned if value.grad is not None]
        grads = [value.grad.float().flatten() for value in reached if value.grad is not None]
        grads += [grad.float().flatten() for grad in self._steers]
        told = torch.stack([value.float().reshape(()).to(group.share.device) for value in numbers.values()])
        whole = group.add_up(torch.cat([*grads, told * group.share]))
        *pieces, told = whole.split([*(len(grad) for grad in grads), len(told)])
        for value, piece in zip(reached, pieces[: len(reached)], strict=True):
            value.grad = piece.view_as(value).to(value.dtype)
        steers = pieces[len(reached) :]
        self._steers = [piece.view_as(value) for value, piece in zip(self.learned, steers, strict=False)]
        self._steer()
        return dict(zip(numbers, told.unbind(), strict=True))

    def _update(self) -> None:
        self._stepped = False
        if self.clip_norm:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.learned, self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.skipped += not self._stepped

    def _note(self, *_: object) -> None:
        """After the optimizer's step, which a scaler leaves out where gradients are not finite."""
        self._stepped = True

    def _pass(self, images: Tensor, labels: Tensor, *stored: Tensor) -> list[Tensor]:
        """As :meth:`gradients`, for a recording: numbers in float32, then gradients."""
        asked = self._asked
        # What a loader tells beside images and labels is there in the batch that it belongs to alone.
        own = images is asked.images
        numbers = self.gradients(asked if own else asked.with_tensors(images, labels, stored))
        reached = [value for value in self.learned if value.grad is not None]
        layout = (tuple(numbers), reached)
        if own:
            self._last = layout
        else:
            self._of_recording = layout
        # Numbers of a user's may be elsewhere, or of one element in another shape.
        told = [value.float().reshape(()).to(images.device) for value in numbers.values()]
        return [*told, *(value.grad for value in reached if value.grad is not None)]

    def _compared(self, made: Sequence[Tensor]) -> list[Tensor]:
        """The loss, and all gradients as one: those of single tensors may be no more than rounding."""
        assert self._of_recording is not None
        grads = made[len(self._of_recording[0]) :]
        return [made[0], torch.cat([grad.flatten().float() for grad in grads])]

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
