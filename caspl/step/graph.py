"""Work that is recorded once and repeated: on a GPU one launch instead of thousands, since Python waits in between.

A recording repeats kernels on the same memory. What Python decides or draws while recording would be the same in every
repetition, and so: work that waits for the device or draws random numbers on the host is not recorded; every recording
is first compared, on other inputs, with the work itself; and whatever goes wrong, the work is done as it is.
"""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from caspl.errors import first_line

logger = logging.getLogger(__name__)

Work = Callable[..., Sequence[Tensor]]
"""Tensors -> tensors, of shapes that follow from theirs."""
WAITS = "called a synchronizing CUDA operation"
WARM = 3
"""Times that work is done before it is recorded: libraries choose their kernels and allocate in the first."""
DOUBTS = 5
"""Comparisons of numbers that are not finite, after which a recording is given up."""
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.1}
"""How far a repetition may be from the work itself, relative to its norm, by the type that it computes in: some kernels
add in another order each time. What is wrong is off by its whole size."""


class Recorder(Protocol):
    """Records what a device is told to do."""

    def warm(self, work: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], str]:
        """Do it where it will be recorded; returns what it gives, and what in it waits for the device, if anything."""

    def record(self, work: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], Callable[[], None]]:
        """Record it without doing it; returns the tensors that it gives, and what does it."""

    def release(self) -> None:
        """Give back memory that nothing uses."""

    def random_state(self) -> Tensor:
        """Of the device's generator."""

    def set_random_state(self, state: Tensor) -> None:
        """Go back to a state."""


class CudaRecorder:
    """CUDA graphs (torch.cuda.graph).

    Args:
        device: a CUDA device.
    """

    failed = False  # once a recording has broken off, none is tried again in this process
    streams: ClassVar[dict[torch.device, torch.cuda.Stream]] = {}  # libraries keep work space for each

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = self.streams.setdefault(device, torch.cuda.Stream(device))
        self.told: dict[Any, Any] = {}  # what is warned of once is not warned of again

    def warm(self, work: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], str]:
        self.outer = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(self.outer)
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as told, torch.cuda.stream(self.stream):
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                made = work()
            finally:
                torch.cuda.set_sync_debug_mode(before)
                self.outer.wait_stream(self.stream)
        waits = [str(one.message) for one in told if WAITS in str(one.message)]
        for one in told:
            if "synchronizing" not in str(one.message):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno, registry=self.told)
        return made, waits[0].splitlines()[0] if waits else ""

    def record(self, work: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], Callable[[], None]]:
        if CudaRecorder.failed:
            raise RuntimeError("an earlier recording of this process broke off")
        graph = torch.cuda.CUDAGraph()
        outer = torch.cuda.current_stream(self.device)
        CudaRecorder.failed = True
        try:
            # Other threads, such as those that pin the loader's memory, may go on meanwhile.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                made = work()
        finally:
            torch.cuda.set_stream(outer)  # where ending the recording fails, torch leaves its stream in place
        CudaRecorder.failed = False
        return made, graph.replay

    def release(self) -> None:
        torch.cuda.empty_cache()

    def random_state(self) -> Tensor:
        return torch.cuda.get_rng_state(self.device)

    def set_random_state(self, state: Tensor) -> None:
        torch.cuda.set_rng_state(state, self.device)


