"""The checkpoints of the CasPL authors' code (``CasPL/model.pth.tar-20``): boosting tokens under its key names.

First layer: ``prompt_learner_teacher.ctx`` (text), ``image_encoder.VPT_FIRST``; later ones:
``<tower>.transformer.resblocks.<1, 2, ...>.VPT_shallow_FIRST``; each (length, width). Both phases use these keys. The
frozen towers lie beside them, under OpenAI's names behind ``text_encoder.`` and ``image_encoder.``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from caspl.boosting.file import require_towers
from caspl.convert.state import State
from caspl.errors import CasPLError, advising
from caspl.towers import CLIP

FIRST_LAYER = {"text_encoder": "prompt_learner_teacher.ctx", "image_encoder": "image_encoder.VPT_FIRST"}
PHASE_2 = "prompt_learner."  # the adapting tokens


@dataclass(frozen=True)
class Released:
    """What is read from a checkpoint of the release.

    Args:
        state: the file.
        text, vision: boosting tokens, (depth, length, width), float32.
        epochs: of phase 1; None where the file does not tell (one of phase 2 counts that phase's).
    """

    state: State
    text: Tensor
    vision: Tensor
    epochs: int | None

    def require_student(self, student: str, clip: CLIP) -> tuple[int, int]:
        """Refuse a student that the tokens do not fit or that the frozen towers are not those of.

        Returns:
            How many tensors of the student's were compared, and how many it has.

        Raises:
            CasPLError: naming the first difference.
        """
        with advising(f"that is {student}: name another student with --student"):
            require_towers(str(self.state.path), self.text, self.vision, clip)
        return self.state.require_towers(student, clip)


def has_boosting(state: State) -> bool:
    """Whether there are any boosting tokens."""
    return any(_boosting_keys(state, tower) for tower in FIRST_LAYER)


def read_released(state: State) -> Released:
    """The boosting tokens of a checkpoint of either phase.

    Raises:
        CasPLError: if it is no such checkpoint, or a damaged one.
    """
    if not has_boosting(state):
        shown = [*sorted(state.entries)[:3], *["..."] * (len(state.entries) > 3)]
        raise CasPLError(
            f"{state.path} holds neither boosting tokens ({', '.join(FIRST_LAYER.values())}) nor those of CoOp, "
            f"CoCoOp, IVLP, MaPLe or PromptSRC, only {', '.join(shown) or 'nothing'}; give phase 1's checkpoint, "
            "CasPL/model.pth.tar-20, or one of theirs"
        )
    text, vision = (_tokens(state, tower) for tower in FIRST_LAYER)
    phase_1 = not any(key.startswith(PHASE_2) for key in state.entries)
    return Released(state, text, vision, state.epoch if phase_1 else None)


def _boosting_keys(state: State, tower: str) -> set[str]:
    """All keys of a tower's boosting tokens."""
    return {
        key
        for key in state.entries
        if key == FIRST_LAYER[tower] or (key.startswith(f"{tower}.") and key.endswith(".VPT_shallow_FIRST"))
    }


def _tokens(state: State, tower: str) -> Tensor:
    """A tower's tokens, (depth, length, width), float32."""
    found = _boosting_keys(state, tower)
    later = (f"{tower}.transformer.resblocks.{layer}.VPT_shallow_FIRST" for layer in range(1, len(found)))
    keys = [FIRST_LAYER[tower], *later]
    if found != set(keys):
        raise CasPLError(
            f"{state.path} lacks boosting tokens: beside {', '.join(sorted(found)) or 'the other tower'} there is no "
            f"{next(key for key in keys if key not in found)}; take the file from its origin again"
        )
    return state.layers(keys)
