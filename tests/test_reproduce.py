"""The plan of a table, and its execution with a stand-in for train.py."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caspl.errors import CasPLError
from caspl.files import Claim
from caspl.protocols import Part, Request, Run, names, parts_of, plan, plan_all, read_protocol, table_names
from caspl.results import paper_figures, write_record
from tests.results.made import record as made_record
from tests.runs import REPO
from tests.stand_in import TRAIN, execute, executor_of, made
from trainers.recorder import plain

sys.path.append(str(REPO / "scripts"))
import estimate
import preflight
import reproduce
import show
import side_by_side

CONFIGS = REPO / "configs"


def request(protocol: str, **more: Any) -> Request:
    return Request(read_protocol(protocol), CONFIGS, Path("output"), **more)


def value(run: Run, key: str) -> str:
    return run.arguments[run.arguments.index(key) + 1]


@pytest.fixture
def request_(request: pytest.FixtureRequest) -> pytest.FixtureRequest:
    """pytest's, whose name is taken here."""
    return request


# The plan ------------------------------------------------------------------------------------------------------------


def test_the_runs_of_table_1() -> None:
    """Eleven data sets, methods, three seeds; phase 1 once each."""
    runs = plan(request("base2new", seeds=(1, 2, 3)))
    boosting = [run for run in runs if value(run, "--trainer") == "CasPL"]
    assert len(boosting) == len({value(run, "--dataset-config-file") for run in boosting}) == 11
    per = Counter(value(run, "--trainer") for run in runs)
    assert per == {"CasPL": 11, "ZeroshotCLIP": 22} | dict.fromkeys(per.keys() - {"CasPL", "ZeroshotCLIP"}, 11 * 3 * 2)
    assert len(per) == 10
    assert len({run.folder for run in runs}) == len(runs)
    before: set[Path] = set()
    for run in runs:
        assert set(run.needs) <= before
        before.add(run.folder)
    (imagenet,) = (run for run in boosting if "imagenet" in str(run.folder))
    assert "batch128" in value(imagenet, "--config-file")


@pytest.mark.parametrize("name", names())
def test_every_config_of_a_protocol_is_there_and_can_be_merged(name: str) -> None:
    """Also for methods that the paper's table does not have."""
    methods = ["CoOp", "CoCoOp", "VPT", "IVLP", "MaPLe", "PromptSRC", "MPL"]
    every = (*methods, *(f"CasPL_{method}" for method in methods), "ZeroshotCLIP", "CasPL_ZeroshotCLIP")
    asked = request(name, methods=every)
    runs = {(run.kind, run.arguments[:2]): run for run in plan(asked)}
    args = reproduce.parser().parse_args([name, "--output", "output"])
    reproduce.check([reproduce.command(run, args, asked) for run in runs.values()])


def test_the_settings_where_the_papers_and_releases_differ() -> None:
    def of(protocol: str, method: str, dataset: str, shots: int = 16) -> dict[str, str]:
        runs = plan(request(protocol, datasets=(dataset,), methods=(method,), shots=(shots,)))
        (run,) = (run for run in runs if value(run, "--trainer") == method and "--eval-only" not in run.arguments)
        boost = [run for run in runs if value(run, "--trainer") == "CasPL"]
        found = {"config": Path(value(run, "--config-file")).stem, "note": run.note}
        found["boost"] = Path(value(boost[0], "--config-file")).stem if boost else ""
        if "TRAINER.PROMPTSRC.GPA_MEAN" in run.arguments:
            found["gpa"] = "/".join(value(run, f"TRAINER.PROMPTSRC.GPA_{key}") for key in ("MEAN", "STD"))
        return found

    assert of("few_shot", "PromptSRC", "sun397")["gpa"] == "30/30"
    assert of("few_shot", "CasPL_PromptSRC", "eurosat")["gpa"] == "45/5"
    assert [of("few_shot", "CoOp", "dtd", shots)["config"] for shots in (1, 2, 4, 8, 16)] == [
        *("vit_b16_ep50", "vit_b16_ep100", "vit_b16_ep100", "vit_b16", "vit_b16")
    ]
    assert of("few_shot", "CoOp", "imagenet", 16)["config"] == "vit_b16_ep50"
    unpublished = of("few_shot", "CasPL_CoOp", "dtd")
    assert (unpublished["config"], unpublished["note"][:23]) == ("vit_b16_ep50", "no setting is published")
    shifts = of("domain_generalization", "CasPL_PromptSRC", "imagenet")
    assert shifts["config"].endswith("cross_datasets_l3")
    assert shifts["boost"].endswith("batch128_lr0025_4+4ctx_l1")
    assert of("domain_generalization", "CasPL_CoCoOp", "imagenet")["boost"].endswith("4+4ctx_l3")
    coop = of("domain_generalization", "CasPL_CoOp", "imagenet")
    assert coop["config"] == "vit_b16_ep10"


