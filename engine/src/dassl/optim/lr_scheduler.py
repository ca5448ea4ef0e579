"""Learning-rate schedules by name, with an optional warm-up in front.

One step is one epoch; trainers call it in the last batch of an epoch.
"""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR
from yacs.config import CfgNode

__all__ = ["AVAI_SCHEDS", "ConstantWarmupScheduler", "LinearWarmupScheduler", "build_lr_scheduler"]

AVAI_SCHEDS = ["single_step", "multi_step", "cosine"]


class _WarmupScheduler(LRScheduler):
    """Sets the learning rate itself for some epochs, then hands over to another schedule.

    In epoch ``warmup_epoch`` the successor's first value holds; from then on each step is the successor's.
    """

    def __init__(self, optimizer: Optimizer, successor: LRScheduler, warmup_epoch: int, last_epoch: int) -> None:
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        super().__init__(optimizer, last_epoch)

    def warmup_lr(self, base_lr: Any) -> Any:
        """Return the learning rate of epoch ``last_epoch`` for a group that ends at ``base_lr``."""
        raise NotImplementedError

    def get_lr(self) -> list[Any]:
        """Return the learning rate of every parameter group for the current epoch."""
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        return [self.warmup_lr(base_lr) for base_lr in self.base_lrs]

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch."""
        if self.last_epoch >= self.warmup_epoch:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values only: the own state, and the successor's nested as "successor"."""
        state = super().state_dict()
        return {**state, "successor": self.successor.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, also one of an older version, which holds the successor as an object.

        The successor stays the one that drives the present optimizer; it only takes over the numbers.
        """
        state = dict(state_dict)
        successor = state.pop("successor")
        if not isinstance(successor, dict):
            successor = {key: value for key, value in vars(successor).items() if key != "optimizer"}
        super().load_state_dict(state)
        self.successor.load_state_dict(successor)


class ConstantWarmupScheduler(_WarmupScheduler):
    """Warm-up at one small learning rate.

    Args:
        optimizer: the optimizer.
        successor: the schedule afterwards, built on the same optimizer.
        warmup_epoch: how many epochs.
        cons_lr: the learning rate of all parameter groups meanwhile.
        last_epoch: -1 to begin.
        verbose: ignored; older code passes it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        cons_lr: float,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def warmup_lr(self, base_lr: Any) -> Any:
        """Return the constant."""
        return self.cons_lr


class LinearWarmupScheduler(_WarmupScheduler):
    """Warm-up along a line to the full learning rate, its first epoch at a minimum.

    Args:
        optimizer: the optimizer.
        successor: the schedule afterwards, built on the same optimizer.
        warmup_epoch: how many epochs.
        min_lr: the learning rate of the first epoch.
        last_epoch: -1 to begin.
        verbose: ignored; older code passes it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        min_lr: float,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def warmup_lr(self, base_lr: Any) -> Any:
        """Return the minimum first, then equal steps."""
        return self.min_lr if self.last_epoch == 0 else base_lr * self.last_epoch / self.warmup_epoch


def build_lr_scheduler(optimizer: Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    """Build the schedule that ``optim_cfg.LR_SCHEDULER`` asks for, with its warm-up if WARMUP_EPOCH > 0.

    Args:
        optimizer: the optimizer.
        optim_cfg: the section OPTIM.

    Raises:
        ValueError: an unknown schedule or warm-up.
        TypeError: STEPSIZE has the wrong type for the schedule.
    """
    scheduler = _build_main(optimizer, optim_cfg)
    if optim_cfg.WARMUP_EPOCH <= 0:
        return scheduler
    if not optim_cfg.WARMUP_RECOUNT:
        # The published behaviour: the count runs on, the learning rate has not moved yet.
        scheduler.last_epoch = optim_cfg.WARMUP_EPOCH
    if optim_cfg.WARMUP_TYPE == "constant":
        return ConstantWarmupScheduler(optimizer, scheduler, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_CONS_LR)
    if optim_cfg.WARMUP_TYPE == "linear":
        return LinearWarmupScheduler(optimizer, scheduler, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_MIN_LR)
    raise ValueError(f"warmup type must be one of ['constant', 'linear'], but got {optim_cfg.WARMUP_TYPE}")


def _build_main(optimizer: Optimizer, cfg: CfgNode) -> LRScheduler:
    if cfg.LR_SCHEDULER == "single_step":
        return StepLR(optimizer, step_size=_step_size(cfg), gamma=cfg.GAMMA)
    if cfg.LR_SCHEDULER == "multi_step":
        if not isinstance(cfg.STEPSIZE, (list, tuple)):
            raise TypeError(f"For multi_step lr_scheduler, stepsize must be a list, but got {type(cfg.STEPSIZE)}")
        return MultiStepLR(optimizer, milestones=list(cfg.STEPSIZE), gamma=cfg.GAMMA)
    if cfg.LR_SCHEDULER == "cosine":
        return CosineAnnealingLR(optimizer, T_max=cfg.MAX_EPOCH)
    raise ValueError(f"scheduler must be one of {AVAI_SCHEDS}, but got {cfg.LR_SCHEDULER}")


def _step_size(cfg: CfgNode) -> int:
    size = cfg.STEPSIZE[-1] if isinstance(cfg.STEPSIZE, (list, tuple)) else cfg.STEPSIZE
    if not isinstance(size, int):
        raise TypeError(f"For single_step lr_scheduler, stepsize must be an integer, but got {type(size)}")
    return size if size > 0 else cfg.MAX_EPOCH
