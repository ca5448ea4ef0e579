"""CoPrompt, which has no published case: its step by a plain computation, from a file of sentences and two views."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.prompts import Prompts
from caspl.step import Batch
from caspl.towers import tokenize
from tests.cases import CASES
from tests.conftest import CLASSES
from tests.tiny_clip import SIZES
from tests.trainers.building import batch, build

CASE = next(case for case in CASES if case.trainer == "CoPrompt")


def sentences(folder: Path) -> dict[str, Any]:
    """A file in which some classes have more texts than others, and the names other letters."""
    texts = {name.upper().replace(" ", "_"): [f"{name} seen from a plane", f"land: {name}"] for name in CLASSES}
    texts[CLASSES[0].upper().replace(" ", "_")].append("one more")
    (folder / "texts.json").write_text(json.dumps(texts))
    return {"TRAINER__COPROMPT__TEXTS": str(folder / "texts.json"), "DATALOADER__K_TRANSFORMS": 2}


@pytest.mark.parametrize("distill", ["cosine", "mse"])
@pytest.mark.parametrize("boosted", [False, True])
def test_a_step_by_a_plain_computation(boosted: bool, distill: str, clips: dict[str, str], tmp_path: Path) -> None:
    more = sentences(tmp_path) | {"TRAINER__COPROMPT__DISTILL": distill, "TRAINER__COPROMPT__W": 3.0}
    trainer = build(CASE, boosted, clips, tmp_path, **more)
    first, second = batch(1)["img"], batch(2)["img"]
    given = Batch.of({"img": [first, second], "label": batch(1)["label"]}, trainer.device)
    assert given.images.shape == (2, 4, 3, SIZES.resolution, SIZES.resolution)
    clip, model = trainer.model.clip, trainer.model
    with torch.no_grad():
        tokens = {name: model.vision.segments[name] for name in model.vision.segments if name != "adapter"}
        _, vision = Prompts(vision=list(tokens.values())).cascade()
        texts, _ = Prompts(list(model.text.before)).cascade()
        bare = PromptedCLIP(clip, texts, vision, CLASSES)
        image = clip.visual(first, bare.vision.refresh)
        text = bare.text(clip.text)
        adapters = {tower: getattr(model, tower).segments["adapter"].fc for tower in ("vision", "text")}

        def mixed(features: torch.Tensor, tower: str, part: float) -> torch.Tensor:
            down, up = adapters[tower][0].weight, adapters[tower][2].weight
            changed = ((features @ down.t()).clamp(min=0) @ up.t()).clamp(min=0)
            return F.normalize(part * changed + (1 - part) * features, dim=-1)

        image, text = mixed(image, "vision", 0.1), mixed(text, "text", 0.2)
        frozen = F.normalize(clip.visual(second), dim=-1)
        logits = clip.logit_scale.exp() * image @ text.t()
        for number in range(3):
            said = [f"land: {name}" if number == 1 else f"{name} seen from a plane" for name in CLASSES]
            said[0] = "one more" if number == 2 else said[0]
            wanted = F.normalize(clip.encode_text(tokenize(said)), dim=-1)
            trainer.which.fill_(number)
            terms = trainer.losses(model(given.first), given)
            expected = {"ce": F.cross_entropy(logits, given.labels)}
            for name, (ours, theirs) in {"text": (text, wanted), "image": (image, frozen)}.items():
                if distill == "cosine":
                    expected[name] = 3 * (1 - F.cosine_similarity(ours, theirs).mean())
                else:
                    expected[name] = 3 * (ours - theirs).square().mean()
            assert terms.keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-5)


def test_two_views_come_through_a_step_and_sentences_are_drawn(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASE, False, clips, tmp_path, **sentences(tmp_path))
    views = {"img": [batch(1)["img"], batch(2)["img"]], "label": batch(1)["label"]}
    numbers = trainer.forward_backward(views)
    assert set(numbers) == {"loss", "acc", "ce", "text", "image"}
    drawn = []
    for trainer.batch_idx in range(60):
        trainer.draw()
        drawn.append(int(trainer.which))
    assert {0, 1, 2} == set(drawn)


def test_a_boosted_reference_reads_no_sentences(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    boosted = build(CASE, True, clips, tmp_path, TRAINER__CASPL__REFERENCE="boosted", **sentences(tmp_path))
    alone = build(CASES[0], True, clips, tmp_path)
    torch.testing.assert_close(boosted.sentences[0], alone.model.encode_text().detach())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("no json", "cannot be read"),
        ("[]", "holds no class names"),
        ('{"Forest": "a text"}', "no list of texts for 'Forest'"),
        ('{"Forest": []}', "no list of texts for 'Forest'"),
        ('{"Forest": ["a"], "forest": ["b"]}', "has a class twice"),
        ('{"Forest": ["a forest"]}', rf"no texts for {len(CLASSES) - 1} of {len(CLASSES)} classes .*COPROMPT\.TEXTS"),
    ],
)
def test_files_that_are_wrong(content: str, sentence: str, clips: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text(content)
    with pytest.raises(CasPLError, match=sentence):
        build(CASE, False, clips, tmp_path, TRAINER__COPROMPT__TEXTS=str(tmp_path / "texts.json"))