def test_a_teacher_is_trained_before_what_learns_from_it() -> None:
    """On the same images, once for the method and its cascade; a teacher of the user's own is not trained."""
    key, methods = "TRAINER.PROMPTKD.TEACHER", ("PromptKD", "CasPL_PromptKD")
    runs = plan(request("base2new", datasets=("dtd",), methods=methods, seeds=(1, 2)))
    teachers = [run for run in runs if value(run, "TRAINER.RECORD.PROTOCOL") == "teacher"]
    assert [str(run.folder) for run in teachers] == [
        f"output/teacher_runs/dtd/base/shots_16/PromptSRC/vit_l14_c2_ep20_batch8_4+4ctx/seed{seed}" for seed in (1, 2)
    ]
    shown = [
        [value(run, name) for name in ("--trainer", "DATASET.NUM_SHOTS", "DATASET.SUBSAMPLE_CLASSES")]
        for run in teachers
    ]
    assert shown == [["PromptSRC", "16", "base"]] * 2
    taught = [run for run in runs if value(run, "--trainer") in methods]
    assert len(taught) == 2 * 2 * 2  # trained, and tested on new classes
    for run in taught:
        teacher = teachers[int(value(run, "--seed")) - 1]
        assert value(run, key) == str(teacher.folder)
        assert value(run, "TRAINER.PROMPTKD.KD_WEIGHT") == "200.0"
        if "--eval-only" not in run.arguments:
            assert teacher.folder in run.needs
    boosted = next(run for run in taught if value(run, "--trainer") == "CasPL_PromptKD")
    assert len(boosted.needs) == 2
    own = plan(request("base2new", datasets=("dtd",), methods=("PromptKD",), options=(key, "mine")))
    assert [value(run, key) for run in own] == ["mine"] * 2
    tiny = plan(request("few_shot", datasets=("tinysat",), methods=("PromptKD",), shots=(4,)))
    assert [Path(value(run, "--config-file")).stem for run in tiny] == ["tiny_teacher", "tiny"]
    assert "few_shot" not in str(tiny[0].folder)
    assert "/all/shots_4/" in str(tiny[0].folder)
    with pytest.raises(CasPLError, match="PromptKD learns from unlabelled images .* no run of it for cross_dataset"):
        plan(request("cross_dataset", methods=("CasPL_PromptKD",)))


def test_the_shifts_share_the_training_of_the_cross_dataset_table() -> None:
    found = [plan(request(name, methods=("CasPL_CoOp",))) for name in ("cross_dataset", "domain_generalization")]
    assert found[0][:2] == found[1][:2]
    assert [len(runs) for runs in found] == [2 + 10, 2 + 4]
    assert all(value(run, "--model-dir") == str(runs[1].folder) for runs in found for run in runs[2:])


def test_boosting_tokens_on_other_data_sets() -> None:
    """Those of what was trained on; or with TARGET_BOOSTING those of what is tested, in rows of their own."""
    asked = request("cross_dataset", methods=("CoOp", "CasPL_CoOp", "CasPL_ZeroshotCLIP"), targets=("dtd", "eurosat"))
    key = "TRAINER.CASPL.BOOSTING_DATASET"
    plain = plan(asked)
    assert [run.title for run in plain if run.makes] == [
        "phase 1 imagenet vit_b16_c2_ep20_batch128_lr0025_4+4ctx_l1 seed 1"
    ]
    given = {run.title: value(run, key) for run in plain if key in run.arguments}
    assert given == {f"CasPL_ZeroshotCLIP {name} 16 shots seed 1": "ImageNet" for name in ("dtd", "eurosat")}
    own = plan(replace(asked, target_boosting=True))
    given = {run.title: value(run, key) for run in own if key in run.arguments}
    names = {"dtd": "DescribableTextures", "eurosat": "EuroSAT"}
    labels = {"CasPL_CoOp": "vit_b16_ep10"}  # boosting alone would be a test without the training
    assert given == {
        f"{method} {name} {labels[method]}_target_boosting 16 shots seed 1": names[name]
        for method in labels
        for name in names
    }
    for run in own:
        if key in run.arguments:
            assert value(run, "TRAINER.RECORD.CONFIG").endswith("_target_boosting")
            (boost,) = (other for other in own if other.folder in run.needs and other.makes)
            assert str(boost.makes and boost.makes[0]) == value(run, "TRAINER.CASPL.BOOSTING_DIR")
    # The trainings and the plain methods are the same runs.
    assert {run.folder for run in plain} & {run.folder for run in own} == {
        run.folder for run in plain if key not in run.arguments and "CasPL_CoOp/" not in str(run.folder)
    } | {run.folder for run in plain if run.folder.parts[2] == "train"}


