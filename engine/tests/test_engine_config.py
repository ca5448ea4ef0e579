"""Defaults, the rules of yacs that repositories rely on, and the sections that they add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from yacs.config import CfgNode as CN

from dassl.config import clean_cfg, get_cfg_default

DEFAULTS: dict[str, Any] = {
    "VERSION": 1, "OUTPUT_DIR": "./output", "RESUME": "", "SEED": -1, "USE_CUDA": True, "VERBOSE": True,
    "INPUT.SIZE": (224, 224), "INPUT.INTERPOLATION": "bilinear", "INPUT.BACKEND": "pil", "INPUT.TRANSFORMS": (),
    "INPUT.NO_TRANSFORM": False, "INPUT.PIXEL_MEAN": [0.485, 0.456, 0.406],
    "INPUT.PIXEL_STD": [0.229, 0.224, 0.225], "INPUT.CROP_PADDING": 4, "INPUT.RRCROP_SCALE": (0.08, 1.0),
    "INPUT.CUTOUT_N": 1, "INPUT.CUTOUT_LEN": 16, "INPUT.GN_MEAN": 0.0, "INPUT.GN_STD": 0.15,
    "INPUT.RANDAUGMENT_N": 2, "INPUT.RANDAUGMENT_M": 10, "INPUT.COLORJITTER_B": 0.4,
    "INPUT.COLORJITTER_C": 0.4, "INPUT.COLORJITTER_S": 0.4, "INPUT.COLORJITTER_H": 0.1, "INPUT.RGS_P": 0.2,
    "INPUT.GB_P": 0.5, "INPUT.GB_K": 21,
    "DATASET.ROOT": "", "DATASET.NAME": "", "DATASET.SOURCE_DOMAINS": (), "DATASET.TARGET_DOMAINS": (),
    "DATASET.NUM_LABELED": -1, "DATASET.NUM_SHOTS": -1, "DATASET.VAL_PERCENT": 0.1, "DATASET.STL10_FOLD": -1,
    "DATASET.CIFAR_C_TYPE": "", "DATASET.CIFAR_C_LEVEL": 1, "DATASET.ALL_AS_UNLABELED": False,
    "DATALOADER.NUM_WORKERS": 4, "DATALOADER.SEEDED": True, "DATALOADER.K_TRANSFORMS": 1,
    "DATALOADER.RETURN_IMG0": False,
    "DATALOADER.CACHE_BYTES": 0, "DATALOADER.CACHE_DIR": "", "DATALOADER.CACHE_SHORT_SIDE": 0,
    "DATALOADER.TRAIN_X.SAMPLER": "RandomSampler", "DATALOADER.TRAIN_X.BATCH_SIZE": 32,
    "DATALOADER.TRAIN_X.N_DOMAIN": 0, "DATALOADER.TRAIN_X.N_INS": 16, "DATALOADER.TRAIN_U.SAME_AS_X": True,
    "DATALOADER.TRAIN_U.SAMPLER": "RandomSampler", "DATALOADER.TRAIN_U.BATCH_SIZE": 32,
    "DATALOADER.TRAIN_U.N_DOMAIN": 0, "DATALOADER.TRAIN_U.N_INS": 16,
    "DATALOADER.TEST.SAMPLER": "SequentialSampler", "DATALOADER.TEST.BATCH_SIZE": 32,
    "MODEL.INIT_WEIGHTS": "", "MODEL.BACKBONE.NAME": "", "MODEL.BACKBONE.PRETRAINED": True,
    "MODEL.HEAD.NAME": "", "MODEL.HEAD.HIDDEN_LAYERS": (), "MODEL.HEAD.ACTIVATION": "relu",
    "MODEL.HEAD.BN": True, "MODEL.HEAD.DROPOUT": 0.0,
    "OPTIM.NAME": "adam", "OPTIM.LR": 0.0003, "OPTIM.WEIGHT_DECAY": 0.0005, "OPTIM.MOMENTUM": 0.9,
    "OPTIM.SGD_DAMPNING": 0, "OPTIM.SGD_NESTEROV": False, "OPTIM.RMSPROP_ALPHA": 0.99,
    "OPTIM.ADAM_BETA1": 0.9, "OPTIM.ADAM_BETA2": 0.999, "OPTIM.STAGED_LR": False, "OPTIM.NEW_LAYERS": (),
    "OPTIM.BASE_LR_MULT": 0.1, "OPTIM.LR_SCHEDULER": "single_step", "OPTIM.STEPSIZE": (-1,),
    "OPTIM.GAMMA": 0.1, "OPTIM.MAX_EPOCH": 10, "OPTIM.WARMUP_EPOCH": -1, "OPTIM.WARMUP_TYPE": "linear",
    "OPTIM.WARMUP_CONS_LR": 1e-05, "OPTIM.WARMUP_MIN_LR": 1e-05, "OPTIM.WARMUP_RECOUNT": True,
    "TRAIN.CHECKPOINT_FREQ": 0, "TRAIN.PRINT_FREQ": 10, "TRAIN.COUNT_ITER": "train_x",
    "TEST.EVALUATOR": "Classification", "TEST.PER_CLASS_RESULT": False, "TEST.COMPUTE_CMAT": False,
    "TEST.NO_TEST": False, "TEST.SPLIT": "test", "TEST.FINAL_MODEL": "last_step", "TRAINER.NAME": "",
}  # fmt: skip


def leaves(node: CN, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        found.update(leaves(value, f"{prefix}{key}.") if isinstance(value, CN) else {prefix + key: value})
    return found


def test_defaults_with_types() -> None:
    found = leaves(get_cfg_default())
    assert found == DEFAULTS
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in DEFAULTS.items()}


def test_copies_are_independent_and_unfrozen() -> None:
    first = get_cfg_default()
    first.INPUT.PIXEL_MEAN.append(1.0)
    first.INPUT.SIZE = (1, 1)
    first.NEW = "key"
    first.freeze()
    second = get_cfg_default()
    assert not second.is_frozen()
    assert leaves(second) == DEFAULTS
    assert first.clone().is_frozen()


def test_literals_in_files(tmp_path: Path) -> None:
    path = tmp_path / "method.yaml"
    path.write_text(
        "INPUT:\n  SIZE: (32, 16)\n  TRANSFORMS: ['random_flip']\nOPTIM:\n  WARMUP_CONS_LR: 1e-4\n"
        "MODEL:\n  BACKBONE:\n    NAME: ViT-B/16\n"
    )
    cfg = get_cfg_default()
    cfg.merge_from_file(str(path))
    assert cfg.INPUT.SIZE == (32, 16)
    assert cfg.INPUT.TRANSFORMS == ("random_flip",)
    assert cfg.OPTIM.WARMUP_CONS_LR == 1e-4
    assert cfg.MODEL.BACKBONE.NAME == "ViT-B/16"


def test_refusals(tmp_path: Path) -> None:
    cfg = get_cfg_default()
    for opts in (["OPTIM.LR", "1"], ["USE_CUDA", "1"], ["RESUME", "5"], ["OPTIM.STEPSIZE", "3"]):
        with pytest.raises(ValueError, match="Type mismatch"):
            cfg.merge_from_list(opts)
    with pytest.raises(AssertionError, match="Non-existent key: OPTIM.LRX"):
        cfg.merge_from_list(["OPTIM.LRX", "1"])
    path = tmp_path / "bad.yaml"
    path.write_text("OPTIMX:\n  LR: 1.0\n")
    with pytest.raises(KeyError, match="Non-existent config key: OPTIMX"):
        cfg.merge_from_file(str(path))
    cfg.freeze()
    with pytest.raises(AttributeError, match="immutable"):
        cfg.SEED = 3


def test_clean_cfg_keeps_one_method() -> None:
    cfg = get_cfg_default()
    for name in ("COOP", "COCOOP", "MAPLE"):
        cfg.TRAINER[name] = CN({"N_CTX": 2})
    cfg.freeze()
    clean_cfg(cfg, "CoOp")
    assert set(cfg.TRAINER) == {"NAME", "COOP"}


IVLP = {"N_CTX_VISION": 2, "N_CTX_TEXT": 2, "CTX_INIT": "a photo of a", "PREC": "fp16"}
DEPTHS = {"PROMPT_DEPTH_VISION": 9, "PROMPT_DEPTH_TEXT": 9}
SECTIONS: dict[str, dict[str, Any]] = {
    "COOP": {"N_CTX": 16, "CSC": False, "CTX_INIT": "", "PREC": "fp16", "CLASS_TOKEN_POSITION": "end"},
    "COCOOP": {"N_CTX": 16, "CTX_INIT": "", "PREC": "fp16"},
    "MAPLE": {"N_CTX": 2, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH": 9},
    "IVLP": {**IVLP, **DEPTHS},
    "VPT": {"N_CTX_VISION": 2, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH_VISION": 1},
    "PROMPTSRC": {
        **IVLP, **DEPTHS, "TEXT_LOSS_WEIGHT": 25, "IMAGE_LOSS_WEIGHT": 10, "GPA_MEAN": 15, "GPA_STD": 1,
    },
    "MPL": {
        "N_CTX": 2, "N_ADD_OP": 2, "N_RM_OP": 1, "CTX_INIT": "a photo of a", "PREC": "fp16",
        "PROMPT_DEPTH": 9,
    },
    "PROMPTKD": {
        **IVLP, **DEPTHS, "PROJECT_LAYER": 2, "CE_WEIGHT": 0.0, "KD_WEIGHT": 1.0, "TEMPERATURE": 1.0,
        "TEACHER_NAME": "ViT/L-14",
    },
}  # fmt: skip
REPOSITORIES = {
    "CoOp": "COOP COCOOP",
    "PromptSRC": "COOP COCOOP MAPLE IVLP PROMPTSRC",
    "MaPLe": "COOP COCOOP MAPLE IVLP VPT",
    "MPL": "COOP COCOOP MAPLE IVLP VPT MPL",
    "PromptKD": "COOP COCOOP MAPLE IVLP PROMPTSRC PROMPTKD",
    "FDBPL": "COOP COCOOP MAPLE VPT PROMPTSRC KDPL",
}
METHOD_FILE = """
DATALOADER:
  TRAIN_X:
    BATCH_SIZE: 4
  TEST:
    BATCH_SIZE: 100
  NUM_WORKERS: 8
