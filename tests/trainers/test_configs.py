"""The shipped configs, the published files in their authors' words, and the release's settings read as ours."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from yacs.config import CfgNode

import datasets  # noqa: F401  registers
import train
import trainers  # noqa: F401  registers
from caspl.dassl.outcome import PHASE_1
from caspl.dassl.run_folder import keep_settings
from caspl.errors import CasPLError
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from trainers.config import build_cfg, leaves
from trainers.recorder import plain

REPO = Path(train.__file__).parent
CONFIGS = REPO / "configs/trainers"
Settings = dict[str, Any]

# What the published files say --------------------------------------------------------------------------------

COMMON: Settings = {
    "DATALOADER.TEST.BATCH_SIZE": 100,
    "DATALOADER.NUM_WORKERS": 8,
    "INPUT.SIZE": (224, 224),
    "INPUT.INTERPOLATION": "bicubic",
    "INPUT.PIXEL_MEAN": [0.48145466, 0.4578275, 0.40821073],
    "INPUT.PIXEL_STD": [0.26862954, 0.26130258, 0.27577711],
    "INPUT.TRANSFORMS": ("random_resized_crop", "random_flip", "normalize"),
    "MODEL.BACKBONE.NAME": "ViT-B/16",
}
OPTIM: Settings = {
    "OPTIM.NAME": "sgd",
    "OPTIM.LR_SCHEDULER": "cosine",
    "OPTIM.WARMUP_EPOCH": 1,
    "OPTIM.WARMUP_TYPE": "constant",
    "OPTIM.WARMUP_CONS_LR": 1e-5,
    "TRAIN.PRINT_FREQ": 20,
}
WORDS = {"CTX_INIT": "a photo of a", "PREC": "fp16"}
NO_WORDS = {"CTX_INIT": "", "PREC": "fp16"}


def settings(section: str, batch: int, lr: float, epochs: int, **options: Any) -> Settings:
    own = {f"TRAINER.{section}.{key}": value for key, value in options.items()}
    optim = OPTIM | {"OPTIM.LR": lr, "OPTIM.MAX_EPOCH": epochs}
    return COMMON | optim | {"DATALOADER.TRAIN_X.BATCH_SIZE": batch} | own


def zero_shot() -> Settings:
    return COMMON | {"DATALOADER.TRAIN_X.BATCH_SIZE": 32, "TRAINER.ZSCLIP.PREC": "fp16"}


def kept(section: str, batch: int, **options: Any) -> Settings:
    """Of what is made of kept features at once."""
    own = {f"TRAINER.{section}.{key}": value for key, value in (options | {"PREC": "fp16"}).items()}
    return COMMON | {"DATALOADER.TRAIN_X.BATCH_SIZE": batch, "OPTIM.MAX_EPOCH": 1} | own


def tip(**more: Any) -> Settings:
    """The paper's factors; views and fine-tuning of the release."""
    factors = {"ALPHA": 1.0, "BETA": 5.5, "VIEWS": 10}
    return kept("TIPADAPTER", 256, **factors) | {"INPUT.RRCROP_SCALE": (0.5, 1.0)} | more


ADAMW: Settings = {
    "OPTIM.NAME": "adamw",
    "OPTIM.LR": 0.001,
    "OPTIM.WEIGHT_DECAY": 0.01,
    "OPTIM.MAX_EPOCH": 20,
    "OPTIM.LR_SCHEDULER": "cosine",
    "TRAIN.PRINT_FREQ": 20,
}


def coop(length: int, epochs: int, words: Settings = NO_WORDS, batch: int = 32, lr: float = 0.002) -> Settings:
    place = {"CSC": False, "CLASS_TOKEN_POSITION": "end"}
    return settings("COOP", batch, lr, epochs, N_CTX=length, **words, **place) | {"TRAIN.PRINT_FREQ": 5}


def ivlp(
    length: tuple[int, int], depth: tuple[int, int], epochs: int, lr: float = 0.0025, batch: int = 4, **more: Any
) -> Settings:
    """``length`` and ``depth`` in text, in vision."""
    section = more.pop("section", "IVLP")
    sizes = {"N_CTX_TEXT": length[0], "N_CTX_VISION": length[1]}
    sizes |= {"PROMPT_DEPTH_TEXT": depth[0], "PROMPT_DEPTH_VISION": depth[1]}
    return settings(section, batch, lr, epochs, **sizes, **WORDS, **more)


