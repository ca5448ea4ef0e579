"""The linear probe against scikit-learn used as CoOp's protocol says, and its runs."""

from __future__ import annotations

import builtins
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

import train
from caspl.build import load_model
from caspl.errors import CasPLError
from caspl.probe import Features
from caspl.probe.linear import fit, search_strength
from tests.conftest import boosting_file
from tests.runs import Runs, refused
from tests.trainers.kept import SHOTS, built, command, evaluate, plain_features, repeated, run, state
from trainers import kept_features

NAME = "LinearProbeCLIP"


def regression(strength: float, images: Any, labels: Any) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=1000).fit(images, labels)


def chosen(images: Any, labels: Any, judged: Any, answers: Any) -> float:
    """C, written out: every regression anew, intervals in numbers."""

    def accuracy(strength: float) -> float:
        return (regression(strength, images, labels).predict(judged) == answers).mean()

    grid = [10.0**exponent for exponent in (6, 4, 2, 0, -2, -4, -6)]
    peak = grid[int(np.argmax([accuracy(strength) for strength in grid]))]
    left, right, best = peak / 10, peak * 10, peak
    for _ in range(8):
        middle = math.sqrt(left * right)
        if accuracy(left) < accuracy(right):
            best, left = right, middle
        else:
            best, right = left, middle
    return best


def clouds(count: int, classes: int, seed: int) -> Features:
    """Points around the classes' centres, near enough to be taken for each other's."""
    centres = 0.7 * torch.randn(classes, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % classes
    return Features(centres[labels] + torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), labels)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_search_and_the_weights_are_scikit_learns(classes: int, seed: int) -> None:
    few, val, many = (
        clouds(4 * classes, classes, seed),
        clouds(4 * classes, classes, seed + 10),
        clouds(100, classes, 9),
    )
    images, labels = few.values.double().numpy(), few.labels.numpy()
    expected = chosen(images, labels, val.values.double().numpy(), val.labels.numpy())
    found, accuracy = search_strength(few, val, classes, 1000)
    assert math.isclose(found, expected, rel_tol=1e-9)
    model = regression(expected, images, labels)
    assert accuracy == 100 * model.score(val.values.double().numpy(), val.labels.numpy())
    logits = fit(few, classes, found, 1000)(many.values)
    probabilities = model.predict_proba(many.values.double().numpy())
    torch.testing.assert_close(logits.softmax(-1).double(), torch.tensor(probabilities), rtol=1e-4, atol=1e-5)


def test_the_searches_of_these_tests_differ() -> None:
    """Else the test above could not tell one rule from another."""
    found = {search_strength(clouds(20, 5, seed), clouds(20, 5, seed + 10), 5, 1000)[0] for seed in (1, 2, 3)}
    assert len(found) > 1


