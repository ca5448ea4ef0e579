"""The published cases: how they are run, and where their tensors stand in ours (see README.md beside this file)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from yacs.config import CfgNode

from caspl.boosting import Header, write_boosting
from caspl.checkpoint import SegmentStore
from caspl.model import PromptedCLIP
from caspl.prompts import Prompts, Segment
from caspl.towers import CLIP
from caspl.zoo import SHIPPED, weights_hash
from tests.device import DEVICE
from tests.parity import recipe

CASES = Path(__file__).parent / "cases"
LOGITS_BEFORE, LOSSES, LOGITS_AFTER = 1e-4, 5e-4, 2e-3  # what agreement means, from the noise of the originals


def read_case(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What was run, and what came out."""
    return json.loads((CASES / f"{name}.json").read_text()), dict(np.load(CASES / f"{name}.npz"))


WIDE = 768
"""Width of the features of PromptKD's teacher."""


@lru_cache(maxsize=3)
def clip_weights(seed: int, width: int = recipe.EMBED_DIM) -> dict[str, torch.Tensor]:
    """The recipe's CLIP, with features of some width."""
    weights = recipe.clip_state_dict(seed)
    for key in ("text_projection", "visual.proj"):
        rows = weights[key].shape[0]
        weights[key] = recipe.draw(key, (rows, width), rows**-0.5, seed)
    return {key: torch.from_numpy(np.asarray(value)) for key, value in weights.items()}


@contextmanager
def recipe_clips() -> Iterator[None]:
    """The recipe's CLIPs, as ``recipe-<seed>``."""
    names = {"recipe-0": (0, 512), "recipe-1000": (1000, 512), "recipe-wide": (1000, WIDE)}
    for name, (seed, width) in names.items():
        SHIPPED[name] = lambda seed=seed, width=width: clip_weights(seed, width)
    yield
    for name in names:
        del SHIPPED[name]


def token_place(published: str) -> tuple[str, str, int]:
    """A published token tensor's name -> our (tower, segment, layer)."""
    segment = "boosting" if "FIRST" in published or "teacher" in published else "adapting"
    segment = "negative" if "generic" in published else segment
    tower = "vision" if published.startswith("image_encoder") else "text"
    block = re.search(r"resblocks\.(\d+)\.", published)
    deep = re.search(r"compound_prompts_text\.(\d+)", published)
    layer = int(block.group(1)) if block else int(deep.group(1)) + 1 if deep else 0
    return tower, segment, layer


# Weights of the published couplings -> ours; the published names of deep projections count from 0.
WEIGHTS = (
    (r"prompt_learner\.mean_posterior", "text.adapting.mean.values"),
    (r"prompt_learner\.std_posterior", "text.adapting.log_variance.values"),
    (r"prompt_learner\.meta_net\.weight_(mean|log_variance)\.module\.(.*)", r"text.adapting.\1.\2"),
    (r"prompt_learner\.meta_net\.(.*)", r"text.adapting.meta_net.\1"),
    (r"VPT_image_trans\.conv1\.0\.(.*)", r"vision.projector.first.\1"),
    (r"VPT_image_trans\.conv1\.1\.(.*)", r"vision.projector.norm.\1"),
    (r"VPT_image_trans\.conv1\.3\.(.*)", r"vision.projector.last.\1"),
    (r"prompt_learner\.w", "text.correction.values"),
    (r"image_encoder\.transformer\.resblocks\.(\d+\.ln_\d\..*)", r"vision.norms.blocks.\1"),
    (r"prompt_learner\.proj\.(.*)", r"vision.adapting.first.\1"),
    (r"prompt_learner\.compound_prompt_projections\.(\d+)\.(.*)", r"vision.adapting.deep.0.\1.\2"),
    (r"prompt_learner\.txt2img_proj\.(\d+)\.(\d+)\.(.*)", r"vision.adapting.deep.\1.\2.\3"),
)


OVERWRITTEN = "prompt_learner.compound_prompts_image"
"""COMMA's, which its optimizer steps and its forward pass overwrites: nothing of ours."""


def target(published: str, ours: dict[str, torch.Tensor]) -> torch.Tensor:
    """Where a published learnable tensor stands in our state, by their name."""
    if published.endswith("compound_prompts_text"):
        return ours["text.adapting.values"][1:]
    if match := re.fullmatch(r".*compound_prompt_projections_image(?:_base|\.(\d+))\.(.*)", published):
        number = 0 if match[1] is None else int(match[1]) + 1
        return ours[f"vision.adapting.nets.{number}.{match[2]}"]
    for pattern, name in WEIGHTS:
        match = re.fullmatch(pattern, published)
        if match:
            return ours[match.expand(name)]
    tower, segment, layer = token_place(published)
    return ours[f"{tower}.{segment}.values"][layer]