def promptsrc(length: int, depth: int, epochs: int = 20, mean: int = 15, std: int = 1, **more: Any) -> Settings:
    more |= {"TEXT_LOSS_WEIGHT": 25, "IMAGE_LOSS_WEIGHT": 10, "GPA_MEAN": mean, "GPA_STD": std}
    return ivlp((length, length), (depth, depth), epochs, section="PROMPTSRC", **more)


def boosting(length: int, depth: int, batch: int) -> Settings:
    more = {"section": "CASPL", "TEACHER": "ViT-L/14", "TEMPERATURE": 1.0}
    return ivlp((length, length), (depth, depth), 20, batch=batch, **more)


def maple(length: int, depth: int, epochs: int, lr: float) -> Settings:
    return settings("MAPLE", 4, lr, epochs, N_CTX=length, PROMPT_DEPTH=depth, **WORDS)


def mpl(depth: int, epochs: int, lr: float) -> Settings:
    return settings("MPL", 4, lr, epochs, N_CTX=1, N_ADD_OP=2, N_RM_OP=1, PROMPT_DEPTH=depth, **WORDS)


def regions(views: int, **more: Any) -> Settings:
    """FDBPL's teacher, and its regions: a new one of each image in each epoch."""
    own = {"TEACHER": "ViT-H-14-quickgelu:dfn5b", "TOP_K": 0} | more
    own = {f"TRAINER.FDBPL.{key}": value for key, value in own.items()}
    return own | {"TRAINER.CASPL.VIEWS": views, "INPUT.RRCROP_SCALE": (0.08, 0.936)}


