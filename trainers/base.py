"""The trainer that all methods share: everything but a method's segments and losses is written here, once.

A method is a subclass that states its config section, builds its :class:`~caspl.prompts.Prompts` and, if
cross-entropy is not all, its losses. What trains follows from the segments; what is saved are the segments.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.nn import functional as F
from yacs.config import CfgNode

from caspl.checkpoint import SegmentStore, find_checkpoint, read_checkpoint
from caspl.dassl.blame import refused
from caspl.dassl.outcome import VIEWS, Sections
from caspl.dassl.run_folder import keep_settings, require_same_method
from caspl.dassl.section import check_options, given_texts, require_labels
from caspl.dassl.stepping import Stepping
from caspl.dassl.student import given_pixels, load_student
from caspl.errors import CasPLError, advising
from caspl.group import Group
from caspl.model import Output, PromptedCLIP
from caspl.prompts import Prompts
from caspl.results.answers import write_classes, write_confusion, write_predictions
from caspl.runtime import Runtime
from caspl.step import Batch, Precision, Terms
from caspl.step.precision import check_mode
from caspl.teachers import Reference
from caspl.towers import CLIP
from caspl.towers.tokenizer import encode
from dassl.engine import TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from trainers.history import History
from trainers.own_features import OwnFeatures
from trainers.recorder import RunRecorder

logger = logging.getLogger(__name__)

SHARED = [Path(__file__).resolve()]


def validates_apart(dataset: Any) -> bool:
    """Whether a data set has validation images, none of which is a test image, as ImageNet's are in CoOp's protocol."""
    val, test = ({item.impath for item in part or ()} for part in (dataset.val, dataset.test))
    if val & test:
        logger.warning("%s validates on its test images: they are not looked at", type(dataset).__name__)
    return bool(val) and not val & test


class PromptTrainer(OwnFeatures, Stepping, TrainerX):
    """Few-shot training of prompt segments in a frozen CLIP.

    Class attributes:
        section: the method's section under ``TRAINER``.
        defaults: that section's keys and defaults, as published.
        saved_as: folder of the method's checkpoints, as published.
        cascades: whether ``CasPL_<name>`` makes sense.
        learns: whether it has something of its own to learn; zero-shot has nothing.
        behind: whether that lies behind the image tower, and not in tokens.
        training_only: keys of the section that mean nothing for a trained run; PREC always is one.
        rates: beginning of a learned tensor's name -> factor of its learning rate, where it is not 1.
        boosted: whether it is a cascade; set by the wrapper of ``CasPL_<name>``.
    """

    section: ClassVar[str]
    defaults: ClassVar[dict[str, Any]]
    saved_as: ClassVar[str] = "prompt_learner"
    cascades: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    behind: ClassVar[bool] = False
    training_only: ClassVar[tuple[str, ...]] = ()
    rates: ClassVar[Mapping[str, float]] = {}
    boosted: ClassVar[bool] = False
    loaded: Path | None = None  # the checkpoint that is evaluated
    _reference_asked = False
    _validated: dict[str, float] = {}
    rolling_resume = True  # a killed run goes on from its last epoch, bit for bit

    # What a method states ------------------------------------------------------------------------------------

    def prompts(self, clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        """The method's segments and words.

        Args:
            clip: the student, in float32 on the CPU.
            options: the method's config section.
            classnames: of the run.
        """
        raise NotImplementedError

    def losses(self, output: Output, batch: Batch) -> Terms:
        """Named scalar terms; their sum is minimised."""
        return self.task(output, batch)

    def task(self, output: Output, batch: Batch) -> Terms:
        """The terms that make the classes known: cross-entropy, unless a wrapper puts other ones in its place."""
        return {"ce": F.cross_entropy(output.logits, batch.labels)}

    # What a wrapper states -----------------------------------------------------------------------------------

    def boosting(self, clip: CLIP) -> Prompts | None:
        """Segments that the method's own are put in front of; see :meth:`caspl.prompts.Prompts.behind`."""
        return None

    def sections(self) -> Sections:
        """Sections under ``TRAINER`` that decide the outcome, see :mod:`caspl.dassl.outcome`."""
        return {"CASPL": VIEWS, self.section: None}

    def contents(self) -> dict[str, str]:
        """What files that settings name hold, as far as that decides the outcome: KEY -> digest."""
        texts = given_texts(self.cfg)
        return {} if texts is None else {"DATASET.TEXTS": texts.digest}

    # What all methods share ----------------------------------------------------------------------------------

    @property
    def options(self) -> CfgNode:
        """The method's config section."""
        return self.cfg.TRAINER[self.section]

    def check_cfg(self, cfg: CfgNode) -> None:
        check_options(cfg)
        unread = {"MODEL.INIT_WEIGHTS": cfg.MODEL.INIT_WEIGHTS}
        if not self.boosted and self.section != "CASPL":
            unread["TRAINER.CASPL.BOOSTING"] = cfg.TRAINER.CASPL.BOOSTING
        for key, value in unread.items():
            if value:
                logger.warning("%s is set, but %s does not read it", key, type(self).__name__)
        with advising(f"look at TRAINER.{self.section}.PREC"):
            check_mode(cfg.TRAINER[self.section].PREC)

    def choose_device(self, cfg: CfgNode) -> torch.device:
        self.runtime, self.group = Runtime.choose(cfg.USE_CUDA), Group.join()
        return self.runtime.device

    def build_data_loader(self) -> None:
        if not self.cfg.DATALOADER.SEEDED and self.cfg.INPUT.BACKEND == "pil":
            if self.group.world > 1:
                logger.warning("DATALOADER.SEEDED False means nothing in several processes: images are drawn by seed")
            elif self.cfg.SEED >= 0:
                workers = self.cfg.DATALOADER.NUM_WORKERS
                logger.info("images are drawn from torch's stream by %d workers: other numbers draw others", workers)
        super().build_data_loader()

    def build_model(self) -> None:
        cfg, classnames = self.cfg, self.class_names()
        require_labels(self.dm.dataset)
        self.precision = Precision(self.options.PREC, self.device)
        student = cfg.MODEL.BACKBONE.NAME
        clip, self.student_hash = load_student(cfg)
        unknown = [name for name in classnames if not clip.text.knows(encode(name))]
        if len(unknown) > 1:
            logger.warning("%s knows no word of %s: these classes look alike to it", student, ", ".join(unknown[:3]))
        boosting = self.boosting(clip)
        with advising(f"look at TRAINER.{self.section} ({', '.join(self.options)})"):
            prompts = self.checked_prompts(clip)
            if self.learns and not self.behind and not prompts.trainable:
                raise CasPLError("there are no tokens to learn")
            placed = self.precision.place(clip, not prompts.changes_norms)
            self.model = self.assemble(placed, prompts.behind(boosting), classnames)
        pixels, trained_on = given_pixels(cfg).as_dict(), self.trained_on()
        self.segments = self.kept(SegmentStore(self.model, student, self.student_hash, pixels, trained_on))
        self.recorder = RunRecorder(cfg, self.runtime, trained_on)
        learned = self._groups()
        self.optim = build_optimizer(learned, cfg.OPTIM) if learned else None
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM) if learned else None
        self.register_model(self.saved_as, self.segments, self.optim, self.sched)
        self.look_for_views()

    def assemble(self, clip: CLIP, prompts: Prompts, classnames: Sequence[str]) -> PromptedCLIP:
        """The model of a student, on the device, and the prompts, those of a cascade among them."""
        return PromptedCLIP.of(clip, prompts, classnames)

    def class_names(self) -> list[str]:
        """What the logits are of: the data set's classes, and perhaps more behind them."""
        return list(self.dm.dataset.classnames)

    def _groups(self) -> list[Any]:
        """What the optimizer steps: tensors, or groups of them where some have a rate of their own."""
        found: dict[float, list[torch.Tensor]] = {1.0: []}
        for name, value in self.segments.learned().items():
            factor = next((rate for start, rate in self.rates.items() if name.startswith(start)), 1.0)
            found.setdefault(factor, []).append(value)
        if len(found) == 1:
            return list(found[1.0])
        return [{"params": some, "lr": rate * self.cfg.OPTIM.LR} for rate, some in found.items() if some]

    def kept(self, segments: SegmentStore) -> SegmentStore:
        """What checkpoints hold, and whose parameters are trained: the segments, or with them what lies behind."""
        return segments

    def checked_prompts(self, clip: CLIP) -> Prompts:
        """What the method states, if it can be.

        Raises:
            TypeError, ValueError: it cannot, which is the method's own fault.
        """
        prompts = self.prompts(clip, self.options, self.class_names())
        if not isinstance(prompts, Prompts):
            raise TypeError(f"{type(self).__name__}.prompts() returned {type(prompts).__name__}, not Prompts")
        if self.cascades and any("boosting" in found for found in prompts.describe()["segments"].values()):
            raise ValueError(f"{type(self).__name__}: the name boosting is for the cascade's segments; take another")
        return prompts

    @property
    def reference_segments(self) -> tuple[str, ...]:
        """For a method with a frozen reference: names of the segments that belong to it, as configured.

        ``TRAINER.CASPL.REFERENCE`` says whether it is plain CLIP or boosted; where nobody asks, that is warned of.
        """
        self._reference_asked = True
        return ("boosting",) if self.boosted and self.cfg.TRAINER.CASPL.REFERENCE == "boosted" else ()

    def reference_of(self, *templates: str) -> Reference:
        """The method's frozen reference: its texts are those of ``DATASET.TEXTS``, else of these templates."""
        segments, given = self.reference_segments, given_texts(self.cfg)
        if given is None or segments:
            return Reference(self.model, templates, segments)
        with advising("it is DATASET.TEXTS"):
            return Reference(self.model, templates, texts=given.of(self.model.text.classnames))

    def trained_on(self) -> dict[str, Any]:
        """What checkpoints and records say of where the tokens come from; empty where nothing learns."""
        if not self.behind and not any(value.requires_grad for value in self.model.parameters()):
            return {}
        data = self.cfg.DATASET
        found = {"dataset": data.NAME, "classes": data.SUBSAMPLE_CLASSES, "shots": data.NUM_SHOTS}
        return found | {"seed": self.cfg.SEED, "split": getattr(self.dm.dataset, "split_digest", "")}

    def before_train(self) -> None:
        self.group.first(lambda: keep_settings(self.cfg, self.sections(), self.contents()))
        self.history = History(self.output_dir, self.runtime.writes)
        self.start()
        if self.boosted and self.cfg.TRAINER.CASPL.REFERENCE != "plain" and not self._reference_asked:
            logger.warning("TRAINER.CASPL.REFERENCE is not used: %s has no reference", type(self).__name__)
        super().before_train()
        self.history.begin(self.start_epoch)

    def before_epoch(self) -> None:
        self._validated, self._lr = {}, float(self.get_current_lr())
        super().before_epoch()

    def numbers_arrived(self, numbers: list[tuple[int, dict[str, float]]]) -> None:
        super().numbers_arrived(numbers)
        self.history.add(row for _, row in numbers)

    def after_epoch(self) -> None:
        super().after_epoch()
        seconds = self.recorder.so_far().get("train", 0.0)
        self.history.end(self.epoch + 1, lr=self._lr, **self._validated, seconds=seconds)

    def resume(self) -> None:
        with refused(f"the run in {self.output_dir} cannot be continued ({{}}); use another --output-dir", SHARED):
            super().resume()
        if self.group.world > 1:
            where = torch.tensor([float(self.start_epoch)], dtype=torch.float64)
            sums = [value.detach().double().sum().cpu().reshape(1) for value in self.segments.learned().values()]
            self.group.require_same(torch.cat([where, *sums]), "tokens and epoch to begin with")
        if self.start_epoch >= self.max_epoch:
            logger.warning("the run in %s is finished: it is tested again, not trained", self.output_dir)

    def train(self) -> None:  # type: ignore[override]  # as the engine's own trainers
        if not self.segments.learned():
            self.test()  # nothing to learn: zero-shot
            return
        self.require_images()
        with self.recorder.timing("train"):
            super().train()
        if self.step.skipped:
            logger.info("%d steps were skipped, since their scaled gradients were not finite", self.step.skipped)
        self.recorder.extra["skipped_steps"] = self.step.skipped
        self.recorder.write()  # once more, with the time of the training

    def whats_next(self) -> list[str]:
        """Commands for what a training has left; none where nothing was, as after another folder's finished run."""
        run, left = shlex.quote(self.output_dir), Path(self.output_dir) / self.saved_as / "checkpoint"
        commands = (f"predict {run} PICTURE", f"demo {run}") if left.is_file() else ()
        return [f"python -m caspl {command}" for command in commands]

    def require_images(self) -> None:
        """Refuse a data set without training images.

        Raises:
            CasPLError: this one has none.
        """
        test_only = getattr(self.dm.dataset, "test_only", False)
        if test_only and self.train_loader_x is self.dm.train_loader_x:  # phase 1 can be given other images
            raise CasPLError(f"{self.cfg.DATASET.NAME} has test images only: train elsewhere and use --eval-only here")

    def test(self, split: str | None = None, **anything: Any) -> float:
        tested = (split or self.cfg.TEST.SPLIT) == "test"
        if tested and self.cfg.TRAINER.RECORD.VALIDATE and validates_apart(self.dm.dataset):
            self.test("val")
            self.recorder.extra["validation"] = self._validated
        with self.recorder.timing("test"):
            accuracy = super().test(split)
        if tested:
            self.recorder.write(type(self).__name__, self.test_results, len(self.dm.dataset.test))
            self._write_answers()
        else:
            self._validated = {f"val_{name}": float(value) for name, value in self.test_results.items()}
        return accuracy

    def _write_answers(self) -> None:
        """What the test's answers were, where that was asked for; beside the record of the test."""
        asked, dataset, names = self.cfg.TEST, self.dm.dataset, self.class_names()
        labels, answers = (getattr(self.evaluator, name, None) for name in ("_y_true", "_y_pred"))
        if labels is None or answers is None or not self.runtime.writes:  # an evaluator of the user's own
            return
        where = self.recorder.beside
        if asked.SAVE_PREDICTIONS:
            images = [item.impath for item in dataset.test]
            write_predictions(where("predictions"), images, labels, answers, names)
        if asked.PER_CLASS_RESULT:
            write_classes(where("classes"), labels, answers, names)
        if asked.COMPUTE_CMAT:
            write_confusion(where("confusion"), labels, answers, names)

    @classmethod
    def find_run(cls, cfg: CfgNode, directory: str, epoch: int | None = None) -> Path:
        """The checkpoint of a run of this trainer.

        Args:
            directory: of the run.
            epoch: None for the best, else the last.

        Raises:
            CasPLError: there is none, or the run is of another method or had other settings of its own.
        """
        if not directory:
            raise CasPLError(f"nothing to evaluate: {cls.__name__} needs --model-dir, the folder of its run")
        require_same_method(cfg, cls.section, Path(directory), ("PREC", *cls.training_only))
        with advising("check --model-dir and --load-epoch"):
            return find_checkpoint(Path(directory) / cls.saved_as, epoch)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        if not self.behind and not self.segments.learned():
            return  # zero-shot, or boosting alone: all there is has been built
        path = self.find_run(self.cfg, directory, epoch)
        self.loaded, checkpoint = path, read_checkpoint(path)
        self.segments.load(checkpoint, type(self).__name__)
        self.recorder.trained_on = dict(checkpoint.trained_on)

    def resume_state(self) -> dict[str, Any]:
        return super().resume_state() | {"step": self.step.state_dict(), "seconds": self.recorder.so_far()}

    def load_resume_state(self, state: dict[str, Any]) -> None:
        super().load_resume_state(state)
        # A snapshot of version 0.1.0 has the scaler alone.
        self.step.load_state_dict(state["step"] if "step" in state else {"scaler": state["scaler"]})
        self.recorder.seconds = state["seconds"]
