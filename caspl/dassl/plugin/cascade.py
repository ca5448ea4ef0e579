"""``CasPL_<X>`` for a trainer X that somebody else wrote: X, built as it is, and then boosted.

Nothing of X is changed or copied. The class made here inherits from X and adds one step to its ``build_model``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from caspl.dassl.blame import refused
from caspl.dassl.plugin.boosted_reference import boost_reference, is_embedded
from caspl.dassl.plugin.kept import Kept, kept_features
from caspl.dassl.plugin.loose import find_loose
from caspl.dassl.plugin.own_name import require_no_phase
from caspl.dassl.plugin.probe import Probe, alike, with_gradients
from caspl.dassl.plugin.rivals import Rivals
from caspl.dassl.plugin.selfcheck import Boosted, check
from caspl.dassl.plugin.stored import store
from caspl.dassl.plugin.texts import boost_text
from caspl.dassl.section import BOOSTED_PREFIX, boosting_file, check_options, require_labels, require_validation
from caspl.dassl.student import load_student
from caspl.errors import CasPLError
from caspl.hooks.foreign import EXPECTED, ForeignTower, adapted_tower, every_path, find_towers, unwrapped
from caspl.hooks.insertion import Insertion, insert
from caspl.prompts import Segment
from caspl.towers import CLIP
from caspl.towers.weights import first_difference

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hints:
    """What is not found out about a trainer, but said.

    Args:
        text_tower, image_tower: where they stand in its model, e.g. ``student.image_encoder``; empty: the outermost.
        class_start: position of the class name in its texts, counted from the start token, which is 0.
        text: whether its texts are boosted at all.
        check: whether the first batch is checked.
    """

    text_tower: str = ""
    image_tower: str = ""
    class_start: int | None = None
    text: bool = True
    check: bool = True


def cascaded(trainer: type, hints: Hints) -> type:
    """The class ``CasPL_<X>`` of a Dassl trainer X, not registered."""

    class Cascaded(trainer):
        cascade_of = trainer

        def __init__(self, cfg: CfgNode) -> None:
            if "CASPL" not in cfg.TRAINER:
                raise CasPLError("there is no section TRAINER.CASPL: call caspl.plugin.extend_cfg(cfg) in train.py")
            require_no_phase(cfg, type(self).__name__)
            cfg = cfg.clone()
            cfg.defrost()
            cfg.TRAINER.NAME = trainer.__name__  # data sets and models of some code bases ask for the name
            cfg.freeze()
            super().__init__(cfg)

        def check_cfg(self, cfg: CfgNode) -> None:
            super().check_cfg(cfg)
            check_options(cfg)

        def build_model(self) -> None:
            super().build_model()
            self._caspl_boosted, self._caspl_rivals = boost(self, hints)

        def before_train(self) -> None:
            if not self.get_model_names():
                raise CasPLError(
                    f"{type(self).__name__} learns nothing, since {trainer.__name__} registers no model: evaluate it "
                    "with --eval-only"
                )
            require_validation(self)
            super().before_train()

        def resume_model_if_exist(self, directory: str) -> Any:
            with refused(f"the run in {self.output_dir} cannot be continued ({{}}); use another OUTPUT_DIR"):
                return super().resume_model_if_exist(directory)

        def forward_backward(self, *args: Any, **kwargs: Any) -> Any:
            batch = args[0] if args else None
            images = batch.get("img") if isinstance(batch, dict) else None
            self._caspl_check(images, partial(super().forward_backward, *args, **kwargs))
            summary = super().forward_backward(*args, **kwargs)
            self._caspl_rivals.require_use()
            return summary

        def model_inference(self, *args: Any, **kwargs: Any) -> Any:
            if args:
                self._caspl_check(args[0])
            return super().model_inference(*args, **kwargs)

        def _caspl_check(self, images: Any, step: Callable[[], Any] | None = None) -> None:
            """Once, at the first batch, trained or tested on."""
            if vars(self).get("_caspl_checked", not hints.check):
                return
            self._caspl_checked = True
            images = some_images(self) if images is None else images
            if images is None:
                logger.warning("self-check: not done, the steps of %s get no images", type(self).__name__)
                return
            images = images[0] if isinstance(images, list | tuple) else images  # the first of several views
            modules = modules_of(self)
            infer = partial(super().model_inference, images.to(self.device))
            tokens = [insertion.segment.values for insertion in self._caspl_boosted.insertions]
            with with_gradients(tokens):
                check(type(self).__name__, self._caspl_boosted, Probe(self, modules, infer, step))

        def test(self, *args: Any, **kwargs: Any) -> Any:
            result = super().test(*args, **kwargs)
            self._caspl_rivals.require_use()
            return result

    Cascaded.__name__ = Cascaded.__qualname__ = BOOSTED_PREFIX + trainer.__name__
    Cascaded.__doc__ = f"{trainer.__name__} cascaded behind frozen boosting tokens (CasPL, phase 2), by hooks."
    Cascaded.__module__ = trainer.__module__
    return Cascaded


def boost(trainer: Any, hints: Hints) -> tuple[Boosted, Rivals]:
    """Put the boosting tokens of a data set into the model that a trainer has built.

    Args:
        trainer: a Dassl trainer after ``build_model``, with ``cfg`` and ``dm``.

    Returns:
        What is boosted, places where tokens go while the model runs and features that were replaced; and what looks
        whether these places run.

    Raises:
        CasPLError: if the model is not understood, or if the tokens are not its student's.
    """
    cfg = trainer.cfg
    clip, student_hash = load_student(cfg)
    model = _model(trainer, clip)
    text, image = (
        adapted_tower(model, kind, name, partial(find_loose, model, kind, clip))
        for kind, name in (("text", hints.text_tower), ("image", hints.image_tower))
    )
    for tower in (text, image):
        if tower is not None:
            _require_same_weights(tower, clip, cfg.MODEL.BACKBONE.NAME)
    require_labels(trainer.dm.dataset)
    classnames = list(trainer.dm.dataset.classnames)
    file = boosting_file(cfg, clip, student_hash, trainer.dm.dataset)
    tokens = {kind: values for kind, values in (("text", file.text), ("vision", file.vision)) if values is not None}
    segments = {kind: Segment("boosting", values, cfg.TRAINER.CASPL.TRAINABLE) for kind, values in tokens.items()}
    stored = store(trainer, model, segments)
    boosted = Boosted()
    if "vision" in segments and image is not None:
        boosted.insertions.append(insert(image, segments["vision"]))
    if "text" in segments and hints.text:
        insertion, boosted.kept = boost_text(trainer, model, text, stored, clip, hints.class_start)
        boosted.insertions += [] if insertion is None else [insertion]
    _tell(trainer, model, boosted.insertions)
    if cfg.TRAINER.CASPL.REFERENCE == "boosted":
        boosted.reference, boosted.reference_kept = boost_reference(model, image, clip, file, classnames)
    elif not boosted.kept:
        _tell_kept(kept_features(model, (len(classnames), clip.sizes.embed_dim), trainer), len(classnames))
    return boosted, Rivals(trainer, boosted.insertions, clip)


def _model(trainer: Any, clip: CLIP) -> nn.Module:
    """``self.model``, or the one module of the trainer that holds a CLIP."""
    name = type(trainer).__name__
    given = [trainer.model] if isinstance(vars(trainer).get("model"), nn.Module) else list(vars(trainer).values())
    modules = {id(item): item for item in map(unwrapped, given) if isinstance(item, nn.Module)}
    found = [item for item in modules.values() if find_towers(item, "image")]
    found = found or [item for item in modules.values() if find_loose(item, "image", clip)]
    if not found:
        resnet = any(hasattr(part, "attnpool") for item in modules.values() for part in item.modules())
        raise CasPLError(
            f"{name} holds no image tower of a CLIP: expected is self.model with a module that has "
            f"{EXPECTED['image']}, as OpenAI's, or with a list of blocks that have the weights of "
            f"{trainer.cfg.MODEL.BACKBONE.NAME}" + ("; ResNet towers have no tokens" if resnet else "")
        )
    if len(found) > 1:
        raise CasPLError(
            f"{name} holds {len(found)} CLIPs ({', '.join(type(item).__name__ for item in found)}): expected is one, "
            "as self.model"
        )
    return found[0]


def _require_same_weights(tower: ForeignTower, clip: CLIP, student: str) -> None:
    found, expected = tower.weights(), clip.openai_state_dict()
    key = first_difference(found, expected)
    if key is not None or not found.keys() & expected.keys():
        raise CasPLError(
            f"{tower} does not have the weights of {student} ({key or 'every tensor'} differs): let "
            "MODEL.BACKBONE.NAME name its weights, or put the file they were read from into the folder $CASPL_WEIGHTS"
        )


def _tell(trainer: Any, model: nn.Module, insertions: Sequence[Insertion]) -> None:
    """Say which towers are boosted and which are left plain: references, teachers, copies."""
    boosted = {insertion.name for insertion in insertions}
    others = {id(item): item for item in map(unwrapped, vars(trainer).values()) if isinstance(item, nn.Module)}
    paths = [tower for item in (model, *others.values()) for kind in EXPECTED for tower in every_path(item, kind)]
    hooked = frozenset[int]().union(*(insertion.hooked for insertion in insertions))
    shared: dict[str, None] = {}
    left: dict[str, None] = {}
    for tower in paths:
        if str(tower) not in boosted:
            running = any(id(block) in hooked for block in tower.blocks)
            (shared if running else left)[str(tower)] = None
    logger.info("boosted: %s; left plain: %s", ", ".join(sorted(boosted)) or "-", ", ".join(left) or "-")
    if shared:
        logger.info("boosted as well, since its blocks are the same: %s", ", ".join(shared))


def _tell_kept(kept: Sequence[Kept], classes: int) -> None:
    """Say which tensors look like text features that were made once, and stay what they are."""
    names = [name for item in kept if not is_embedded(item, classes) for name in item.names]
    if names:
        logger.info("of the shape of text features, left as made: %s", ", ".join(names))


def some_images(trainer: Any) -> Tensor | None:
    """Images for a self-check of a trainer whose steps get none, (up to 4, 3, height, width); None without data."""
    dataset = getattr(vars(trainer).get("train_loader_x"), "dataset", ())
    if not len(dataset):
        return None
    with alike():
        found = [dataset[index]["img"] for index in range(min(4, len(dataset)))]
    return torch.stack([item[0] if isinstance(item, list | tuple) else item for item in found])


def modules_of(trainer: Any) -> list[nn.Module]:
    """All modules that a trainer holds, with their parts, each once."""
    held = [*vars(trainer).values(), *trainer._models.values()]
    found = {id(part): part for item in held if isinstance(item, nn.Module) for part in item.modules()}
    return list(found.values())