FILES: dict[str, Settings] = {
    "ZeroshotCLIP/vit_b16": zero_shot(),
    "ZeroshotCLIP/vit_l14": zero_shot() | {"MODEL.BACKBONE.NAME": "ViT-L/14"},
    "ZeroshotCLIP2/vit_b16": zero_shot(),
    "LinearProbeCLIP/vit_b16": kept("LPCLIP", 32),
    "TipAdapter/vit_b16": tip(),
    "TipAdapterF/vit_b16": tip(**ADAMW),
    "CoOp/vit_b16": coop(16, 200),
    "CoOp/vit_b16_ep100": coop(16, 100),
    "CoOp/vit_b16_ep50": coop(16, 50),
    "CoOp/vit_b16_ctxv1": coop(4, 200, WORDS),
    "CoOp/vit_b16_ep50_ctxv1": coop(4, 50, WORDS),
    "CasPL_CoOp/vit_b16_ep50": coop(8, 50),
    "CasPL_CoOp/vit_b16_ep10": coop(8, 10, batch=4, lr=0.0035),
    "CasPL_CoOp/vit_b16_ep10_ctxv1": coop(4, 10, WORDS, batch=4, lr=0.0035),
    "CoCoOp/vit_b16_c4_ep10_batch1_ctxv1": settings("COCOOP", 1, 0.002, 10, N_CTX=4, **WORDS),
    "CoCoOp/vit_b16_c8_ep10_batch1": settings("COCOOP", 1, 0.002, 10, N_CTX=8, **NO_WORDS),
    "VPT/vit_b16_c2_ep5_batch4_4": settings("VPT", 4, 0.0025, 5, N_CTX_VISION=8, PROMPT_DEPTH_VISION=12, **WORDS),
    "IVLP/vit_b16_c2_ep5_batch4_2+2ctx": ivlp((2, 2), (12, 12), 5, 0.0035),
    "IVLP/vit_b16_c2_ep5_batch4_4ctx_language_only": ivlp((4, 0), (12, 0), 5),
    "IVLP/vit_b16_c2_ep20_batch4_4+4ctx": ivlp((4, 4), (9, 9), 20),
    "MaPLe/vit_b16_c2_ep5_batch4_2ctx": maple(2, 9, 5, 0.0035),
    "MaPLe/vit_b16_c2_ep5_batch4_2ctx_cross_datasets": maple(2, 3, 2, 0.0026),
    "CasPL_MaPLe/vit_b16_c8_ep5_batch4_8ctx_l12": maple(8, 12, 5, 0.0035),
    "CasPL_MaPLe/vit_b16_c8_ep5_batch4_8ctx_cross_datasets_l12": maple(8, 12, 2, 0.0026),
    "PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx": promptsrc(4, 9),
    "PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx_cross_datasets": promptsrc(4, 3, 20, 6, 10),
    "PromptSRC/vit_b16_c2_ep50_batch4_4+4ctx_few_shot": promptsrc(4, 9, 50, 30, 30),
    "CasPL_PromptSRC/vit_b16_c2_ep20_batch4_8+8ctx_cross_datasets_l3": promptsrc(8, 3, 20, 6, 10),
    "CasPL_PromptSRC/vit_b16_c2_ep50_batch4_8+8ctx_few_shot_l12": promptsrc(8, 12, 50, 30, 30),
    "PromptSRC/vit_l14_c2_ep20_batch8_4+4ctx": promptsrc(4, 9, lr=0.005, batch=8) | {"MODEL.BACKBONE.NAME": "ViT-L/14"},
    "PromptKD/vit_b16_c2_ep20_batch8_4+4ctx": settings(
        "PROMPTKD", 8, 0.005, 20, N_CTX_VISION=4, PROMPT_DEPTH_VISION=9, KD_WEIGHT=1000.0, TEMPERATURE=1.0, PREC="fp16"
    ),
    "MPL/vit_b4_c1_add2_rm1": mpl(9, 5, 0.0035),
    "KgCoOp/vit_b16_ep100_ctxv1": settings("KGCOOP", 128, 0.002, 100, N_CTX=4, W=8.0, **WORDS),
    "TCP/vit_b16_ep50": settings("TCP", 32, 0.002, 50, N_CTX=4, W=8.0, LAYER=8, ADAM_EPS=1e-3, **NO_WORDS)
    | {"OPTIM.NAME": "adam", "DATALOADER.TEST.BATCH_SIZE": 500},
    "ProGrad/vit_b16_ep100": settings(
        "PROGRAD",
        32,
        0.002,
        100,
        N_CTX=16,
        CSC=False,
        CTX_INIT="template",
        CLASS_TOKEN_POSITION="end",
        T=1.0,
        LAMBDA=1.0,
        PREC="fp16",
    ),
    "PromptOT/vit_b16_ep40_batch4_4+4ctx": ivlp((4, 4), (12, 12), 40, 0.005, section="PROMPTOT", DIV=10.0)
    | {"OPTIM.WARMUP_CONS_LR": 1e-4},
    "FDBPL_CoOp/vit_b16_ep50_ctxv1": coop(4, 50, WORDS)
    | regions(50, PCD="margin", PCD_WEIGHT=0.1, MARGIN=0.2, COSINE_WEIGHT=0.001, NEGATIVE_CTX_INIT="a photo of no"),
    "FDBPL_PromptSRC/vit_b16_c2_ep25_batch4_4+4ctx": promptsrc(4, 9, 25) | regions(25, WEIGHTS="released"),
    "LASP/vit_b16_ep25_batch32": settings(
        "LASP",
        32,
        0.032,
        25,
        N_CTX=4,
        LASP_LOSS_WEIGHT=5.0,
        ENABLE_CORRECTION=True,
        FINETUNE_VIT_LN=True,
        SOFTMAX="learned",
        NOISE=0.5,
        CLIP_NORM=1.0,
        VIRTUAL=False,
        **WORDS | {"PREC": "amp"},
    )
    | {"OPTIM.WARMUP_EPOCH": 3, "DATALOADER.TEST.BATCH_SIZE": 32},
    "COMMA/vit_b16_ep5_batch4_2ctx": settings(
        "COMMA", 4, 0.0035, 5, N_CTX=2, PROMPT_DEPTH=9, WEIGHT=1.0, GENERATORS="learned", **WORDS
    ),
    "BayesPrompt/vit_b16_c4_ep10_batch1_ctxv1": settings(
        "BAYES", 1, 0.002, 40, N_CTX=4, L=10, CONDITIONED=False, KL_WEIGHT=0.001, **WORDS
    )
    | {"DATALOADER.TEST.BATCH_SIZE": 1},
    "CoPrompt/vit_b16_ep8_batch4_4ctx_l12": settings(
        "COPROMPT", 4, 0.0035, 8, N_CTX=4, PROMPT_DEPTH=12, W=8.0, DISTILL="cosine", **WORDS
    )
    | {"INPUT.TRANSFORMS": ("randaugment", "normalize"), "DATALOADER.K_TRANSFORMS": 2},
    "MPL/vit_b4_c1_add2_rm1_cross_datasets": mpl(3, 2, 0.0026),
}
DEPTHS = [(8, depth) for depth in (1, 3, 6, 9, 12)] + [(4, 12), (16, 12)]
for n, depth in DEPTHS:
    FILES[f"CasPL_PromptSRC/vit_b16_c2_ep20_batch4_{n}+{n}ctx_l{depth}"] = promptsrc(n, depth)