INPUT:
  SIZE: (224, 224)
  INTERPOLATION: "bicubic"
  PIXEL_MEAN: [0.48145466, 0.4578275, 0.40821073]
  PIXEL_STD: [0.26862954, 0.26130258, 0.27577711]
  TRANSFORMS: ["random_resized_crop", "random_flip", "normalize"]
OPTIM:
  NAME: "sgd"
  LR: 0.0035
  MAX_EPOCH: 5
  LR_SCHEDULER: "cosine"
  WARMUP_EPOCH: 1
  WARMUP_TYPE: "constant"
  WARMUP_CONS_LR: 1e-5
TRAIN:
  PRINT_FREQ: 20
MODEL:
  BACKBONE:
    NAME: "ViT-B/16"
TRAINER:
"""


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_sections_and_files_of_the_repositories(repository: str, tmp_path: Path) -> None:
    cfg = get_cfg_default()
    names = REPOSITORIES[repository].split()
    for name in names:
        cfg.TRAINER[name] = CN()
        section = SECTIONS.get(name, {"TEACHER": "ViT-H-14-quickgelu", "K_MAX": 1000, "PREC": "fp16"})
        for key, value in section.items():
            setattr(cfg.TRAINER[name], key, value)
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    if repository == "PromptKD":
        cfg.TRAINER.MODAL = "base2novel"
    if repository == "FDBPL":
        cfg.MODEL.BACKBONE.PRETRAINED = ""
        cfg.DATALOADER.REPEAT_TIME = 2
        cfg.lrbl = 0.1
    (tmp_path / "method.yaml").write_text(METHOD_FILE + f'  {names[-1]}:\n    PREC: "fp32"\n')
    (tmp_path / "data.yaml").write_text('DATASET:\n  NAME: "EuroSAT"\n')
    cfg.merge_from_file(str(tmp_path / "data.yaml"))
    cfg.merge_from_file(str(tmp_path / "method.yaml"))
    cfg.INPUT.TRANSFORMS = ["normalize"]
    cfg.merge_from_list(["DATASET.NUM_SHOTS", "16", "DATASET.SUBSAMPLE_CLASSES", "base"])
    cfg.freeze()
    assert cfg.TRAINER[names[-1]].PREC == "fp32"
    assert (cfg.OPTIM.WARMUP_CONS_LR, cfg.DATASET.NUM_SHOTS) == (1e-5, 16)
    assert (cfg.DATASET.NAME, cfg.DATASET.SUBSAMPLE_CLASSES) == ("EuroSAT", "base")
    # A list that a train.py assigns stays a list.
    assert cfg.INPUT.TRANSFORMS == ["normalize"]
    assert "  WARMUP_CONS_LR: 1e-05" in str(cfg)