def test_the_tiny_data_sets_take_the_tiny_students() -> None:
    for dataset in ("tinysat", "tinyworld"):
        for name in names():
            far = ("tinyworld",) if name in ("cross_dataset", "domain_generalization") else ()
            for run in plan(request(name, datasets=(dataset,), methods=("CasPL_CoOp",), targets=far)):
                assert Path(value(run, "--config-file")).stem == "tiny"


def test_data_sets_and_configs_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "birds.yaml"
    mine.write_text("DATASET:\n  NAME: Birds\n")
    config = tmp_path / "kgcoop.yaml"
    config.write_text("OPTIM:\n  LR: 0.1\n")
    runs = plan(request("base2new", datasets=(str(mine),), methods=("CasPL_CoOp",), config=str(config)))
    assert runs[0].makes is not None
    assert runs[0].makes[1] == "Birds/*/*/seed1.safetensors"
    assert "/birds/shots_16/CasPL_CoOp/kgcoop/seed1" in str(runs[1].folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"datasets": ("eurosatt",)}, "unknown data set eurosatt; did you mean eurosat?"),
        ({"methods": ("CasPL_coop",)}, "did you mean CasPL_CoOp?"),
        ({"methods": ("CasPL",)}, "CasPL is phase 1"),
        ({"config": "nothing", "methods": ("CoOp",)}, "no config nothing.yaml in configs/trainers/CoOp; there are: "),
        ({"config": "mine.yaml"}, "no config file mine.yaml"),
        ({"targets": ("dtd",)}, "base2new tests where it trains: leave --targets out"),
    ],
)
def test_what_there_is_not(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CasPLError, match=re.escape(sentence)):
        plan(request("base2new", **changes))


def test_what_tells_one_run_from_another(tmp_path: Path) -> None:
    """What files of one's own hold, but not where output and checkout lie, nor what a method does not read."""
    config, data = tmp_path / "mine.yaml", tmp_path / "birds.yaml"
    config.write_text("OPTIM:\n  LR: 0.1\n")
    data.write_text("DATASET:\n  NAME: Birds\n")

    def identities(method: str = "CoOp", **more: Any) -> list[str]:
        own = {"datasets": (str(data),), "methods": (method,), "config": str(config)}
        return [run.identity for run in plan(replace(request("base2new"), **(own | more)))]

    first = identities()
    assert identities(output=Path("/elsewhere/output")) == first
    assert identities(boosting_seed=-1, boosting_label="other") == first
    assert identities("CasPL_CoOp") != identities("CasPL_CoOp", boosting_label="other")
    config.write_text("OPTIM:\n  LR: 0.5\n")
    second = identities()
    assert second != first
    data.write_text("DATASET:\n  NAME: Bees\n")
    assert identities() != second
    shipped = replace(request("base2new"), datasets=("dtd",), methods=("CoOp",))
    moved = replace(shipped, configs=tmp_path / "configs")
    (tmp_path / "configs").symlink_to(CONFIGS)
    assert [run.identity for run in plan(shipped)] == [run.identity for run in plan(moved)]


def test_every_packaged_table_can_be_planned_and_its_configs_merged(tmp_path: Path) -> None:
    asked = replace(request("base2new", seeds=()), output=tmp_path)
    for name in table_names():
        runs = plan_all(parts_of(name, asked))
        args = reproduce.parser().parse_args([name, "--root", str(tmp_path / "data"), "--output", str(tmp_path)])
        commands = [reproduce.command(run, args, asked) for run in {run.kind: run for run in runs}.values()]
        reproduce.check(commands[:40])
        assert len({run.folder for run in runs}) == len(runs) > 30