def test_a_run_is_the_regression_of_plain_features(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def watched(encode: Any, loader: Any, device: Any, what: str, group: Any) -> Any:
        seen.extend(item.impath for item in loader.dataset.data_source)
        return extract(encode, loader, device, what, group)

    extract = kept_features.extract
    monkeypatch.setattr(kept_features, "extract", watched)
    record = run(runs, NAME, "probe")
    data = built(runs, NAME, "other").dm.dataset
    assert len(data.train_x) == 10 * SHOTS
    assert len(data.val) == 10 * min(SHOTS, 4)
    assert sorted(seen) == sorted(item.impath for item in (*data.train_x, *data.val))  # once each; of the test none
    (images, labels), (judged, answers), (test, truth) = map(plain_features, (data.train_x, data.val, data.test))
    images, judged, test = (some.double().numpy() for some in (images, judged, test))
    strength = chosen(images, labels.numpy(), judged, answers.numpy())
    assert math.isclose(record["extra"]["C"], strength, rel_tol=1e-9)
    model = regression(strength, images, labels.numpy())
    assert record["metrics"]["accuracy"] == pytest.approx(100 * model.score(test, truth.numpy()))
    assert record["extra"]["val_accuracy"] == pytest.approx(100 * model.score(judged, answers.numpy()))
    np.testing.assert_allclose(state(runs.folder / "probe")["weight"], model.coef_, rtol=1e-2, atol=1e-4)
    assert record["trained_on"]["shots"] == SHOTS
    assert set(record["seconds"]) == {"train", "test"}


def test_evaluation_seeds_and_classes(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    trained = run(runs, NAME, "base", "DATASET.SUBSAMPLE_CLASSES", "base")
    same = ["DATASET.SUBSAMPLE_CLASSES", "base"]
    again = evaluate(
        runs, NAME, "base", "evaluated", *same, "TRAINER.LPCLIP.C", "3.0"
    )  # of a trained run it says nothing
    assert again["metrics"] == trained["metrics"]
    assert again["trained_on"] == trained["trained_on"]
    assert again["tested"]["sha256"]

    first = repeated(runs, NAME, "weight", *same)
    assert {name: tuple(value.shape) for name, value in first.items()} == {"weight": (5, 32), "bias": (5,)}

    new = command(runs, NAME, "new", "--eval-only", "--model-dir", str(runs.folder / "base"))
    sentence = refused(capsys, [*new, "DATASET.SUBSAMPLE_CLASSES", "new"])
    assert "LinearProbeCLIP knows only the 5 classes that it was trained on" in sentence
    assert "has no weights for " in sentence
    assert "knows only the 5 classes" in refused(capsys, [*new, "DATASET.SUBSAMPLE_CLASSES", "all"])
    with pytest.raises(CasPLError, match="no texts that classify, but a head"):  # zero-shot CLIP would be another
        load_model(runs.folder / "base")


def test_some_of_the_classes_are_judged_by_their_own_weights(runs: Runs) -> None:
    run(runs, NAME, "all")
    evaluate(runs, NAME, "all", "new", "DATASET.SUBSAMPLE_CLASSES", "new")
    trainer = built(runs, NAME, "x", "DATASET.SUBSAMPLE_CLASSES", "new")
    trainer.load_model(str(runs.folder / "all"))
    assert torch.equal(trainer.head.weight.cpu(), state(runs.folder / "all")["weight"][5:])


def test_what_is_refused(runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = built(runs, NAME, "x")
    val = trainer.dm.dataset._val
    for images in (None, trainer.dm.dataset.test):  # none; or those of the test, as ImageNet's in CoOp's protocol
        trainer.dm.dataset._val = images
        with pytest.raises(CasPLError, match=r"EuroSAT has no validation images.* give it, as TRAINER\.LPCLIP\.C"):
            trainer.train()
    trainer.dm.dataset._val = val
    trainer.dm.dataset.train_x[:] = [item for item in trainer.dm.dataset.train_x if item.label]
    with pytest.raises(CasPLError, match="of each, not 9 of 10"):
        trainer.train()

    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CasPLError, match=r"needs scikit-learn: pip install 'caspl\[probe\]'"):
        trainer.train()
    monkeypatch.undo()
    assert "TRAINER.LPCLIP.C must be 0 or more" in refused(capsys, command(runs, NAME, "y", "TRAINER.LPCLIP.C", "-1.0"))


def test_a_given_strength_needs_no_validation(runs: Runs) -> None:
    trainer = built(runs, NAME, "given", "TRAINER.LPCLIP.C", "0.5")
    trainer.dm.dataset._val = None
    trainer.train()
    assert trainer.recorder.extra == {"C": 0.5}


def test_behind_boosting_tokens(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """Features of the cascade; its checkpoint holds the tokens too."""
    with_file = ["TRAINER.CASPL.BOOSTING", str(boosting_file(runs.folder / "boosting.safetensors"))]
    boosted = run(runs, f"CasPL_{NAME}", "boosted", *with_file)
    plain = run(runs, NAME, "plain")
    assert not torch.equal(state(runs.folder / "boosted")["weight"], state(runs.folder / "plain")["weight"])
    assert evaluate(runs, f"CasPL_{NAME}", "boosted", "tested")["metrics"] == boosted["metrics"]
    assert plain["trainer"] == NAME
    words = command(runs, f"CasPL_{NAME}", "z", *with_file, "TRAINER.CASPL.TRAINABLE", "True")
    assert "keeps features, which no token may change" in refused(capsys, words)
    assert train.main(words[:-2]) == 0
