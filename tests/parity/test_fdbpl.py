"""FDBPL's parts alone against its own functions: regions, stored labels, targets, weights, one step's losses."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as T

from caspl.dassl.views import _seen
from caspl.losses.kept_labels import released_tail, shared_tail, top_logits
from caspl.losses.regions import certainty, decidedness, each_way, likeness, margin_difference, summed_difference
from caspl.pixels import OPENAI_MEAN, OPENAI_STD
from caspl.store import View
from tests.parity.published import read_case

CASE, EXPECTED = read_case("fdbpl_units")
STEPS = ("hand", "drawn")
MARGIN = 0.2


def given(name: str) -> Tensor:
    return torch.from_numpy(EXPECTED[name])


def agrees(found: Tensor, name: str, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, given(name), rtol=rtol, atol=atol)


def test_a_region_is_replayed_to_the_bit() -> None:
    """From its box in whole pixels; the release keeps fractions of the picture."""
    said, picture = CASE["region"], EXPECTED["region/picture"]
    height, width = picture.shape[:2]
    size = (said["output"], said["output"])
    for number, box in enumerate(said["boxes_top_left_height_width"]):
        fractions = given("region/coords")[number] * torch.tensor([height, width, height, width])
        assert fractions.round().int().tolist() == box
        view = View(*box, flip=bool(EXPECTED["region/flips"][number]), size=size)
        cut = _seen(Image.fromarray(picture), view, InterpolationMode.BICUBIC)
        shown = T.normalize(T.to_tensor(cut), list(OPENAI_MEAN), list(OPENAI_STD))
        assert torch.equal(shown, given("region/views")[number])


@pytest.mark.parametrize("k", [5, 10])
def test_what_is_kept_and_what_it_gives_back(k: int) -> None:
    logits = given("labels/logits")
    kept, count = top_logits(logits, k), logits.shape[1]
    stored = given(f"labels/stored/marginal_smoothing_k{k}")
    assert torch.equal(kept.classes.float(), stored[:, 0])
    assert torch.equal(kept.values, stored[:, 1])
    agrees(released_tail(kept, count), f"labels/fkd_of_logits/marginal_smoothing_k{k}")
    agrees(shared_tail(kept, count).exp(), f"labels/fkd_of_probabilities/marginal_smoothing_k{k}")


def test_weights_and_what_the_tails_lose() -> None:
    logits = given("labels/logits")
    kept, count = top_logits(logits, 10), logits.shape[1]
    agrees(certainty(logits), "labels/weight/dense")
    for name, dense in (("logits", released_tail(kept, count)), ("probabilities", shared_tail(kept, count))):
        agrees(certainty(dense), f"labels/weight/fkd_of_{name}_k10")
        lost, _ = each_way(dense, logits)
        agrees(lost, f"labels/kl_dense_to/fkd_of_{name}_k10", rtol=2e-2, atol=1e-6)  # of what is left of 1 in float32


def test_nothing_is_lost_where_the_tail_is_uniform() -> None:
    logits = torch.tensor([[5.0, 4.0, 1.0, 1.0, 1.0]])
    torch.testing.assert_close(shared_tail(top_logits(logits, 2), 5), logits.log_softmax(-1))
    sure = torch.tensor([[200.0, 0.0, 0.0]])  # nothing is left: finite all the same
    assert shared_tail(top_logits(sure, 1), 3).isfinite().all()


@pytest.mark.parametrize("name", STEPS)
def test_a_step_has_the_terms_and_gradients_of_the_release(name: str) -> None:
    teacher, (positive, negative) = (
        given(f"loss/{name}/teacher_logits"),
        (given(f"loss/{name}/logits_{which}").requires_grad_() for which in ("positive", "negative")),
    )
    weights, (forward, reverse) = certainty(teacher), each_way(positive, teacher)
    unsure, alike = decidedness(negative), likeness(positive, negative)
    texts = [given(f"loss/{name}/text_{which}").requires_grad_() for which in ("positive", "negative")]
    cascade = summed_difference(*texts, teacher)
    found = {"w": weights, "forward": forward, "reverse": reverse, "negative": unsure, "cosine": alike}
    for term, value in found.items():
        agrees(value.detach(), f"loss/{name}/term_{term}", rtol=1e-5, atol=1e-5)
    total = (0.5 * weights * (forward + reverse) + (1 - weights) * unsure + 0.001 * weights * alike).mean()
    total = total + 0.1 * cascade
    agrees(total.detach(), f"loss/{name}/total", atol=1e-5)
    total.backward()
    for which, value in (("positive", positive), ("negative", negative)):
        assert value.grad is not None
        agrees(value.grad, f"loss/{name}/grad_logits_{which}", atol=1e-5)


@pytest.mark.parametrize("name", STEPS)
def test_the_difference_between_classes_as_released_is_nothing(name: str) -> None:
    texts = [given(f"loss/{name}/text_{which}").requires_grad_() for which in ("positive", "negative")]
    value = summed_difference(*texts, given(f"loss/{name}/teacher_logits"))
    assert abs(float(value.detach())) < 1e-6
    value.backward()
    assert all(text.grad is not None and text.grad.abs().max() < 1e-6 for text in texts)


def pairs_of(teacher: Tensor) -> int:
    """Of images that the teacher says are of different classes."""
    classes = teacher.argmax(dim=1).tolist()
    return sum(a < b for a in classes for b in classes)


@pytest.mark.parametrize("name", STEPS)
def test_the_margin_form_has_a_gradient(name: str) -> None:
    """Value and gradients of the commented-out lines; theirs is the sum over pairs, ours the mean."""
    teacher, image = given(f"loss/{name}/teacher_logits"), given(f"loss/{name}/image_features")
    texts = [given(f"loss/{name}/text_{which}").requires_grad_() for which in ("positive", "negative")]
    pairs = pairs_of(teacher)
    assert pairs == CASE["loss"][name]["margin_pairs"]
    value = margin_difference(image, *texts, teacher, certainty(teacher), MARGIN)
    agrees(value.detach() * pairs, f"loss/{name}/margin", rtol=1e-4)
    value.backward()
    for which, text in zip(("positive", "negative"), texts, strict=True):
        assert text.grad is not None
        assert text.grad.abs().max() > 1e-3
        expected = given(f"loss/{name}/grad_text_positive_of_margin") * (1 if which == "positive" else -1)
        torch.testing.assert_close(text.grad * pairs, expected, rtol=1e-4, atol=1e-5)


def test_one_class_has_no_pairs() -> None:
    teacher = torch.tensor([[3.0, 0.0], [2.0, 1.0]])
    texts = [torch.eye(2).requires_grad_(), -torch.eye(2)]
    value = margin_difference(torch.eye(2), *texts, teacher, certainty(teacher), MARGIN)
    value.backward()
    assert float(value.detach()) == 0
    assert not texts[0].grad.any()  # type: ignore[union-attr]