for n in (4, 8, 16):
    FILES[f"CasPL/vit_b16_c2_ep20_batch4_{n}+{n}ctx_l12"] = boosting(n, 12, 4)
for n, depth in ((8, 12), (4, 1), (4, 3)):
    FILES[f"CasPL/vit_b16_c2_ep20_batch128_lr0025_{n}+{n}ctx_l{depth}"] = boosting(n, depth, 128)

OURS_ALONE = {"ZeroshotCLIP/vit_b16", "ZeroshotCLIP/vit_l14", "ZeroshotCLIP2/vit_b16"}
OURS_ALONE |= {f"{name}/vit_b16" for name in ("LinearProbeCLIP", "TipAdapter", "TipAdapterF")}
OURS_ALONE |= {
    name
    for name in FILES
    if name.split("/")[0]
    in (
        *("BayesPrompt", "COMMA", "CoPrompt", "KgCoOp", "LASP", "ProGrad", "PromptKD", "PromptOT", "TCP"),
        *("FDBPL_CoOp", "FDBPL_PromptSRC"),
    )
}  # see docs/methods.md


def published() -> dict[str, Settings]:
    """``FILES`` as their authors wrote them: phase 1 under IVLP, and some of CoOp's keys left to the defaults."""
    texts: dict[str, Settings] = {}
    for name in FILES.keys() - OURS_ALONE:
        unwritten = {"TRAINER.CASPL.TEACHER", "TRAINER.CASPL.TEMPERATURE"}
        unwritten |= {"TRAINER.COOP.CSC", "TRAINER.COOP.CLASS_TOKEN_POSITION"}
        if name.startswith("CoOp/"):
            unwritten |= {"TRAINER.COOP.N_CTX", "TRAINER.COOP.PREC"}
            unwritten |= set() if "ctxv1" in name else {"TRAINER.COOP.CTX_INIT"}
        written = {key: value for key, value in FILES[name].items() if key not in unwritten}
        texts[name] = {key.replace("TRAINER.CASPL.", "TRAINER.IVLP."): value for key, value in written.items()}
    texts["CoOp/rn50"] = texts["CoOp/vit_b16"] | {"MODEL.BACKBONE.NAME": "RN50"}
    return texts


def as_yaml(written: Settings) -> str:
    """Published notation: sizes in round brackets, and a learning rate that YAML takes for a string."""
    tree: Settings = {}
    for key, value in written.items():
        *parents, leaf = key.split(".")
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[leaf] = list(value) if isinstance(value, tuple) else value
    tree["INPUT"]["SIZE"], tree["OPTIM"]["WARMUP_CONS_LR"] = "(224, 224)", "1e-5"
    return yaml.safe_dump(tree)


