"""Tokens in samples: probabilities by a plain computation, chunks, what is fixed, and what cannot be merged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from caspl.build import load_model
from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.predictor.merged import require_mergeable
from caspl.prompts import Prompts, Sampled, Segment, normal_tokens
from tests.cases import CASES
from tests.tiny_clip import SIZES, tiny_clip
from tests.trainers.building import batch, build, logits

CASE = next(case for case in CASES if case.trainer == "BayesPrompt")
NAMES = ["cat", "a dog of some kind", "bird"]
KINDS = pytest.mark.parametrize("conditioned", [False, True])


def made(conditioned: bool, budget: int = 0) -> tuple[PromptedCLIP, Sampled]:
    torch.manual_seed(0)
    segment = Sampled("adapting", normal_tokens(1, 2, SIZES.text_width), 3, SIZES.embed_dim if conditioned else 0)
    boosting = Prompts(nearest=[Segment("boosting", normal_tokens(2, 2, SIZES.text_width), trainable=False)])
    model = PromptedCLIP.of(tiny_clip(), Prompts([segment]).behind(boosting), NAMES)
    model.text_budget = budget
    segment.drawn.normal_()
    return model, segment


def images() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@KINDS
@pytest.mark.parametrize("training", [False, True])
def test_probabilities_are_the_mean_of_plain_models(conditioned: bool, training: bool) -> None:
    model, segment = made(conditioned)
    output = model.train(training)(images())
    noise = segment.drawn if training else segment.noise
    with torch.no_grad():
        for row, image in enumerate(output.image):
            mean, variance = segment.mean(image[None])[0], segment.log_variance(image[None])[0].exp()
            total = torch.zeros(len(NAMES))
            for sample in noise:
                shifted = segment.values + mean + sample * variance.sqrt()
                prompts = Prompts([Segment("adapting", shifted), model.text.segments["boosting"]])
                plain = PromptedCLIP(model.clip, *prompts.cascade(), NAMES)
                total += plain(images()[row : row + 1]).logits[0].softmax(0)
            torch.testing.assert_close(output.logits[row].exp(), total / 3, rtol=1e-4, atol=1e-5)


@KINDS
def test_what_is_fixed_is_evaluation_also_in_training(conditioned: bool) -> None:
    model, segment = made(conditioned)
    fixed = model.train().fixed()
    assert segment.training
    with torch.no_grad():
        expected = model.eval()(images()).logits
    torch.testing.assert_close(fixed(images()), expected)
    if conditioned:
        with pytest.raises(CasPLError, match="depend on the image"):
            require_mergeable(fixed)


@KINDS
def test_chunks_give_the_same_gradients(conditioned: bool) -> None:
    found = []
    for budget in (0, 1):
        model, segment = made(conditioned, budget)
        output = model.train()(images())
        (output.logits[:, 0].sum() + segment.divergence(output.image)).backward()
        found.append([value.grad for value in segment.parameters()])
        assert all(value.grad is not None for value in segment.parameters())
    for whole, chunked in zip(*found, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=1e-3, atol=1e-5)


def test_the_divergence_by_torch() -> None:
    _, segment = made(False)
    torch.nn.init.normal_(segment.mean.values)
    drawn_from = torch.distributions.Normal(segment.mean.values, (segment.log_variance.values / 2).exp())
    expected = torch.distributions.kl_divergence(drawn_from, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(segment.divergence(torch.zeros(1, 1)), expected)


@pytest.mark.parametrize("boosted", [False, True])
def test_conditioned_a_run_is_trained_and_read_again(boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASE, boosted, clips, tmp_path, TRAINER__BAYES__CONDITIONED=True)
    names = {f"text.adapting.{kind}.{n}.{part}" for kind in ("mean", "log_variance") for n in (0, 2, 4)
             for part in ("weight", "bias")}  # fmt: skip
    assert set(trainer.segments.learned()) == names | {"text.adapting.values"}
    before = {name: value.clone() for name, value in trainer.segments.learned().items()}
    drawn = []
    for trainer.batch_idx in (0, 1, 0):
        trainer.draw()
        drawn.append(trainer.noise.clone())
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    trainer.forward_backward(batch())
    assert not any(torch.equal(value, before[name]) for name, value in trainer.segments.learned().items())
    trainer.save_model(0, str(tmp_path / "run"))
    model = load_model(tmp_path / "run")
    with torch.no_grad():
        torch.testing.assert_close(model(batch(9)["img"]).logits, logits(trainer), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 2, 8), (1, 3, 2, 8)])
def test_what_cannot_be_sampled(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sampled tokens have one layer"):
        Sampled("adapting", torch.zeros(shape), 3)
