"""The classification evaluator. Its text is read by the parse scripts of the field, down to the blanks."""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from ..utils.atomic import atomic_write
from ..utils.logger import logger
from ..utils.ranks import gather_numbers, is_first
from .build import EVALUATOR_REGISTRY
from .scores import confusion_matrix, macro_f1

__all__ = ["Classification", "EvaluatorBase"]


class EvaluatorBase:
    """Collects predictions batch by batch and evaluates them at the end.

    Args:
        cfg: the configuration.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg

    def reset(self) -> None:
        """Forget all predictions."""
        raise NotImplementedError

    def process(self, mo: Any, gt: Any) -> None:
        """Take in the model's output and the truth of one batch."""
        raise NotImplementedError

    def gather(self) -> None:
        """Take in the predictions of all processes of a run; called in each of them before :meth:`evaluate`."""
        raise NotImplementedError(f"{type(self).__name__} cannot evaluate in several processes: it has no gather()")

    def evaluate(self) -> OrderedDict[str, float]:
        """Return the metrics by name, the main one first."""
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error and macro F1, in percent.

    TEST.PER_CLASS_RESULT adds the accuracy of each class, TEST.COMPUTE_CMAT saves the confusion matrix.

    Args:
        cfg: the configuration.
        lab2cname: class names by label; needed for results per class.
        **kwargs: ignored.

    Raises:
        AssertionError: results per class without class names.
    """

    def __init__(self, cfg: CfgNode, lab2cname: dict[int, str] | None = None, **kwargs: Any) -> None:
        super().__init__(cfg)
        if cfg.TEST.PER_CLASS_RESULT and lab2cname is None:
            raise AssertionError("TEST.PER_CLASS_RESULT needs class names: pass lab2cname to the evaluator")
        self._lab2cname = lab2cname
        self.reset()

    def reset(self) -> None:
        """Forget all predictions."""
        self._correct = 0
        self._total = 0
        self._y_true: list[int] = []
        self._y_pred: list[int] = []
        self._per_class_res: dict[int, list[int]] | None = defaultdict(list) if self.cfg.TEST.PER_CLASS_RESULT else None

    def process(self, mo: Tensor, gt: Tensor) -> None:
        """Take in one batch.

        Args:
            mo: logits, (batch, classes).
            gt: labels, (batch,).
        """
        self._take(mo.argmax(dim=1).tolist(), gt.tolist())

    def gather(self) -> None:
        """Take in the predictions of all processes, those of the first one first."""
        labels, predictions = gather_numbers(self._y_true), gather_numbers(self._y_pred)
        self.reset()
        self._take(predictions, labels)

    def _take(self, predictions: list[int], labels: list[int]) -> None:
        hits = [int(prediction == label) for prediction, label in zip(predictions, labels, strict=True)]
        self._correct += sum(hits)
        self._total += len(labels)
        self._y_true.extend(labels)
        self._y_pred.extend(predictions)
        if self._per_class_res is not None:
            for label, hit in zip(labels, hits, strict=True):
                self._per_class_res[label].append(hit)

    def evaluate(self) -> OrderedDict[str, float]:
        """Return and log the metrics; ZeroDivisionError if there were no predictions."""
        if self._total == 0:
            raise ZeroDivisionError("there are no predictions to evaluate: the loader gave no batch")
        accuracy = 100.0 * self._correct / self._total
        error = 100.0 - accuracy
        f1 = 100.0 * macro_f1(self._y_true, self._y_pred)
        results = OrderedDict(accuracy=accuracy, error_rate=error, macro_f1=f1)
        logger.info(
            "=> result\n"
            f"* total: {self._total:,}\n"
            f"* correct: {self._correct:,}\n"
            f"* accuracy: {accuracy:.1f}%\n"
            f"* error: {error:.1f}%\n"
            f"* macro_f1: {f1:.1f}%"
        )
        if self._per_class_res is not None:
            results["perclass_accuracy"] = self._evaluate_classes(self._per_class_res)
        if self.cfg.TEST.COMPUTE_CMAT:
            self._save_confusion_matrix()
        return results

    def _evaluate_classes(self, hits_by_label: dict[int, list[int]]) -> float:
        logger.info("=> per-class result")
        accuracies = []
        names = self._lab2cname or {}
        for label, hits in sorted(hits_by_label.items()):
            total, correct = len(hits), sum(hits)
            accuracy = 100.0 * correct / total
            accuracies.append(accuracy)
            counts = f"total: {total:,}\tcorrect: {correct:,}\tacc: {accuracy:.1f}%"
            logger.info(f"* class: {label} ({names[label]})\t{counts}")
        average = float(np.mean(accuracies))
        logger.info(f"* average: {average:.1f}%")
        return average

    def _save_confusion_matrix(self) -> None:
        if not is_first():
            return
        path = os.path.join(self.cfg.OUTPUT_DIR, "cmat.pt")
        with atomic_write(path) as file:
            torch.save(confusion_matrix(self._y_true, self._y_pred), file)
        logger.info("Confusion matrix is saved to %s", path)