def drawn(case: dict[str, Any], published: str) -> torch.Tensor:
    """What a learnable tensor of a case is set to."""
    shape, seed = (case["learnable"] | case.get("no_gradient", {}))[published], case["seed"]
    if published not in case.get("draws", {}):
        return draw(published, shape, seed)
    std, mean = case["draws"][published]
    return torch.from_numpy(recipe.draw(f"prompt/{published}", tuple(shape), std, seed, mean))


def draw(published: str, shape: list[int], seed: int) -> torch.Tensor:
    std = shape[-1] ** -0.5 if "proj" in published and len(shape) == 2 else 0.02
    return torch.from_numpy(recipe.draw(f"prompt/{published}", tuple(shape), std, seed))


def write_frozen(case: dict[str, Any], folder: Path) -> str:
    """The case's frozen boosting tokens as a boosting file of ours."""
    layers: dict[str, dict[int, torch.Tensor]] = {"text": {}, "vision": {}}
    for name, shape in case["frozen"].items():
        tower, _, layer = token_place(name)
        layers[tower][layer] = draw(name, shape, case["seed"])
    tokens = [torch.stack([found[i] for i in range(len(found))]) for found in layers.values()]
    student = weights_hash(CLIP.from_state_dict(clip_weights(case["seed"])))
    names = tuple(case["classnames"])
    header = Header("recipe-0", student, "recipe-1000", "EuroSAT", names, "a photo of a {}.", 1, 20, 1.0)
    return str(write_boosting(folder / "boosting.safetensors", header, *tokens))


def write_teacher(case: dict[str, Any], folder: Path) -> str:
    """The prompted teacher of a case as a checkpoint of ours, of class names that are not the case's."""
    layers: dict[str, dict[int, torch.Tensor]] = {"text": {}, "vision": {}}
    for name, shape in case["teacher_tokens"].items():
        tower, _, layer = token_place(name)
        layers[tower][layer] = torch.from_numpy(recipe.draw(f"teacher/{name}", tuple(shape), 0.02, case["seed"]))
    text, vision = (
        Segment("adapting", torch.stack([found[i] for i in range(len(found))])) for found in layers.values()
    )
    clip = CLIP.from_state_dict(clip_weights(1000, WIDE))
    model = PromptedCLIP.of(clip, Prompts([text], vision=[vision]), ["none of them"])
    kept = SegmentStore(model, "recipe-wide", weights_hash(clip))
    torch.save({"state_dict": kept.state_dict()}, folder / "teacher.pth.tar")
    return str(folder / "teacher.pth.tar")


def learnable(trainer: Any) -> dict[str, torch.Tensor]:
    """What trains in a trainer of another code base, by its published name; no boosting tokens."""
    return {n: value for n, value in trainer.model.named_parameters() if value.requires_grad and "caspl_" not in n}


def set_published(trainer: Any, case: dict[str, Any]) -> None:
    """Give a trainer of another code base the tokens of a case."""
    found = learnable(trainer)
    if found.keys() != case["learnable"].keys():
        raise AssertionError(f"learnable are {sorted(found)}, published are {sorted(case['learnable'])}")
    for name, value in found.items():
        value.data.copy_(draw(name, case["learnable"][name], case["seed"]))


def kgcoop(case: dict[str, Any]) -> dict[str, Any]:
    """KgCoOp's release has CoOp's section, with a switch where words are."""
    said = case["section"]["COOP"]
    return {"N_CTX": said["N_CTX"], "CTX_INIT": "a photo of a" if said["CTX_INIT"] else "", "W": said["W"]}


def promptot(case: dict[str, Any]) -> dict[str, Any]:
    """Prompt-OT's release has keys of PromptSRC's that it does not read, and its weight outside the section."""
    unread = {"TEXT_LOSS_WEIGHT", "IMAGE_LOSS_WEIGHT", "GPA_MEAN", "GPA_STD"}
    return {key: value for key, value in case["section"]["PROMPTOT"].items() if key not in unread} | {
        "DIV": case["div"]
    }


def prograd(case: dict[str, Any]) -> dict[str, Any]:
    """ProGrad's release has CoOp's section and one of its losses; with a switch where words are."""
    keys = {"N_CTX", "CSC", "PREC", "CLASS_TOKEN_POSITION"}
    own = {key: value for key, value in case["section"]["COOP"].items() if key in keys}
    own |= {"CTX_INIT": "template" if case["section"]["COOP"]["CTX_INIT"] else ""}
    return own | {key: case["section"]["LOSS"][key] for key in ("T", "LAMBDA")}


