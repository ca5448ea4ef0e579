"""Tip-Adapter against its formula in NumPy and a plain optimiser, and its runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.probe import Cache, Features
from caspl.probe import cache as cache_module
from caspl.probe.cache import search_factors
from caspl.prompts import Prompts
from caspl.prompts.templates import SELECTED
from caspl.protocols import read_protocol
from caspl.step import Precision
from tests.conftest import boosting_file
from tests.runs import Runs, refused
from tests.step.fake import CUDA, Faker
from tests.step.test_fake_cuda import NothingToTheHost, fake_batch
from tests.tiny_clip import tiny_clip
from tests.trainers.kept import SHOTS, built, command, evaluate, plain_features, repeated, run, state
from trainers import kept_features

BOTH = ("TipAdapter", "TipAdapterF")


def unit(rows: int, width: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def filled(images: int = 12, classes: int = 4, width: int = 8) -> Cache:
    cache = Cache(images, classes, width, scale=3.0, alpha=0.7, beta=2.5)
    cache.fill(unit(images, width, 1), torch.arange(images) % classes, unit(classes, width, 2))
    return cache


def formula(cache: Cache, features: torch.Tensor, alpha: float, beta: float) -> np.ndarray:
    """Equation by equation: zero-shot logits, affinities, one-hot labels."""
    f = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    one_hot = np.eye(len(cache.text))[cache.labels.numpy().astype(int)]
    affinity = np.exp(-beta * (1 - f @ cache.keys.detach().numpy().T))
    return float(cache.scale) * f @ cache.text.numpy().T + alpha * affinity @ one_hot


def test_the_logits_are_the_papers() -> None:
    cache, features = filled(), 5 * torch.randn(7, 8)
    np.testing.assert_allclose(cache(features).detach(), formula(cache, features, 0.7, 2.5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cache(features, 2.0, 0.0).detach(), formula(cache, features, 2, 0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cache(features, 0.0), 3 * F.normalize(features, dim=-1) @ cache.text.t())


@pytest.mark.parametrize("chunk", [cache_module.CHUNK, 100])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_search_is_the_releases(seed: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loops, written out; the first of equals stays."""
    monkeypatch.setattr(cache_module, "CHUNK", chunk)
    cache = filled()
    generator = torch.Generator().manual_seed(seed)
    val = Features(torch.randn(30, 8, generator=generator), torch.randint(4, (30,), generator=generator))
    best = (0.0, 0.0, 0.0)
    for beta in (i * (7 - 0.1) / 9 + 0.1 for i in range(9)):
        for alpha in (i * (3 - 0.1) / 6 + 0.1 for i in range(6)):
            hits = formula(cache, val.values, alpha, beta).argmax(1) == val.labels.numpy()
            if 100 * hits.mean() > best[2]:
                best = (alpha, beta, 100 * float(hits.mean()))
    assert search_factors(cache, val, (7.0, 3.0), (9, 6)) == pytest.approx(best)