def test_the_table_of_everything_in_miniature() -> None:
    asked = request("base2new", seeds=())
    small, full = (plan_all(parts_of(name, asked)) for name in ("tiny", "tiny_full"))
    assert {(run.folder, run.identity) for run in small} < {(run.folder, run.identity) for run in full}
    assert {value(run, "--seed") for run in small} == {"1"}
    assert {run.folder.parts[1] for run in small} == {
        *("boosting_runs", "base2new", "few_shot", "cross_dataset", "domain_generalization", "ablations")
    }
    shots = {value(run, "DATASET.NUM_SHOTS") for run in small if run.folder.parts[1] == "few_shot"}
    assert shots == {"1", "4", "16"}
    assert sum(run.makes is not None for run in small) == 3  # one of seed 1 for all, two of the ablation
    assert {path.name for path in (REPO / "configs/trainers").iterdir()} - {"CasPL", "ZeroshotCLIP2"} <= {
        value(run, "--trainer") for run in full
    }
    others = plan_all(parts_of("tiny", replace(asked, seeds=(4,), methods=("CoOp",))))
    assert {(value(run, "--seed"), value(run, "--trainer")) for run in others} == {("4", "CoOp")}
    v2 = plan_all(parts_of("tiny", replace(asked, targets=("tinysat_v2",))))
    assert {run.folder.parts[1] for run in v2 if not run.makes} == {"cross_dataset", "domain_generalization"}
    tokens = plan_all(parts_of("tiny", asked, ["tokens"]))
    assert {run.folder.parts[1] for run in tokens} == {"ablations"}
    with pytest.raises(CasPLError, match="tiny has nothing of what is asked for"):
        parts_of("tiny", replace(asked, methods=("MPL",)))


def test_tables_are_shown_by_the_commands_that_the_page_gives() -> None:
    lines = [" ".join(line) for line in show.commands(parts_of("tiny", request("base2new", seeds=())), Path("out"))]
    assert [line.partition(" --trainer")[0] for line in lines] == [
        "caspl.results out/base2new --table base2new",
        "caspl.results out/few_shot --table few_shot",
        "caspl.results out/cross_dataset --table cross_dataset",
        "caspl.results out --table domain_generalization",
        "caspl.results.ablations out/ablations tokens --table ablations_tiny",
    ]


def test_unknown_tables() -> None:
    with pytest.raises(CasPLError, match=re.escape("there is no table 'base3new': did you mean base2new?")):
        parts_of("base3new", request("base2new"))
    with pytest.raises(
        CasPLError,
        match="there is no table 'nothing': there are base2new, .*, tiny, tiny_family, tiny_full, tiny_taught, or a",
    ):
        parts_of("nothing", request("base2new"))
    with pytest.raises(CasPLError, match="base2new has no ablations: leave --only out"):
        parts_of("base2new", request("base2new"), ["depth"])
    with pytest.raises(CasPLError, match="there is no protocol 'few_shots': did you mean few_shot"):
        read_protocol("few_shots")


def test_the_data_sets_are_the_papers() -> None:
    order = paper_figures.dataset_order()
    assert [paper_figures.dataset_key(name) for name in read_protocol("base2new").sources] == order


@pytest.mark.parametrize(
    ("name", "count"), [("base2new", 561), ("few_shot", 1342), ("cross_dataset", 277), ("domain_generalization", 132)]
)
def test_the_numbers_of_the_documents(name: str, count: int) -> None:
    assert len(plan(request(name, seeds=(1, 2, 3)))) == count
    assert f"| {count} |" in (REPO / "docs/reproduce.md").read_text(encoding="utf-8")


