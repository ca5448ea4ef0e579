"""The cascade, and phase 1, under a trainer's own name: ``TRAINER.CASPL.PHASE`` switches them on.

Some code bases look at the trainer's name before anything is built (MMRL's ``train.py`` knows two names and refuses
all others), so that ``--trainer CasPL_X`` never comes to be built there.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from yacs.config import CfgNode

from caspl.dassl.plugin.stored import STORED_AS
from caspl.dassl.section import BOOSTED_PREFIX
from caspl.errors import CasPLError
from caspl.hooks.foreign import unwrapped
from dassl.engine import TRAINER_REGISTRY

PHASE_1 = "CasPL"
OWN: dict[str, Any] = {"PHASE": 0}  # 0: as the trainer's name says | 1: learn boosting tokens | 2: X behind them
"""Keys of ``TRAINER.CASPL`` that only the plug-in has."""


def by_phase(trainer: type) -> type:
    """A trainer X that becomes ``CasPL`` or ``CasPL_<X>`` where the config says so, and else stays what it is.

    As X it refuses checkpoints of ``CasPL_<X>``: loaders that are not strict would leave the boosting tokens out.

    Args:
        trainer: X, a Dassl trainer.

    Returns:
        A subclass of the same name, for the registry.
    """

    class OwnName(trainer):
        caspl_own = trainer

        def __new__(cls, cfg: CfgNode | None = None, *args: Any, **kwargs: Any) -> Any:
            phase = 0 if cfg is None else asked_phase(cfg)  # none: a copy is made
            if cfg is None or phase == 0 or cls is not OwnName:
                return super().__new__(cls)
            name = PHASE_1 if phase == 1 else BOOSTED_PREFIX + trainer.__name__
            if name not in TRAINER_REGISTRY.registered_names():
                raise CasPLError(f"TRAINER.CASPL.PHASE is {phase}, but {trainer.__name__} has no cascade: leave it 0")
            cfg = cfg.clone()
            cfg.defrost()
            cfg.TRAINER.NAME, cfg.TRAINER.CASPL.PHASE = name, 0
            cfg.freeze()
            return TRAINER_REGISTRY.get(name)(cfg, *args, **kwargs)

        def build_model(self) -> None:
            super().build_model()
            for module in map(unwrapped, self._models.values()):
                if isinstance(module, nn.Module):
                    refuse_boosted(trainer.__name__, module)

    OwnName.__name__, OwnName.__qualname__ = trainer.__name__, trainer.__qualname__
    OwnName.__doc__, OwnName.__module__ = trainer.__doc__, trainer.__module__
    return OwnName


def asked_phase(cfg: CfgNode) -> int:
    """What ``TRAINER.CASPL.PHASE`` says.

    Raises:
        CasPLError: for another number.
    """
    phase = cfg.TRAINER.get("CASPL", {}).get("PHASE", 0)
    if phase not in (0, 1, 2):
        raise CasPLError(
            f"TRAINER.CASPL.PHASE is 0 (as --trainer says), 1 (learn boosting tokens) or 2 (adapt behind them), not "
            f"{phase!r}"
        )
    return int(phase)


def require_no_phase(cfg: CfgNode, name: str) -> None:
    """Refuse a phase beside a name that says one.

    Raises:
        CasPLError: naming both.
    """
    phase = asked_phase(cfg)
    if phase and phase != (1 if name == PHASE_1 else 2):
        raise CasPLError(
            f"TRAINER.CASPL.PHASE is {phase}, but --trainer {name} is phase {1 if name == PHASE_1 else 2}: say one"
        )


def refuse_boosted(name: str, module: nn.Module) -> None:
    """Let a module refuse the checkpoints of a cascade.

    Args:
        name: of the trainer that stands without it.
        module: one that it has registered.
    """

    def look(state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if any(f".{key}".startswith(f".{STORED_AS}.") for key in (item.removeprefix(prefix) for item in state_dict)):
            raise CasPLError(
                f"this checkpoint holds boosting tokens: it is of {BOOSTED_PREFIX}{name}, and {name} would run it "
                f"without them; use --trainer {BOOSTED_PREFIX}{name}, or TRAINER.CASPL.PHASE 2"
            )

    module._register_load_state_dict_pre_hook(look)  # public since torch 2.5 only
