"""Checkpoints in the layout of the published zoos, converted: logits are those that the published code computed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caspl
from caspl.convert import methods
from caspl.convert.__main__ import main
from caspl.errors import CasPLError
from caspl.towers import CLIP
from caspl.towers.tokenizer import tokenize
from tests.parity import recipe
from tests.parity.published import (
    CASES,
    LOGITS_BEFORE,
    case_cfg,
    clip_weights,
    drawn,
    evaluate,
    read_case,
    recipe_clips,
)
from tests.runs import Runs, refused
from tests.stubs import make_trainer

WHOLE = ("MaPLe", "PromptSRC", "IVLP")
METHODS = {
    "coop_ctx4_end": "CoOp",
    "coop_ctx4_middle": "CoOp",
    "coop_ctx4_front_csc": "CoOp",
    "cocoop_words": "CoCoOp",
    "maple_depth3": "MaPLe",
    "maple_depth2_len6": "MaPLe",
    "promptsrc_4_4": "PromptSRC",
    "promptsrc_8_8": "PromptSRC",
    "ivlp_uneven": "IVLP",
}


@pytest.fixture(autouse=True)
def _recipe_clips() -> Iterator[None]:
    with recipe_clips():
        yield


def published(method: str, case: dict[str, Any], tokens: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict that the release of a method saves: tokens, embedded texts, of the later ones also the towers."""
    weights = clip_weights(case["seed"])
    (section,) = case["section"].values()
    count, words = tokens["prompt_learner.ctx"].shape[-2], section["CTX_INIT"]
    prefix = words if words and (count <= 4 or method not in WHOLE) else " ".join(["X"] * count)
    names = [name.replace("_", " ") for name in case["classnames"]]
    embedded = weights["token_embedding.weight"][tokenize([f"{prefix} {name}." for name in names])].half()
    state = dict(tokens)
    state["prompt_learner.token_prefix"] = embedded[:, :1]
    state["prompt_learner.token_suffix"] = embedded[:, 1 + count :].contiguous()
    if method not in WHOLE:
        return {key.removeprefix("prompt_learner."): value for key, value in state.items()}
    for key, value in CLIP.from_state_dict(weights).cast(torch.float16).openai_state_dict().items():
        if key == "logit_scale":
            state[key] = value
        elif key != "token_embedding.weight":
            tower, rest = ("image", key.removeprefix("visual.")) if key.startswith("visual.") else ("text", key)
            state[f"{tower}_encoder.{rest}"] = value
    if method == "PromptSRC":
        state["prompt_learner.ZS_image_encoder.proj"] = weights["visual.proj"].half()
    return state