def test_the_estimate_counts_steps_and_takes_times_from_what_is_finished(tmp_path: Path) -> None:
    asked = request("base2new", datasets=("eurosat",), methods=("CoOp", "CasPL_CoOp"), seeds=(1, 2))
    args = reproduce.parser().parse_args(["base2new"])
    runs = plan(asked)
    configs = reproduce.check([reproduce.command(run, args, asked) for run in runs])
    pairs = list(zip(runs, configs, strict=True))
    found = {run.title: estimate.work(cfg, "--eval-only" in run.arguments) for run, cfg in pairs}
    assert found["phase 1 eurosat vit_b16_c2_ep20_batch4_8+8ctx_l12 seed 1"] == estimate.Work(67500, 8100)
    assert found["CoOp eurosat base 16 shots seed 1"] == estimate.Work(2 * 200, 4050)  # 5 classes of 16, batch 32
    assert found["CoOp eurosat new 16 shots seed 1"] == estimate.Work(0, 4050)
    tiny = reproduce.check([reproduce.command(run, args, asked) for run in plan(replace(asked, datasets=("tinysat",)))])
    boost = next(cfg for cfg in tiny if cfg.TRAINER.NAME == "CasPL")
    batch, epochs = boost.DATALOADER.TRAIN_X.BATCH_SIZE, boost.OPTIM.MAX_EPOCH
    assert estimate.work(boost, False) == estimate.Work(2000 // batch * epochs, 1000)  # as docs/tinysat.md counts
    untimed = estimate.lines(pairs, tmp_path / "nothing", 1)
    assert untimed[-1] == "about 0.00 h, and 9 runs of which none like them has been timed here"
    cfg = next(cfg for run, cfg in pairs if run.title.startswith("CoOp eurosat base"))
    timed = made_record(80.0, config=cfg.TRAINER.RECORD.CONFIG, test_images=4050, settings=plain(cfg))
    write_record(tmp_path / "run", replace(timed, seconds={"train": 800.0, "test": 405.0}))
    last = estimate.lines(pairs, tmp_path, 2)
    assert "train CoOp on EuroSAT: 2 runs, 800 steps, 8,100 test images: 0.67 h" in last
    assert last[-1].startswith("about 0.45 h on 2 at a time, and 5 runs")


def test_a_table_of_ones_own_as_the_documents_have_it(tmp_path: Path) -> None:
    text = (REPO / "docs/reproduce.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)
    path = tmp_path / "my_table.yaml"
    path.write_text(block)
    runs = plan_all(parts_of(str(path), request("base2new", seeds=())))
    kinds = Counter(value(run, "--trainer") for run in runs)
    assert kinds == {"CasPL": 2 * 2 * 3, "CasPL_PromptSRC": 2 * 2 * 2 * 3 * 2}
    cascades = [run for run in runs if value(run, "--trainer") != "CasPL"]
    assert all(value(run, "TRAINER.CASPL.BOOSTING_SEED") == value(run, "--seed") for run in cascades)
    assert all("TRAINER.RECORD.VALIDATE" in run.arguments for run in runs if run.needs)
    assert {value(run, "TEST.PER_CLASS_RESULT") for run in runs if run.needs} == {"True"}
    shown = show.commands(parts_of(str(path), request("base2new", seeds=())), Path("out"))
    assert [line[3] for line in shown] == ["base2new", "chosen"]
    labels = {value(run, "TRAINER.RECORD.CONFIG") for run in runs if value(run, "--trainer") != "CasPL"}
    head = "vit_b16_c2_ep20_batch4_8+8ctx_l12"
    assert labels == {f"{head}_boosting_temperature{t}_lr{lr}" for t in ("1.0", "2.0") for lr in ("0.0025", "0.005")}
    for run in runs:
        if run.needs and "--eval-only" not in run.arguments:
            (boost,) = (other for other in runs if other.folder == run.needs[0])
            assert value(boost, "TRAINER.CASPL.TEMPERATURE") in str(value(run, "TRAINER.CASPL.BOOSTING_DIR"))
            assert value(run, "OPTIM.LR") in value(run, "TRAINER.RECORD.CONFIG")
    only = plan_all(parts_of(str(path), request("base2new", seeds=(5,), datasets=("dtd",))))
    assert {value(run, "--seed") for run in only if value(run, "--trainer") != "CasPL"} == {"5"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("datasets: [dtd]", "must hold protocol, and no other keys than"),
        ("protocol: base2new\noptions: [1]", "options holds KEY: value"),
        ("protocol: base2new\ndatasets: [1]", "datasets holds names or numbers, not 1"),
        ("protocol: base2new\nmethods: []", "methods holds names or numbers, and not empty"),
        ("protocol: 5", "must hold protocol"),
        ("protocol: base2new\nboosting_seed: own", "boosting_seed is a number, or same"),
        ("protocol: base2new\nvary: {5: [1]}", "vary holds KEY: [values]"),
        ("protocol: base2new\noptions: {3: 4}", "options holds KEY: value"),
        ("parts: []", "parts is a list of tables, and stands alone"),
        ("parts: [{ablations: ablations_tiny, seeds: 3}]", "only: [names] and seeds: [numbers]"),
        ("parts: [1]", "parts is a list of tables, and stands alone"),
        ("parts: []\nprotocol: base2new", "parts is a list of tables, and stands alone"),
        ("parts: [{ablations: nothing}]", "a part of ablations names one of ablations, ablations_tiny"),
        ("- base2new", "must hold protocol, ablations or parts"),
        ("protocol: base2new\nshot: [1]", "must hold protocol, and no other keys than"),
        ("protocol: base2new\nvary: [1]", "vary holds KEY: [values]"),
        ("protocol: base2new\nvary: {OPTIM.LR: 1}", "vary holds KEY: [values]"),
        ("protocol: base2new\ndatasets: dtd", "datasets holds a list"),
        ("protocol: base2new\nseeds: [one]", "seeds are numbers, not 'one'"),
        ("protocol: base3new", "there is no protocol 'base3new': did you mean base2new?"),
        ("[", "cannot be read"),
    ],
)
def test_tables_that_are_none(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(content)
    with pytest.raises(CasPLError, match=re.escape(sentence)):
        parts_of(str(path), request("base2new"))


# Before it ----------------------------------------------------------------------------------------------------------


def test_weights_and_data_that_are_not_the_published_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASPL_WEIGHTS", str(tmp_path))
    (tmp_path / "ViT-B-16.pt").write_bytes(b"something else")
    (tmp_path / "ViT-L-14.safetensors").write_bytes(b"")
    asked = request("base2new", datasets=("eurosat",), methods=("CasPL_CoOp",))
    args = reproduce.parser().parse_args(["base2new", "--root", str(tmp_path / "data")])
    said = preflight.findings(reproduce.check([reproduce.command(run, args, asked) for run in plan(asked)]))
    assert len(said) == 3
    assert said[0].startswith(f"EuroSAT: there is no folder {tmp_path / 'data' / 'eurosat'}")
    assert "ViT-B-16.pt is not OpenAI's file of ViT-B/16 (SHA-256 " in said[1]
    assert "not 5806e77c...)" in said[1]
    assert "ViT-L-14.safetensors, which is not OpenAI's own file" in said[2]


def test_zero_shot_beside_the_papers(tmp_path: Path) -> None:
    asked = replace(request("few_shot", datasets=("eurosat", "tinysat")), output=tmp_path)
    parts = [Part((asked,), "few_shot")]
    runs = preflight.zero_shot(parts, tmp_path)
    assert preflight.lost(parts, tmp_path) == ["eurosat"]
    assert [value(run, "--trainer") for run in runs] == ["ZeroshotCLIP"] * 2  # base and new of the published one
    assert preflight.compare(runs) == []
    base, new, _ = paper_figures.base_to_new("eurosat", "ZeroshotCLIP") or (0, 0, 0)
    for run, classes, accuracy in zip(runs, ("base", "new"), (base + 0.4, new - 0.6), strict=True):
        write_record(run.folder, made_record(accuracy, trainer="ZeroshotCLIP", classes=classes))
    adapted = plan(replace(asked, datasets=("eurosat",), protocol=read_protocol("base2new"), methods=("CoOp",)))
    for run, classes in zip(adapted, ("base", "new"), strict=True):  # which is no zero-shot CLIP
        write_record(run.folder, made_record(99.0, trainer="CoOp", classes=classes))
    assert preflight.lost(parts, tmp_path) == []
    (said,) = preflight.compare([*adapted, *runs])
    assert f"zero-shot CLIP on the new classes of EuroSAT is {new - 0.6:.2f}, the paper's {new:.2f}" in said


def stand_in_for_runs(monkeypatch: pytest.MonkeyPatch, done: Callable[[Run], int]) -> list[list[str]]:
    """Let a call do each run, and give its exit code; returns where the titles of runs that were asked for come."""
    ran: list[list[str]] = []

    class Stand:
        def __init__(self, runs: list[Run]) -> None:
            self.runs = runs

        def run(self) -> int:
            ran.append([run.title for run in self.runs])
            return max(done(run) for run in self.runs)

    monkeypatch.setattr(reproduce, "executor", lambda missing, *_: Stand(missing))
    return ran


def test_what_differs_is_said_before_the_first_run_of_a_data_set_and_then_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zero-shot CLIP runs first; data that is not there is said too, and does not end it."""

    def done(run: Run) -> int:
        classes = value(run, "DATASET.SUBSAMPLE_CLASSES")
        write_record(run.folder, made_record(10.0, trainer=value(run, "--trainer"), classes=classes))
        (run.folder / "command.txt").write_text(run.identity + "\n")
        return 0

    ran = stand_in_for_runs(monkeypatch, done)
    monkeypatch.setattr(show, "tables", lambda *_: 0)
    monkeypatch.setenv("CASPL_WEIGHTS", str(tmp_path))
    line = ["few_shot", "--datasets", "eurosat", "tinysat", "--methods", "CoOp", "--shots", "1"]
    line += ["--root", str(tmp_path / "data"), "--output", str(tmp_path / "output")]
    assert reproduce.main(line) == 0
    first = ["ZeroshotCLIP eurosat base 16 shots seed 1", "ZeroshotCLIP eurosat new 16 shots seed 1"]
    table = ["CoOp eurosat 1 shots seed 1", "CoOp tinysat 1 shots seed 1"]
    assert ran == [first, table]
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"careful: EuroSAT: there is no folder {tmp_path / 'data' / 'eurosat'}")
    assert [line.partition(" is 10.00")[0] for line in said[1:]] == [
        f"careful: zero-shot CLIP on the {classes} classes of EuroSAT" for classes in ("base", "new")
    ]
    assert reproduce.main([*line, "--seeds", "2"]) == 0
    assert ran[2:] == [[title.replace("seed 1", "seed 2") for title in table]]
    assert capsys.readouterr().err == ""
    assert reproduce.main([*line, "--datasets", "dtd", "--no-check"]) == 0
    assert ran[3:] == [["CoOp dtd 1 shots seed 1"]]


def test_a_data_set_that_is_not_there_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the table of what there is is shown all the same."""

    def done(run: Run) -> int:
        if "eurosat" in run.folder.parts:
            return 2
        write_record(run.folder, made_record(10.0))
        return 0

    shown: list[Path] = []
    ran = stand_in_for_runs(monkeypatch, done)
    monkeypatch.setattr(show, "tables", lambda _, output: shown.append(output) or 0)
    line = ["few_shot", "--datasets", "eurosat", "tinysat", "--methods", "CoOp", "--shots", "1"]
    assert reproduce.main([*line, "--root", str(tmp_path / "data"), "--output", str(tmp_path / "output")]) == 2
    first = [f"ZeroshotCLIP eurosat {one} 16 shots seed 1" for one in ("base", "new")]
    assert ran == [first, ["CoOp tinysat 1 shots seed 1"]]
    assert shown == [tmp_path / "output"]
    assert "runs on eurosat are left out: zero-shot CLIP does not run there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["base2new", "--full"], "--full is for tiny, not for base2new"),
        (["base2new", "--shots", "0"], "--shots are 1 and more"),
        (["base2new", "--seeds", "-1"], "--seeds 0 and more"),
        (["base2new", "--jobs", "0"], "--jobs is 1 or more"),
    ],
)
def test_words_that_mean_nothing(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(words) == 2
    assert sentence in capsys.readouterr().err


# The execution -------------------------------------------------------------------------------------------------------


def turn_until(executor: side_by_side.Executor, path: Path) -> None:
    while not path.exists():
        executor.turn()
        time.sleep(0.05)


def test_a_failed_run_takes_those_along_that_need_it(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        made(stand_in, "boost", "FAILS"),
        made(stand_in, "adapt", needs=("boost",)),
        made(stand_in, "test", needs=("adapt",)),
        made(stand_in, "other"),
        made(stand_in, "others test", needs=("other",)),
    ]
    assert execute(stand_in, runs, jobs=2) == 3
    done = {path.parent.name for path in stand_in.glob("*/result.json")}
    assert done == {"other", "others test"}
    printed = capsys.readouterr()
    assert "failed: boost (code 3): this run has failed" in printed.err
    assert "failed: adapt (code 3): it needs boost" in printed.err
    assert "failed: test (code 3): it needs adapt" in printed.err
    assert "other: " in printed.out
    assert (stand_in / "logs" / "boost.log").read_text().startswith("begins boost\n")


def test_runs_side_by_side(stand_in: Path) -> None:
    runs = [made(stand_in, f"run {number}", seconds=1.5) for number in range(2)]
    assert execute(stand_in, runs, jobs=2) == 0
    first, second = ((stand_in / f"run {number}" / "result.json").stat().st_mtime for number in range(2))
    assert abs(first - second) < 1.5  # one after the other they would end further apart


def test_two_drivers_share_the_work(stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What another fills is left to it, and what is not done yet is done meanwhile."""
    runs = [made(stand_in, "held"), made(stand_in, "free")]
    claim = Claim.within(stand_in / "held").take()
    executor = executor_of(stand_in, runs)
    turn_until(executor, stand_in / "free" / "result.json")
    assert not (stand_in / "held" / "began").exists()
    claim.release()
    assert executor.run() == 0
    assert (stand_in / "held" / "began").read_text() == "x"


def test_a_folder_that_others_fill_is_looked_at_less_and_less(stand_in: Path) -> None:
    runs = [made(stand_in, "held"), made(stand_in, "free", seconds=4.0)]
    executor = executor_of(stand_in, runs, jobs=2)
    tries = []
    start = executor._start
    executor._start = lambda run, slot: (tries.append(run.title), start(run, slot))[1]  # type: ignore[method-assign]
    with Claim.within(stand_in / "held"):
        turn_until(executor, stand_in / "free" / "result.json")
    assert 2 <= tries.count("held") <= 4
    assert executor.run() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_is_ended_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path, request_: pytest.FixtureRequest
) -> None:
    program = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[2]]; import signal, reproduce, tests.test_reproduce as t;"
        "from pathlib import Path; signal.signal(signal.SIGTERM, reproduce._terminated);"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"  # which a shell's background commands ignore
        "t.side_by_side.REPO = Path(sys.argv[3]); t.side_by_side.PATIENCE = 0.5; out = Path(sys.argv[4]);"
        "sys.exit(t.execute(out, [t.made(out, 'long', seconds=60)]))"
    )
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "scripts").symlink_to(REPO / "scripts")
    (checkout / "train.py").write_text(TRAIN.format(repo=REPO))
    line = [sys.executable, "-c", program, str(REPO / "scripts"), str(REPO), str(checkout), str(tmp_path / "output")]
    driver = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    request_.addfinalizer(lambda: (driver.kill(), driver.communicate()))
    began = tmp_path / "output" / "long" / "began"
    deadline = time.monotonic() + 60
    while not began.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.send_signal(number)
    _, said = driver.communicate(timeout=60)
    assert (driver.returncode, "the same command goes on" in said) == (130, True), said
    with Claim.within(tmp_path / "output" / "long"):  # nobody holds it any more
        pass


def test_graphics_cards_are_those_that_the_user_has_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert [side_by_side._device(slot, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["2", "3", "2"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert side_by_side._device(1, 2) == {"CUDA_VISIBLE_DEVICES": "1"}
    assert side_by_side._device(0, 1) == {}


def test_an_output_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert reproduce.main(["base2new", "--output", str(tmp_path / "file")]) == 2
    assert "is a file: name a folder" in capsys.readouterr().err


def test_every_value_of_a_table_is_checked_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("protocol: base2new\ndatasets: [tinysat]\nmethods: [CoOp]\nvary: {OPTIM.LR: [oops, 0.002]}\n")
    assert reproduce.main([str(path), "--output", str(tmp_path / "output")]) == 2
    assert "OPTIM.LR in the command line must be of type float" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


def test_a_key_that_is_wrong_is_found_before_the_first_run(tmp_path: Path) -> None:
    line = [sys.executable, str(REPO / "scripts/reproduce.py"), "base2new", "--datasets", "tinysat"]
    line += ["--methods", "CasPL_CoOp", "--output", str(tmp_path / "output"), "TRAINER.COOP.N_CTXX", "4"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 2
    assert "error: unknown key TRAINER.COOP.N_CTXX in the command line; near are" in done.stderr
    assert not (tmp_path / "output").exists()