# Tests -------------------------------------------------------------------------------------------------------


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Hears warnings also after a run in the same process took the loggers over."""
    monkeypatch.setattr(logging.getLogger("trainers"), "propagate", True)
    return caplog


def config(trainer: str, *pairs: str, file: Path | None = None) -> CfgNode:
    flags = ["--trainer", trainer] + (["--config-file", str(file)] if file else [])
    return build_cfg(train.parser().parse_intermixed_args([*flags, *pairs]))


def values(cfg: CfgNode, keys: Any) -> Settings:
    every = dict(leaves(plain(cfg)))
    return {key: every[key] for key in keys}


def runners(folder: str) -> list[str]:
    """The trainers that take the files of a folder."""
    names = [folder] if folder.startswith("CasPL") else [folder, f"CasPL_{folder}"]
    return [name for name in names if name in TRAINER_REGISTRY]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_loads_for_its_trainers(path: Path, log: pytest.LogCaptureFixture) -> None:
    names = runners(path.parent.name)
    assert [config(name, file=path).TRAINER.NAME for name in names] == names != []
    assert not log.messages


def test_the_table_holds_every_file() -> None:
    assert FILES.keys() == {
        f"{path.parent.name}/{path.stem}" for path in CONFIGS.glob("*/*.yaml") if not path.stem.startswith("tiny")
    }


@pytest.mark.parametrize("name", FILES)
def test_files_say_what_was_published(name: str) -> None:
    path = CONFIGS / f"{name}.yaml"
    assert set(dict(leaves(yaml.safe_load(path.read_text())))) == FILES[name].keys()
    for trainer in runners(path.parent.name):
        assert values(config(trainer, file=path), FILES[name]) == FILES[name]


@pytest.mark.parametrize("name", sorted(published()))
def test_published_files_load_unchanged(name: str, log: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    written = published()[name]
    path = tmp_path / "theirs.yaml"
    path.write_text(as_yaml(written))
    folder = name.split("/")[0]
    meant = written | {key: value for key, value in FILES.get(name, {}).items() if folder == "CasPL"}
    for trainer in runners(folder):
        assert values(config(trainer, file=path), meant) == meant
    assert not log.messages


@pytest.mark.parametrize("path", sorted((REPO / "configs/datasets").glob("*.yaml")), ids=lambda path: path.stem)
def test_data_set_files(path: Path) -> None:
    args = train.parser().parse_args(["--dataset-config-file", str(path)])
    assert build_cfg(args).DATASET.NAME in DATASET_REGISTRY


# Settings of the release -------------------------------------------------------------------------------------


def test_the_release_leaves_no_section_behind() -> None:
    assert "KD" not in config("CasPL")


def test_what_our_section_says_about_phase_1_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(as_yaml(published()["CasPL/vit_b16_c2_ep20_batch4_8+8ctx_l12"]))
    options = config("CasPL", "TRAINER.CASPL.N_CTX_TEXT", "5", "TRAINER.CASPL.PREC", "amp", file=path).TRAINER.CASPL
    assert (options.N_CTX_TEXT, options.N_CTX_VISION, options.PREC) == (5, 8, "amp")


def test_only_phase_1_reads_the_section_of_ivlp() -> None:
    path = CONFIGS / "IVLP/vit_b16_c2_ep5_batch4_2+2ctx.yaml"
    assert config("CasPL", file=path).TRAINER.CASPL.N_CTX_TEXT == 2
    for trainer in ("IVLP", "CasPL_IVLP"):
        assert config(trainer, file=path).TRAINER.CASPL == config(trainer).TRAINER.CASPL


@pytest.mark.parametrize(
    ("trainer", "theirs", "ours"),
    [
        ("CasPL", ["KD.BACKBONE_NAME", "ViT-B/32"], ["TRAINER.CASPL.TEACHER", "ViT-B/32"]),
        ("CasPL", ["KD.TEMPERATURE", "2"], ["TRAINER.CASPL.TEMPERATURE", "2.0"]),
        ("CasPL_CoOp", ["KD.SECOND_PARAMETER_USE", "True"], ["TRAINER.CASPL.TRAINABLE", "True"]),
        ("CasPL_CoOp", ["KD.N_CTX_VISION", "4"], ["TRAINER.CASPL.N_CTX_VISION", "4"]),
        ("CasPL_MaPLe", ["KD.N_CTX_TEXT", "16"], ["TRAINER.CASPL.N_CTX_TEXT", "16"]),
        ("CasPL_CoOp", ["KD.PROMPT_DEPTH_VISION", "3"], ["TRAINER.CASPL.PROMPT_DEPTH_VISION", "3"]),
        ("CasPL_CoOp", ["KD.PROMPT_DEPTH_TEXT", "1"], ["TRAINER.CASPL.PROMPT_DEPTH_TEXT", "1"]),
        ("CasPL", ["KD.FIRST_TRAIN", "True", "KD.SECOND_TRAIN", "False", "KD.USE_DATASET_LIST", "0"], []),
        ("CasPL_PromptSRC", ["KD.FIRST_TRAIN", "False", "KD.SECOND_TRAIN", "True"], []),
        ("PromptSRC", ["KD.FIRST_TRAIN", "False", "KD.SECOND_TRAIN", "False"], []),
    ],
)
def test_their_words_and_ours(trainer: str, theirs: list[str], ours: list[str], log: pytest.LogCaptureFixture) -> None:
    assert config(trainer, *theirs) == config(trainer, *ours) == config(trainer, *theirs, *ours)
    assert (config(trainer, *ours) != config(trainer)) == bool(ours)
    assert not log.messages


@pytest.mark.parametrize(
    ("trainer", "pairs", "sentence"),
    [
        ("CasPL", ["KD.SECOND_TRAIN", "True"], r"KD\.SECOND_TRAIN True does not go with the trainer CasPL: "),
        ("CasPL", ["KD.FIRST_TRAIN", "False"], r"KD\.FIRST_TRAIN False does not go with the trainer CasPL: "),
        ("CasPL_CoOp", ["KD.FIRST_TRAIN", "True"], r"KD\.FIRST_TRAIN True does not go with the trainer CasPL_CoOp: "),
        ("CoOp", ["KD.SECOND_TRAIN", "True"], r"KD\.SECOND_TRAIN True does not go with the trainer CoOp: "),
        ("CasPL", ["KD.USE_DATASET_LIST", "1"], r"KD\.USE_DATASET_LIST 1 would train on the test images"),
        (
            "CasPL",
            ["KD.TEMPERATURE", "2", "TRAINER.CASPL.TEMPERATURE", "3"],
            r"KD\.TEMPERATURE is 2\.0, but TRAINER\.CASPL\.TEMPERATURE, which means the same, is 3\.0; leave one out",
        ),
        (
            "CasPL_CoOp",
            ["TRAINER.CASPL.TRAINABLE", "False", "KD.SECOND_PARAMETER_USE", "True"],
            r"KD\.SECOND_PARAMETER_USE is True, but TRAINER\.CASPL\.TRAINABLE, .* is False",
        ),
        ("CasPL", ["KD.TEMPERATUR", "2"], r"unknown key KD\.TEMPERATUR in the command line; near are KD\.TEMPERATURE"),
        ("CasPL", ["KD.TEMPERATURE", "warm"], r"KD\.TEMPERATURE in the command line must be of type float"),
    ],
)
def test_what_is_refused(trainer: str, pairs: list[str], sentence: str) -> None:
    with pytest.raises(CasPLError, match=sentence):
        config(trainer, *pairs)


def test_a_command_of_the_release_and_what_it_says_in_vain(log: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(as_yaml(published()["CasPL_CoOp/vit_b16_ep50"]))
    meant = {"FIRST_TRAIN": "False", "SECOND_TRAIN": "True", "N_CTX_VISION": "8", "PROMPT_DEPTH_TEXT": "12"}
    vain = {"CTX_INIT": "x", "DIR_NAME": "student&1", "IS_TEST": "True", "PREC": "fp32", "RESULT_PATH": "out"}
    vain |= {"TEMPERATURE": "3", "USE_IVLP": "True"}
    pairs = [word for key, value in (meant | vain).items() for word in (f"KD.{key}", value)]
    assert config("CasPL_CoOp", *pairs, file=path) == config("CasPL_CoOp", file=path)
    unused = ", ".join(f"KD.{key}" for key in sorted(vain))
    assert log.messages == [f"not used, since they mean nothing for CasPL_CoOp here: {unused}"]


def test_a_folder_knows_a_run_in_either_words(tmp_path: Path) -> None:
    out = ["OUTPUT_DIR", str(tmp_path)]
    keep_settings(
        config("CasPL", *out, "KD.TEMPERATURE", "2", "KD.FIRST_TRAIN", "True", "KD.IS_TEST", "True"), {"CASPL": PHASE_1}
    )
    (tmp_path / "resume.pt").touch()
    keep_settings(config("CasPL", *out, "TRAINER.CASPL.TEMPERATURE", "2"), {"CASPL": PHASE_1})
    with pytest.raises(CasPLError, match=r"TRAINER\.CASPL\.TEMPERATURE 2\.0 there, 4\.0 here"):
        keep_settings(config("CasPL", *out, "KD.TEMPERATURE", "4"), {"CASPL": PHASE_1})


# The file of another method ----------------------------------------------------------------------------------


@pytest.mark.parametrize("trainer", ["PromptSRC", "CasPL_PromptSRC"])
def test_another_methods_file_is_warned_of(trainer: str, log: pytest.LogCaptureFixture) -> None:
    config(trainer, "TRAINER.CASPL.BOOSTING_SEED", "2", file=CONFIGS / "CoOp/vit_b16_ctxv1.yaml")
    (record,) = log.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"TRAINER.COOP is set, but {trainer} reads TRAINER.PROMPTSRC, of which nothing is: its defaults hold"
    )


@pytest.mark.parametrize(
    ("trainer", "pairs"),
    [
        ("PromptSRC", ["TRAINER.PROMPTSRC.GPA_STD", "2"]),
        ("ZeroshotCLIP", []),
        ("ZeroshotCLIP2", []),
        ("CasPL_ZeroshotCLIP", []),
        ("CoOp", []),
        ("Nobody", []),  # refused later, by name
    ],
)
def test_what_is_not_warned_of(trainer: str, pairs: list[str], log: pytest.LogCaptureFixture) -> None:
    config(trainer, *pairs, file=CONFIGS / "CoOp/vit_b16_ctxv1.yaml")
    assert not log.messages