def write(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """As Dassl does, with its scheduler as an object."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    scheduler = {"successor": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)}
    torch.save({"state_dict": state, "epoch": 3, "optimizer": optimizer.state_dict(), "scheduler": scheduler}, path)
    return path


def test_every_method_of_the_zoos_has_a_case() -> None:
    zoo = re.compile(r"(coop|cocoop|maple|promptsrc|ivlp)_")
    assert set(METHODS) <= {path.stem for path in CASES.glob("*.json") if zoo.match(path.stem)}
    assert set(METHODS.values()) == set(methods.FOLDERS)


@pytest.mark.parametrize("name", METHODS)
def test_logits_are_the_published_ones(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, expected = read_case(name)
    method = METHODS[name]
    (section,) = case["section"].values()
    position = section.get("CLASS_TOKEN_POSITION", "end")
    images = torch.from_numpy(recipe.images("test", 6, case["seed"]))
    tokens = {key: drawn(case, key) for key in case["learnable"]}
    stages = {"logits_before": tokens}
    final = {key: torch.from_numpy(expected[f"final/{key}"]) for key in tokens if f"final/{key}" in expected}
    if final.keys() == tokens.keys():  # of MaPLe's projections the cases hold the biases alone
        stages["logits_after"] = final
    for stage, values in stages.items():
        checkpoint = write(tmp_path / "model.pth.tar-3", published(method, case, values))
        line = [str(checkpoint), "--dataset", "EuroSAT", "--student", "recipe-0", "--position", position]
        assert main([*line, "-o", str(tmp_path / stage)]) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        assert f"{method} for {len(case['classnames'])} classes" in printed
        model = caspl.load(tmp_path / stage, device="cpu")
        assert model.classes == [one.replace("_", " ").lower() for one in case["classnames"]]
        np.testing.assert_allclose(model.logits(images), expected[stage], rtol=0, atol=LOGITS_BEFORE)
    if not section.get("CSC"):  # class-specific tokens ask for the very names, whose capitals no checkpoint has
        trainer = make_trainer(case_cfg(case, tmp_path), case["classnames"])
        trainer.load_model(str(tmp_path / stage), 3)  # as --eval-only does
        np.testing.assert_allclose(evaluate(trainer, case), expected[stage], rtol=0, atol=LOGITS_BEFORE)
    if "logits_new_classes" in expected and "logits_after" in stages:
        model.set_classes(case["new_classnames"])
        np.testing.assert_allclose(model.logits(images), expected["logits_new_classes"], rtol=0, atol=LOGITS_BEFORE)


def said(
    state: dict[str, torch.Tensor], folder: Path, capsys: pytest.CaptureFixture[str], *more: str, code: int = 2
) -> str:
    """The one sentence of a conversion that does not work, or with ``code`` 0 of one that does."""
    line = [str(write(folder / "model.pth.tar-3", state)), "--dataset", "EuroSAT", "-o", str(folder / "run"), *more]
    assert main([*line, *(() if "--student" in more else ("--student", "recipe-0"))]) == code
    printed = capsys.readouterr()
    assert code == 0 or not (folder / "run").exists()
    return printed.out if code == 0 else printed.err


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for name in ("coop_ctx4_end", "cocoop_words", "maple_depth3", "promptsrc_4_4"):
        case, _ = read_case(name)
        found[METHODS[name]] = published(METHODS[name], case, {key: drawn(case, key) for key in case["learnable"]})
    coop, maple = found["CoOp"], found["MaPLe"]
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["a", "b", "c", "d", "e"]))
    few = tmp_path / "few.txt"
    few.write_text("a\nb\n")
    deep = "prompt_learner.compound_prompts_text.0"
    vpt = "image_encoder.transformer.resblocks.1.VPT_shallow"
    cases: list[tuple[dict[str, torch.Tensor], list[str], str]] = [
        (coop, ["--student", "recipe-1000"], "the words in its token_suffix have other embeddings"),
        (maple, ["--student", "recipe-1000"], "was made with another student than recipe-1000: their"),
        (coop, ["--classnames", str(names)], "reads 'annual crop land', which is not the name 'a'"),
        (coop, ["--classnames", str(few)], "was made for 5 classes, but --classnames has 2"),
        (maple, ["--position", "front"], "--position is CoOp's"),
        (coop, ["-o", "run.safetensors"], "CoOp becomes the folder of a run, not a file"),
        (coop | {"prompts": coop["ctx"]}, [], "a method that is not converted: beside what CoOp has it holds prompts"),
        (coop | {"ctx": coop["ctx"][:, :8].contiguous()}, [], "tokens of width 8 in ctx"),
        (coop | {"ctx": coop["ctx"] * torch.nan}, [], "numbers in ctx that are not finite"),
        ({"ctx": coop["ctx"]}, [], "holds NoneType as token_suffix"),
        (coop | {"token_suffix": coop["token_suffix"][:, 20:].contiguous()}, [], "holds a class without a name"),
        (
            found["CoCoOp"] | {"meta_net.linear1.bias": torch.zeros(7)},
            [],
            "as meta_net.linear1.bias, where the student",
        ),
        (
            maple | {deep: torch.zeros(3, 512)},
            [],
            f"has {deep} of shape (3, 512) beside prompt_learner.ctx of (2, 512)",
        ),
        (without(maple, "prompt_learner.proj.bias"), [], "holds NoneType as prompt_learner.proj.bias"),
        (without(found["PromptSRC"], vpt), [], f"lacks {vpt}"),
    ]
    for state, more, sentence in cases:
        assert sentence in said(state, tmp_path, capsys, *more)


def without(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if key != name}


def test_names_that_are_given_and_a_run_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, expected = read_case("coop_ctx4_front_csc")
    state = published("CoOp", case, {key: drawn(case, key) for key in case["learnable"]})
    names = tmp_path / "names.txt"
    names.write_text("\n".join(case["classnames"]))
    more = ("--position", "front", "--classnames", str(names))
    said(state, tmp_path, capsys, *more, code=0)
    trainer = make_trainer(case_cfg(case, tmp_path), case["classnames"])
    trainer.load_model(str(tmp_path / "run"), 3)
    np.testing.assert_allclose(evaluate(trainer, case), expected["logits_before"], rtol=0, atol=LOGITS_BEFORE)
    again = [str(tmp_path / "model.pth.tar-3"), "--dataset", "EuroSAT", "--student", "recipe-0", *more]
    assert main([*again, "-o", str(tmp_path / "run")]) == 2
    assert "is there already; replace it with --force" in capsys.readouterr().err
    assert main([*again, "-o", str(tmp_path / "run"), "--force"]) == 0


@pytest.mark.parametrize("objects", [True, False])
def test_the_refusal_of_a_published_file_names_the_command(tmp_path: Path, objects: bool) -> None:
    case, _ = read_case("coop_ctx4_end")
    path, state = tmp_path / "model.pth.tar-3", published("CoOp", case, {k: drawn(case, k) for k in case["learnable"]})
    if objects:
        write(path, state)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    with pytest.raises(CasPLError, match=re.escape(f"python -m caspl.convert {path} --dataset NAME")):
        caspl.load(path, device="cpu")


def test_evaluation_names_the_command_too(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, _ = read_case("coop_ctx4_end")
    folder = tmp_path / "theirs/prompt_learner"
    folder.mkdir(parents=True)
    path = write(folder / "model.pth.tar-3", published("CoOp", case, {k: drawn(case, k) for k in case["learnable"]}))
    line = runs.arguments("CoOp", "CoOp/vit_b16_ep50_ctxv1", "new", "--eval-only", "--model-dir", str(folder.parent))
    assert f"python -m caspl.convert {path} --dataset NAME" in refused(capsys, [*line, "--load-epoch", "3"])
