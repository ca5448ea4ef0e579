"""The step: what it notes, counts, keeps and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from caspl.errors import CasPLError
from caspl.model import Output, PromptedCLIP
from caspl.prompts import Prompts, Segment, normal_tokens
from caspl.step import Batch, Precision, Step, Terms, accuracy
from tests.cases import CASES
from tests.tiny_clip import SIZES, tiny_clip
from tests.trainers import building

NAMES = ["cat", "dog", "bird"]


def made(precision: str = "fp32", **kinds: object) -> tuple[Step, Segment]:
    torch.manual_seed(0)
    segment = Segment("adapting", normal_tokens(1, 2, SIZES.text_width))
    model = PromptedCLIP.of(tiny_clip(), Prompts([segment]), NAMES)

    def losses(output: Output, batch: Batch) -> Terms:
        ce = torch.nn.functional.cross_entropy(output.logits, batch.labels)
        return {"ce": ce, "bad": 0 * ce / (batch.images.abs().sum() > 0)}

    optimizer = torch.optim.SGD([segment.values], 0.1)
    mode = Precision(precision, torch.device("cpu"))
    return Step(model, losses, optimizer, mode, accuracy), segment


def batch(bad: bool = False) -> Batch:
    images = torch.randn(4, 3, SIZES.resolution, SIZES.resolution, generator=torch.Generator().manual_seed(1))
    return Batch(images * (0 if bad else 1), torch.tensor([0, 1, 2, 0]))


def test_a_batch_is_what_the_loader_delivers() -> None:
    loaded = {"img": torch.ones(2, 3), "label": torch.tensor([1, 0])}
    loaded |= {"index": torch.tensor([7, 5]), "impath": ["a", "b"]}
    batch = Batch.of(loaded, torch.device("meta"))
    assert batch.images.device.type == batch.labels.device.type == "meta"
    assert batch.index is not None
    assert batch.index.tolist() == [7, 5]
    assert batch.paths == ["a", "b"]
    assert Batch.of({"img": torch.ones(1), "label": torch.ones(1)}, torch.device("cpu")).index is None
    views = {"img": [torch.ones(1), torch.zeros(1)], "label": torch.ones(1)}  # K_TRANSFORMS: 2
    assert torch.equal(Batch.of(views, torch.device("cpu")).images, torch.tensor([[1.0], [0.0]]))


def test_numbers_are_tensors_without_a_graph() -> None:
    step, _ = made()
    numbers = step(batch())
    assert list(numbers) == ["loss", "acc", "ce", "bad"]
    assert all(isinstance(value, torch.Tensor) and not value.requires_grad for value in numbers.values())
    torch.testing.assert_close(numbers["loss"], numbers["ce"] + numbers["bad"])


def test_the_first_loss_that_is_not_finite_is_named_when_it_is_asked_for() -> None:
    step, _ = made()
    step(batch())
    step.require_finite(0, "")
    step.begin_epoch()
    for bad in (False, False, True, True, False):
        step(batch(bad))  # nothing stops here
    with pytest.raises(CasPLError, match="the loss is not finite in epoch 8, batch 3; lower it"):
        step.require_finite(7, "lower it")


def test_a_scaler_skips_and_goes_on_where_it_was() -> None:
    step, segment = made()
    step.scaler = torch.amp.GradScaler("cpu", init_scale=3e38, growth_interval=2)  # no loss above 1.13 survives it
    before = segment.values.detach().clone()
    step.losses = lambda output, batch: {"ce": 9 + output.logits.mean()}
    step(batch())
    assert step.skipped == 1
    assert torch.equal(segment.values, before)
    step.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
    step(batch())
    state = step.state_dict()
    again, _ = made()
    again.scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=2)
    again.load_state_dict(state)
    assert (again.scaler.get_scale(), again.skipped) == (64.0, 1)
    again(batch())
    assert again.scaler.get_scale() == 128.0  # two good steps since: the count was saved too


def test_a_run_goes_on_with_a_scaler_that_it_did_not_have() -> None:
    """From the CPU, where there is none, to a GPU in float16, and back."""
    without, _ = made()
    with_one, _ = made()
    with_one.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    state = with_one.state_dict()
    with_one.load_state_dict(without.state_dict())
    assert with_one.scaler.get_scale() == 64.0
    without.load_state_dict(state)
    assert not without.scaler.is_enabled()


def test_frozen_matrices_have_one_copy_in_autocast_s_type() -> None:
    """Autocast would cast them anew in every pass; norms, embeddings and what flows between blocks stay float32."""
    clip = Precision("amp", torch.device("cpu")).place(tiny_clip())
    types = {name: value.dtype for name, value in clip.named_parameters()}
    assert types["text.transformer.resblocks.0.mlp.c_fc.weight"] == torch.bfloat16
    assert types["visual.ln_post.weight"] == types["text.positional_embedding"] == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert clip.text.dtype == torch.float32
    assert clip.text.dtype == torch.bfloat16


def test_amp_is_as_near_to_float32_as_casting_in_every_pass() -> None:
    step, _ = made("amp")
    exact = step.model
    plain = PromptedCLIP.of(tiny_clip(), Prompts([exact.segments()["text.adapting"]]), NAMES)
    with torch.no_grad():
        expected = plain(batch().images).logits
        with torch.autocast("cpu", torch.bfloat16):
            cast_anew = plain(batch().images).logits
            kept = PromptedCLIP(
                Precision("amp", torch.device("cpu")).place(tiny_clip()), exact.text, exact.vision, NAMES
            )(batch().images).logits
    assert torch.equal(kept, cast_anew)
    assert (kept - expected).abs().max() > 0


def test_losses_that_steer(clips: dict[str, str], tmp_path: Path) -> None:
    """ProGrad's rule against plain gradients of both losses, by hand."""
    case = next(case for case in CASES if case.trainer == "ProGrad")
    for scale in (1, -1):  # the second loss as it is, and turned round: one of them is opposed
        trainer = building.build(case, False, clips, tmp_path)
        step, (tokens,) = trainer.step, trainer.step.learned
        losses = trainer.losses
        step.losses = lambda output, given, scale=scale, losses=losses: (
            lambda found: found | {"kl": scale * found["kl"]}
        )(losses(output, given))
        given = Batch.of(building.batch(), trainer.device)
        terms = step.losses(trainer.model(given.images), given)
        own, general = (torch.autograd.grad(terms[name], tokens, retain_graph=True)[0] for name in ("ce", "kl"))
        step.gradients(given)
        along = (own * general).sum() / general.norm()
        expected = own - 0.5 * along * general / general.norm() if along < 0 else own
        torch.testing.assert_close(tokens.grad, expected)