def test_the_cache_of_a_run(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """With views that show the whole image, keys are plain features; the text is the data set's template."""
    seen: list[tuple[str, str]] = []

    def watched(encode: Any, loader: Any, device: Any, what: str, group: Any) -> Any:
        seen.extend((what, item.impath) for item in loader.dataset.data_source)
        return extract(encode, loader, device, what, group)

    extract = kept_features.extract
    monkeypatch.setattr(kept_features, "extract", watched)
    record = run(runs, "TipAdapter", "tip", "INPUT.TRANSFORMS", "['normalize']")
    data = built(runs, "TipAdapter", "x").dm.dataset
    expected = [("train", item.impath) for item in data.train_x] * 2 + [("val", item.impath) for item in data.val]
    assert seen == expected  # two views of each, and nothing of the test
    head, clip = state(runs.folder / "tip"), tiny_clip()
    features, labels = plain_features(data.train_x)
    torch.testing.assert_close(head["keys"], F.normalize(features, dim=-1), rtol=1e-3, atol=1e-4)
    assert head["labels"].tolist() == labels.tolist()
    names = [name.replace("_", " ") for name in data.classnames]
    torch.testing.assert_close(head["text"], _text(clip, names), rtol=1e-3, atol=1e-4)
    alpha, beta = (float(head[name]) for name in ("alpha", "beta"))
    assert (record["extra"]["alpha"], record["extra"]["beta"]) == pytest.approx((alpha, beta))

    test, truth = plain_features(data.test)
    cache = Cache(len(labels), 10, 32, float(clip.logit_scale.exp()), alpha, beta)
    cache.fill(head["keys"], labels, head["text"])
    accuracy = 100 * (formula(cache, test, alpha, beta).argmax(1) == truth.numpy()).mean()
    assert record["metrics"]["accuracy"] == pytest.approx(accuracy)
    val = Features(*plain_features(data.val))
    assert search_factors(cache, val, (7.0, 3.0), (5, 4))[:2] == pytest.approx((alpha, beta))


def _text(clip: Any, names: list[str]) -> torch.Tensor:
    prompts = Prompts(templates=("a centered satellite photo of {}.",))
    return PromptedCLIP.of(clip, prompts, names).encode_text().detach()


@pytest.mark.parametrize("backend", ["pil", "tensor"])
def test_views_are_drawn_anew_and_averaged(backend: str, runs: Runs) -> None:
    trainer = built(runs, "TipAdapter", "x", "INPUT.BACKEND", backend)
    singles: list[Features] = []
    extract = kept_features.extract

    def kept(*arguments: Any) -> Features:
        singles.append(extract(*arguments))
        return singles[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_features, "extract", kept)
        found = trainer.training_features(3)
    assert len(singles) == 3
    assert not torch.allclose(singles[0].values, singles[1].values)
    torch.testing.assert_close(found.values, sum(one.values for one in singles) / 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BOTH)
def test_evaluation_seeds_and_classes(name: str, runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["DATASET.SUBSAMPLE_CLASSES", "base", "OPTIM.MAX_EPOCH", "3"]
    trained = run(runs, name, "base", *base)
    free = ["DATASET.TEMPLATE", "a map of {}.", "TRAINER.TIPADAPTER.ALPHA", "0.0"]  # what the checkpoint knows counts
    again = evaluate(runs, name, "base", "evaluated", *base, *free)
    assert again["metrics"] == trained["metrics"]
    assert again["trained_on"] == trained["trained_on"]
    first = repeated(runs, name, "keys", *base)
    assert first["keys"].shape == (5 * SHOTS, 32)
    new = command(runs, name, "new", "--eval-only", "--model-dir", str(runs.folder / "base"))
    sentence = refused(capsys, [*new, "DATASET.SUBSAMPLE_CLASSES", "new"])
    assert f"{name} knows only the 5 classes that it was trained on" in sentence
    other = next(one for one in BOTH if one != name)
    words = command(runs, other, "other", "--eval-only", "--model-dir", str(runs.folder / "base"), *base)
    assert "was trained with other settings" in refused(capsys, words)
    assert (runs.folder / "base" / "history.csv").is_file() == (name == "TipAdapterF")


def test_some_of_the_classes_are_judged_by_their_own_images(runs: Runs) -> None:
    run(runs, "TipAdapter", "all")
    trainer = built(runs, "TipAdapter", "x", "DATASET.SUBSAMPLE_CLASSES", "new")
    trainer.load_model(str(runs.folder / "all"))
    head, whole = trainer.head, state(runs.folder / "all")
    kept = whole["labels"] >= 5
    assert torch.equal(head.keys.cpu(), whole["keys"][kept])
    assert head.values.argmax(1).tolist() == (whole["labels"][kept] - 5).tolist()
    assert torch.equal(head.text.cpu(), whole["text"][5:])


def test_where_nothing_may_be_searched(runs: Runs) -> None:
    """No validation images, or those of the test: the factors as given, and a warning."""
    for number, images in enumerate((None, "test")):
        trainer = built(runs, "TipAdapter", f"run{number}")
        trainer.dm.dataset._val = trainer.dm.dataset.test if images else None
        trainer.train()
        assert trainer.recorder.extra == {"alpha": 1.0, "beta": 5.5}
    log = (runs.folder / "run1" / "log.txt").read_text()
    assert "EuroSAT validates on its test images: they are not looked at" in log
    assert "EuroSAT has no validation images to choose by: TRAINER.TIPADAPTER.ALPHA 1 and BETA 5.5 are taken" in log
    record = run(runs, "TipAdapter", "given", "TRAINER.TIPADAPTER.SEARCH", "False", "TRAINER.TIPADAPTER.ALPHA", "2")
    assert record["extra"] == {"alpha": 2.0, "beta": 5.5}


def test_a_step_of_the_keys_is_adamws(runs: Runs) -> None:
    """On the loss of the paper's formula at the factors as given, whatever is chosen later."""
    trainer = built(runs, "TipAdapterF", "f")
    trainer.start()
    head, learned = trainer.head, trainer.segments.learned()
    assert list(learned) == ["head.keys"]
    before = head.keys.detach().clone()
    keys = before.clone().requires_grad_()
    plain = torch.optim.AdamW([keys], lr=0.001, weight_decay=0.01, eps=1e-4)
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(trainer.device)
    labels = torch.tensor([0, 3, 5, 7, 9, 1], device=trainer.device)
    head.alpha.fill_(9.0)
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 2
    numbers = trainer.forward_backward({"img": images, "label": labels})
    image = F.normalize(trainer.encode(images), dim=-1)
    logits = head.scale * image @ head.text.t() + torch.exp(-5.5 * (1 - image @ keys.t())) @ head.values
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    plain.step()
    torch.testing.assert_close(numbers["loss"], loss.detach())
    assert float(numbers["acc"]) == pytest.approx(100 * float((logits.argmax(1) == labels).float().mean()))
    torch.testing.assert_close(head.keys.detach(), keys.detach(), rtol=0, atol=1e-6)
    assert (head.keys.detach() - before).abs().max() > 1e-4


class Killed(Exception):
    """Stands for a signal between two epochs."""


def test_a_killed_run_goes_on_exactly(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    more = ["OPTIM.MAX_EPOCH", "4"]
    run(runs, "TipAdapterF", "whole", *more)
    trainer = built(runs, "TipAdapterF", "broken", *more)

    def killed() -> None:
        if trainer.epoch == 2:
            raise Killed

    monkeypatch.setattr(trainer, "finish_epoch", killed)
    with pytest.raises(Killed):
        trainer.train()
    run(runs, "TipAdapterF", "broken", *more)
    whole, broken = state(runs.folder / "whole"), state(runs.folder / "broken")
    assert all(torch.equal(value, broken[name]) for name, value in whole.items())
    kept = built(runs, "TipAdapter", "x")
    kept.keep()
    assert not torch.allclose(kept.head.keys.cpu(), whole["keys"])  # they have learned


def test_the_best_epoch_has_factors_of_its_own(runs: Runs) -> None:
    more = ["OPTIM.MAX_EPOCH", "3", "TEST.FINAL_MODEL", "best_val"]
    trained = run(runs, "TipAdapterF", "best", *more)
    again = evaluate(runs, "TipAdapterF", "best", "again", *more)
    assert again["metrics"] == trained["metrics"]
    factors = [{name: record["extra"][name] for name in ("alpha", "beta")} for record in (trained, again)]
    assert factors[0] == factors[1]


def test_a_step_stays_on_the_device(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """On fake CUDA tensors forward, on fake CPU tensors backward."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(Precision, "scaler", lambda self: torch.amp.GradScaler("cpu", enabled=False))
    for device in (CUDA, torch.device("cpu")):
        trainer = built(runs, "TipAdapterF", "fake")
        trainer.start()
        mode = FakeTensorMode(allow_non_fake_inputs=False)
        faker = Faker(mode, device)
        trainer.model, trainer.head = faker(trainer.model), faker(trainer.head)
        with mode:
            trainer.optim = torch.optim.AdamW([trainer.head.keys], 0.1)
            trainer.precision = Precision("fp32", device)
            trainer.step = type(trainer.step)(
                trainer.model, trainer.losses, trainer.optim, trainer.precision, trainer.step.metrics
            )
            with NothingToTheHost():
                loss, numbers = trainer.step.compute(fake_batch(device))
                assert {value.device for value in (loss, *numbers.values())} == {device}
                if device.type == "cpu":
                    loss.backward()
                    assert trainer.head.keys.grad is not None


def test_behind_boosting_tokens(runs: Runs) -> None:
    with_file = ["TRAINER.CASPL.BOOSTING", str(boosting_file(runs.folder / "boosting.safetensors"))]
    boosted = run(runs, "CasPL_TipAdapterF", "boosted", *with_file, "OPTIM.MAX_EPOCH", "2")
    assert evaluate(runs, "CasPL_TipAdapterF", "boosted", "tested")["metrics"] == boosted["metrics"]
    run(runs, "TipAdapterF", "plain", "OPTIM.MAX_EPOCH", "2")
    for name in ("keys", "text"):
        assert not torch.allclose(state(runs.folder / "boosted")[name], state(runs.folder / "plain")[name])


def test_imagenet_has_the_releases_templates(runs: Runs) -> None:
    trainer = built(runs, "TipAdapter", "x")
    asked = SimpleNamespace(boosted=False, cfg=trainer.cfg.clone())
    asked.cfg.defrost()
    asked.cfg.DATASET.NAME = "ImageNet"
    assert type(trainer).prompts(asked, None, None, []).templates == SELECTED


def test_damaged_checkpoints(runs: Runs) -> None:
    run(runs, "TipAdapter", "tip")
    (path,) = (runs.folder / "tip" / "tip_adapter").glob("model.pth.tar-*")
    saved = torch.load(path, weights_only=True)
    whole = dict(saved["state_dict"])
    trainer = built(runs, "TipAdapter", "x")
    for changes, words in (
        ({"head.keys": torch.zeros(20, 31)}, r"keys is of shape \(20, 31\), not \(20, 32\)"),
        ({"head.labels": whole["head.labels"] + 1}, "a label is none of its 10 classes"),
        ({"head.alpha": torch.tensor(float("nan"))}, r"head\.alpha that are not finite"),
        ({"head.more": torch.zeros(1)}, r"no checkpoint of TipAdapter: it holds head\.alpha"),
    ):
        saved["state_dict"] = whole | changes
        torch.save(saved, path)
        with pytest.raises(CasPLError, match=words):
            trainer.load_model(str(runs.folder / "tip"))


def test_the_releases_settings_by_data_set() -> None:
    """Read off its configs: alpha to start from, ends of the grids of beta and alpha, epochs where they are not 20."""
    protocol = read_protocol("few_shot")
    for dataset, alpha, ends, epochs in (
        ("oxford_flowers", "10.0", "(50.0, 50.0)", None),
        ("fgvc_aircraft", "5.0", "(30.0, 30.0)", None),
        ("eurosat", "2.0", "(12.0, 10.0)", "100"),
    ):
        options = protocol.config("TipAdapterF", dataset, 16).options
        assert options["TRAINER.TIPADAPTER.BETA"] == "1.0"
        found = [options.get(f"TRAINER.TIPADAPTER.{key}") for key in ("ALPHA", "SEARCH_SCALE")]
        assert [*found, options.get("OPTIM.MAX_EPOCH")] == [alpha, ends, epochs]
    assert all(protocol.config("TipAdapter", name, 1).options for name in protocol.sources if name != "imagenet")
    assert not protocol.config("TipAdapterF", "imagenet", 16).options