def tcp(case: dict[str, Any]) -> dict[str, Any]:
    """TCP's release has CoOp's section, and its layer and weight as literals."""
    return {"N_CTX": case["section"]["COOP"]["N_CTX"], "CTX_INIT": "", "W": 8.0, "LAYER": case["layer"]}


def promptkd(case: dict[str, Any]) -> dict[str, Any]:
    """PromptKD's release has keys of stage 1 in its section, and the teacher is always its own ViT-L/14."""
    keys = {"N_CTX_VISION", "PROMPT_DEPTH_VISION", "PREC", "KD_WEIGHT", "TEMPERATURE"}
    own = {key: value for key, value in case["section"]["PROMPTKD"].items() if key in keys}
    return own | ({} if "teacher_tokens" in case else {"TEACHER_TEMPLATE": case["teacher_template"]})


def lasp(case: dict[str, Any]) -> dict[str, Any]:
    """LASP's release has keys that it does not read, clips under amp alone, and asks for all classes elsewhere."""
    keys = {"N_CTX", "CTX_INIT", "LASP_LOSS_WEIGHT", "ENABLE_CORRECTION", "FINETUNE_VIT_LN"}
    said = case["section"]["LASP"]
    own = {key: value for key, value in said.items() if key in keys}
    own |= {"LASP_PROMPTS": tuple(said["LASP_PROMPTS"]), "CLIP_NORM": float(said["PREC"] == "amp"), "PREC": "fp32"}
    return own | {"VIRTUAL": case.get("include_all_classes", False)}


def comma(case: dict[str, Any]) -> dict[str, Any]:
    """COMMA's release counts blocks that its towers do not run, and does not train its generators."""
    said = case["section"]["COMMA"]
    return {key: value for key, value in said.items() if key != "LAST_LAYER"} | {"GENERATORS": "fixed"}


def bayes(case: dict[str, Any]) -> dict[str, Any]:
    """The release's trainer and section are called VPT."""
    said = dict(case["section"]["VPT"])
    return said | {"CONDITIONED": said.pop("VPT_TYPE") == "cocoopvpt"}


SECTIONS = {
    "TCP": tcp,
    "BayesPrompt": bayes,
    "COMMA": comma,
    "LASP": lasp,
    "KgCoOp": kgcoop,
    "ProGrad": prograd,
    "PromptKD": promptkd,
    "PromptOT": promptot,
}
"""Trainers whose published settings are not ours word for word -> our section of a case."""


FDBPL = {"CoOp_OFF": "FDBPL_CoOp", "promptsrc_off": "FDBPL_PromptSRC"}
"""FDBPL's trainers -> ours."""


def case_cfg(case: dict[str, Any], folder: Path) -> CfgNode:
    """A case as a config of ours; its boosting tokens are written into a folder."""
    trainer = case["reference"].split()[-1]
    trainer = FDBPL.get(trainer, trainer)
    if "Bayesian" in case["reference"]:
        trainer = "BayesPrompt"
    if trainer.endswith("_KDPL"):
        trainer = "KDPL_" + trainer.removesuffix("_KDPL")
    settings: dict[str, Any] = {
        "OPTIM__LR": case["lr"],
        "OPTIM__MAX_EPOCH": case["epochs"],
        "OUTPUT_DIR": str(folder),
        "DATASET__NAME": case.get("dataset", "EuroSAT"),
        "TRAINER__CASPL__TEACHER": "recipe-1000",
    }
    if "optim" in case:
        settings["OPTIM__NAME"] = case["optim"]["name"]
    own = SECTIONS.get(trainer)
    if own is not None:
        settings |= {f"TRAINER__{own.__name__.upper()}__{key}": value for key, value in own(case).items()}
    if trainer == "PromptKD":
        tuned = "teacher_tokens" in case
        settings["TRAINER__PROMPTKD__TEACHER"] = write_teacher(case, folder) if tuned else "recipe-wide"
    if trainer.startswith("KDPL_"):
        settings["TRAINER__KDPL__TEACHER"] = "recipe-1000"
        settings |= {f"TRAINER__KDPL__{key}": case["section"]["KDPL"][key] for key in ("CLASS_AGNOSTIC", "K_MAX")}
        if "dictionary" in case:
            (folder / "names.txt").write_text("\n".join(case["dictionary"]))
            settings["TRAINER__KDPL__DICTIONARY"] = str(folder / "names.txt")
    if trainer.startswith("FDBPL_"):
        settings |= {"TRAINER__FDBPL__TEACHER": "recipe-1000", "TRAINER__FDBPL__PCD": "released"}
        if case["targets"].startswith("top"):
            kept = {"TOP_K": int(case["targets"].removeprefix("top")), "TAIL": "released"}
            settings |= {f"TRAINER__FDBPL__{key}": value for key, value in kept.items()}
    for section, values in {} if own is not None else case["section"].items():
        if section == "KDPL" or (trainer == "FDBPL_PromptSRC" and section == "COOP"):
            continue
        section = "CASPL" if trainer == "CasPL" else section
        settings |= {f"TRAINER__{section}__{key}": value for key, value in values.items() if section != "KD"}
    if trainer == "CasPL":
        kept = {"N_CTX_VISION", "N_CTX_TEXT", "CTX_INIT", "PREC", "PROMPT_DEPTH_VISION", "PROMPT_DEPTH_TEXT"}
        settings = {k: v for k, v in settings.items() if "CASPL" not in k or k.split("__")[-1] in {*kept, "TEACHER"}}
    if case.get("frozen"):
        settings["TRAINER__CASPL__BOOSTING"] = write_frozen(case, folder)
    from tests.stubs import make_cfg  # late: it imports our trainers, which other code bases have others for

    return make_cfg(trainer, "recipe-0", recipe.RESOLUTION, **settings)