class Recorded:
    """Work on tensors, done as it is, or repeated from a recording where the inputs have its shapes.

    Args:
        work: what is done; it must give the same tensors each time, in the same order.
        recorder: of the device.
        name: in words, for the log.
        state: tensors that the work changes in place.
        computes: the type that it computes in, for :data:`TOLERANCE`.
        compared: of what it gives, what must agree; by default all of it.
    """

    def __init__(
        self,
        work: Work,
        recorder: Recorder,
        name: str,
        state: Sequence[Tensor] = (),
        computes: torch.dtype = torch.float32,
        compared: Callable[[Sequence[Tensor]], Sequence[Tensor]] = list,
    ) -> None:
        self.work, self.recorder, self.name, self.state = work, recorder, name, list(state)
        self.compared = compared
        self.tolerance = TOLERANCE.get(computes, TOLERANCE[torch.float16])
        self.warmed = 0
        self.trusted = False
        self.doubtful = 0  # comparisons that said nothing
        self.reason = ""  # why it is done as it is
        self._shapes: list[tuple[torch.Size, torch.dtype]] = []
        self._inputs: list[Tensor] = []
        self._outputs: Sequence[Tensor] = ()
        self._repeat: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """What the work gives; from a recording the same tensors each time, overwritten in the next call."""
        shapes = [(value.shape, value.dtype) for value in inputs]
        if self.reason or (self._shapes and shapes != self._shapes):
            return self._eager(inputs)
        self._shapes = shapes
        if self._repeat is None:
            return self._before(inputs)
        if not self.trusted:
            return self._compared(inputs)
        self._again(inputs)
        return self._outputs

    def _before(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Warm up; after that record, and still do the work as it is."""
        if self.warmed < WARM:
            self.warmed += 1
            host = _host_random()
            made, waits = self.recorder.warm(lambda: self.work(*inputs))
            if waits and self.warmed == WARM:  # what is waited for at first alone, to make ready, does not count
                self._give_up(f"it waits for the device ({waits})")
            elif host != _host_random():
                self._give_up("it draws random numbers on the host")
            return made
        self._inputs = [value.clone() for value in inputs]
        try:
            self._outputs, self._repeat = self.recorder.record(lambda: self.work(*self._inputs))
        except Exception as error:  # whatever a library has against being recorded
            self._give_up(f"it cannot be recorded: {first_line(error)}")
        return self._eager(inputs)

    def _compared(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Repeat and do the work as it is; trust the recording if both give the same."""
        before, drawn = [value.clone() for value in self.state], self.recorder.random_state()
        self._again(inputs)
        found = [value.clone() for value in self.compared(self._outputs)]
        for value, kept in zip(self.state, before, strict=True):
            value.copy_(kept)
        self.recorder.set_random_state(drawn)
        made = self._eager(inputs)
        if self._repeat is None:
            return made
        own = self.compared(made)
        if not all(bool(value.isfinite().all()) for value in (*found, *own)):  # as where a scaled loss overflows
            self.doubtful += 1
            if self.doubtful == DOUBTS:
                self._give_up("its numbers are not finite")
            return made
        off = _distance(found, own)
        if off <= self.tolerance:
            self.trusted = True
            logger.info("%s is recorded and repeated (off by %.1e)", self.name, off)
        else:
            self._give_up(f"a repetition is off by {off:.1e}: it depends on more than its images and labels")
        return made

    def _eager(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Do the work as it is; where the recording's memory is in the way, without the recording from then on."""
        before = [value.clone() for value in self.state]
        try:
            return self.work(*inputs)
        except torch.OutOfMemoryError:
            if self._repeat is None:
                raise
        self._give_up("there is no memory for it beside what is not recorded")
        self.recorder.release()
        for value, kept in zip(self.state, before, strict=True):
            value.copy_(kept)
        return self.work(*inputs)

    def _again(self, inputs: Sequence[Tensor]) -> None:
        for value, given in zip(self._inputs, inputs, strict=True):
            value.copy_(given, non_blocking=True)
        assert self._repeat is not None
        self._repeat()

    def _give_up(self, reason: str) -> None:
        self.reason, self._repeat, self._outputs, self._inputs = reason, None, (), []
        logger.info("%s is not recorded: %s", self.name, reason)


def _distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """The largest distance of two tensors at the same place, relative to the second one's norm."""
    if len(first) != len(second):
        return float("inf")
    worst = 0.0
    for one, other in zip(first, second, strict=True):
        a, b = one.detach().double().flatten(), other.detach().double().flatten()
        if a.shape != b.shape:
            return float("inf")
        worst = max(worst, float((a - b).norm() / b.norm().clamp(min=1e-12)) if not torch.equal(a, b) else 0.0)
    return worst


def _host_random() -> tuple[Any, ...]:
    """The states of the host's generators, to be compared."""
    drawn = np.random.get_state(legacy=False)
    return (torch.get_rng_state().numpy().tobytes(), random.getstate(), str(drawn))