def evaluate(trainer: Any, case: dict[str, Any]) -> np.ndarray:
    trainer.set_model_mode("eval")
    with torch.no_grad():
        images = torch.from_numpy(recipe.images("test", 6, case["seed"])).to(DEVICE)
        if hasattr(trainer, "posterior"):
            alone = "for test image I" in case["note"]
            parts = images.split(1) if alone else [images]
            names = [f"noise/test/{number}" if alone else "noise/test" for number in range(len(parts))]
            return np.concatenate([sampled(trainer, case, *pair) for pair in zip(names, parts, strict=True)])
        return trainer.model_inference(images).cpu().numpy()


def sampled(trainer: Any, case: dict[str, Any], name: str, images: torch.Tensor) -> np.ndarray:
    """Logits with the noise of that name."""
    noise = trainer.posterior.noise
    noise.copy_(torch.from_numpy(recipe.draw(name, tuple(noise.shape), 1.0, case["seed"])))
    return trainer.model_inference(images).cpu().numpy()


def draw_noise(trainer: Any, case: dict[str, Any], name: str) -> None:
    """What is random in a step, as the case says; nothing where its note does not speak of noise."""
    if "recipe.draw('noise/" in case.get("note", ""):
        found = recipe.draw(f"noise/{name}", tuple(trainer.noise.shape), 1.0, case["seed"])
        trainer.noise.copy_(torch.from_numpy(found))


def run_training(trainer: Any, case: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Losses of every batch and the learning rate of every epoch."""
    losses, rates, of_norms = [], [], []
    trainer.max_epoch, trainer.num_batches = case["epochs"], case["batches"]
    trainer.set_model_mode("train")
    for trainer.epoch in range(case["epochs"]):
        rates.append(trainer.get_current_lr())
        of_norms.append(trainer.optim.param_groups[-1]["lr"])
        for trainer.batch_idx in range(case["batches"]):
            name = f"train/{trainer.epoch}/{trainer.batch_idx}"
            trainer.draw = partial(draw_noise, trainer, case, name)
            labels = recipe.labels(name, case["batch"], len(case["classnames"]), case["seed"])
            images = recipe.images(name, case["batch"], case["seed"])
            batch = {"img": torch.from_numpy(images), "label": torch.from_numpy(labels)}
            losses.append(float(trainer.forward_backward(batch)["loss"]))
    if "lrs_ln" in case:
        np.testing.assert_allclose(of_norms, case["lrs_ln"], rtol=1e-6)
    return losses, rates


def require_agreement(trainer: Any, case: dict[str, Any], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """Evaluate, train and evaluate a trainer of a case; it agrees with what was published.

    Returns:
        The largest differences.
    """
    found = {"logits_before": evaluate(trainer, case)}
    found["losses"], rates = (np.asarray(values) for values in run_training(trainer, case))
    found["logits_after"] = evaluate(trainer, case)
    np.testing.assert_allclose(rates, expected["lrs"], rtol=1e-6)
    for name, tolerance in (("logits_before", LOGITS_BEFORE), ("losses", LOSSES), ("logits_after", LOGITS_AFTER)):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance, err_msg=name)
    return {name: float(np.abs(value - expected[name]).max()) for name, value in found.items()}
