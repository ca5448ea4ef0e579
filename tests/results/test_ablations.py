"""The ablations: their labels, their tables, and the verdicts on the paper's claims."""

from __future__ import annotations

import csv
import os
import re
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from caspl.errors import CasPLError
from caspl.protocols import Request, parts_of, plan_all, read_protocol
from caspl.protocols import Run as PlannedRun
from caspl.protocols.ablations import Ablations, Claim, ablation_tables, ablations_of, read_ablations
from caspl.results import RunRecord
from caspl.results.ablations import collected, views
from caspl.results.ablations.__main__ import main
from caspl.results.ablations.collected import Groups
from caspl.results.ablations.verdict import judge, papers
from caspl.results.collect import base_to_new
from caspl.results.paper_figures import ablation_figure, rows
from caspl.results.tables import Figure, Table
from tests.results.made import pair, write_all

REPO = Path(__file__).parents[2]
SCRIPT = REPO / "scripts/caspl/ablation.sh"
TABLES = REPO / "caspl/protocols/tables"
TINY, PAPERS = read_ablations("ablations_tiny"), read_ablations("ablations")
CLAIMS = [claim for ablation in TINY.tables.values() for claim in ablation.claims]


def made(ablation: str, setting: str, *accuracies: tuple[float, float]) -> list[RunRecord]:
    """Records of a setting, a pair of base and new for each seed."""
    run = TINY.method(TINY.tables[ablation].settings[setting], "tinysat")
    found = []
    for seed, (base, new) in enumerate(accuracies, 1):
        found += pair(base, new, dataset="TinySat", trainer=run.trainer, config=run.config, seed=seed)
    return found


def same(ablation: str, setting: str, *accuracies: float) -> list[RunRecord]:
    """The same accuracy on base and new classes, and so as HM."""
    return made(ablation, setting, *((value, value) for value in accuracies))


def texts(table: Table) -> list[list[str]]:
    return [[cell.text() if isinstance(cell, Figure) else cell for cell in row] for row in table.rows]


def claim(ablation: str, *, start: str) -> Claim:
    (found,) = (item for item in CLAIMS if item.ablation == ablation and item.text.startswith(start))
    return found


def dry_run(*names: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"DRY": "1", "PYTHON": sys.executable} | environment
    return subprocess.run(["bash", str(SCRIPT), *names], env=env, capture_output=True, text=True, check=False)


def by_setting(records: list[RunRecord]) -> dict[str, Groups]:
    return collected.by_setting(TINY, records)


# The table and its runs --------------------------------------------------------------------------------------


def runs_of(ablations: Ablations, *names: str, **more: Any) -> list[PlannedRun]:
    asked = Request(read_protocol("base2new"), REPO / "configs", Path("output"), **more)
    return plan_all(parts_of(ablations.name, asked, names))


def value(run: PlannedRun, key: str) -> str:
    return run.arguments[run.arguments.index(key) + 1]


@pytest.mark.parametrize("name", ablation_tables())
def test_the_runs_are_those_that_the_tables_show(name: str) -> None:
    ablations = read_ablations(name)
    for ablation in ablations.tables.values():
        runs = [run for run in runs_of(ablations, ablation.name) if not run.title.startswith("phase 1")]
        planned = {(value(run, "--trainer"), value(run, "TRAINER.RECORD.CONFIG")) for run in runs}
        shown = {
            ablations.method(setting, dataset)
            for setting in ablation.settings.values()
            for dataset in ablation.datasets
        }
        assert planned == shown, ablation.name


@pytest.mark.parametrize("name", ablation_tables())
def test_both_tables_have_the_same_ablations(name: str) -> None:
    assert list(read_ablations(name).tables) == list(TINY.tables)
    assert {row["ablation"] for row in rows("ablations")} <= TINY.tables.keys()


def test_the_papers_settings_are_those_of_its_figures() -> None:
    for row in rows("ablations"):
        assert row["setting"] in PAPERS.tables[row["ablation"]].settings, row
    datasets = {name: len(ablation.datasets) for name, ablation in PAPERS.tables.items()}
    said = {row["ablation"]: row["data"] for row in rows("ablations")}
    assert all(datasets[name] == (1 if data == "DTD" else int(data.split()[0])) for name, data in said.items())


def test_what_is_unchanged_is_what_is_shipped() -> None:
    """A change without a label must be the value that the configs have, capped by the depth of the tiny student."""
    for ablations, folder, most in ((TINY, "tiny", 6), (PAPERS, "vit_b16_c2_ep20_batch4_8+8ctx_l12", 12)):
        boost = yaml.safe_load((REPO / f"configs/trainers/CasPL/{folder}.yaml").read_text())
        unchanged = yaml.safe_load((TABLES / f"{ablations.name}.yaml").read_text())["unchanged"]
        ours = boost["TRAINER"]["CASPL"]
        found = {
            "depth": min(most, ours["PROMPT_DEPTH_VISION"]),
            "length": ours["N_CTX_VISION"],
            "epochs": boost["OPTIM"]["MAX_EPOCH"],
            "temperature": ours["TEMPERATURE"],
        }
        assert unchanged["boosting"] == found
        for method in ("PromptSRC", "CasPL_PromptSRC"):
            config = read_protocol("base2new").config(method, ablations.tables["tokens"].datasets[0], 16).config
            paths = [REPO / f"configs/trainers/{one}/{config}.yaml" for one in (method, "PromptSRC")]
            shipped = yaml.safe_load(next(path for path in paths if path.is_file()).read_text())["TRAINER"]["PROMPTSRC"]
            depth = min(most, shipped["PROMPT_DEPTH_VISION"])
            assert unchanged[method] == {"depth": depth, "length": shipped["N_CTX_VISION"]}, method


def test_a_grid_and_its_keys() -> None:
    runs = runs_of(TINY, "depth")
    label = "tiny_boosting_depth1_adapting_depth2"
    (run,) = (one for one in runs if one.folder.parent.name == label and "--eval-only" not in one.arguments)
    assert [value(run, f"TRAINER.PROMPTSRC.PROMPT_DEPTH_{tower}") for tower in ("TEXT", "VISION")] == ["2", "2"]
    (boost,) = (one for one in runs if one.folder == run.needs[0])
    assert value(boost, "TRAINER.CASPL.PROMPT_DEPTH_TEXT") == value(boost, "TRAINER.CASPL.PROMPT_DEPTH_VISION") == "1"
    assert len([one for one in runs if one.makes]) == 4
    shipped = [one for one in runs if one.folder.parent.name == "tiny" and not one.makes]
    assert all("TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT" not in one.arguments for one in shipped)
    assert len(shipped) == 2


def test_every_seed_has_a_phase_1_of_its_own_on_the_tiny_benchmark() -> None:
    trained = [run for run in runs_of(TINY, "trainable", seeds=(3, 5)) if run.title.endswith("base 16 shots seed 3")]
    assert {value(run, "TRAINER.CASPL.BOOSTING_SEED") for run in trained} == {"3"}
    kept = [run for run in runs_of(PAPERS, "trainable", seeds=(3,)) if run.makes]
    assert {value(run, "--seed") for run in kept} == {"1"}
    named = [run for run in runs_of(TINY, "trainable", seeds=(3,), boosting_seed=2) if run.makes]
    assert {value(run, "--seed") for run in named} == {"2"}


def test_the_runs_lie_apart_from_the_protocols_tables() -> None:
    assert {run.folder.parts[:2] for run in runs_of(TINY)} == {("output", "ablations")}


def test_the_scripts_words(tmp_path: Path) -> None:
    unknown = dry_run("dept")
    assert unknown.returncode == 2
    assert unknown.stderr == "error: there is no ablation 'dept': did you mean depth?\n"
    helped = dry_run("--help")
    assert helped.returncode == 0
    assert all(name in helped.stdout for name in TINY.tables)
    assert dry_run().returncode == 2
    two = dry_run("tokens", "trainable", SEEDS="1 2", OUTPUT=str(tmp_path))
    assert two.stdout.count("--trainer CasPL ") == 4
    assert dry_run("tokens", TABLE="ablations").stdout.count("configs/datasets/eurosat.yaml") == 10


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"settings": {}}, "the ablation a has neither settings nor a grid"),
        ({"settings": {"s": {}}}, "cannot be read, at 'about'"),
        ({"about": "", "setting": {"s": {}}}, "the ablation a has no key 'setting': did you mean settings?"),
        ({"about": "", "settings": {"s": {"boostin": {}}}}, "a setting of an ablation has no key 'boostin': did you"),
        (
            {"about": "", "settings": {"s": 3}},
            "a setting of an ablation holds method, config, boosting, adapting, not 3",
        ),
        ({"about": "", "settings": {"s": {"adapting": {"depth": 1}}}}, "the ablation a changes depth"),
        (
            {"about": "", "settings": {"s": {}}, "claims": [{"text": "", "above": "s", "below": ["t"]}]},
            "the setting t of a claim of a",
        ),
    ],
)
def test_tables_that_are_none(content: dict[str, Any], sentence: str) -> None:
    whole = {"protocol": "base2new", "datasets": ["dtd"], "method": "X", "boosting": {}, "adapting": {}}
    with pytest.raises(CasPLError, match=re.escape(sentence)):
        ablations_of({**whole, "ablations": {"a": content}}, "mine")


# Tables ------------------------------------------------------------------------------------------------------


def test_a_list_of_settings() -> None:
    records = [*made("trainable", "frozen", (60.0, 40.0), (90.0, 10.0)), *made("trainable", "trainable", (50.0, 50.0))]
    table = views.table(TINY.tables["trainable"], by_setting(records)["trainable"])
    assert table.columns == ["trainable", "base", "new", "HM", "seeds"]
    assert texts(table) == [
        ["frozen", "75.00 ± 21.21", "25.00 ± 21.21", "37.50 ± 21.21", "2"],
        ["trainable", "50.00", "50.00", "50.00", "1"],
    ]


def test_a_grid_has_boosting_in_rows() -> None:
    records = [*same("length", "2+4", 61.0), *same("length", "4+2", 62.0), *same("length", "8+4", 63.0, 65.0)]
    table = views.table(TINY.tables["length"], by_setting(records)["length"])
    assert table.columns == ["boosting", "2", "4", "8"]
    assert texts(table) == [["2", "-", "61.00", "-"], ["4", "62.00", "-", "-"], ["8", "-", "64.00 ± 1.41", "-"]]


def test_the_shipped_setting_is_one_run() -> None:
    methods = {
        (name, setting): TINY.method(one, "tinysat")
        for name, ablation in TINY.tables.items()
        for setting, one in ablation.settings.items()
    }
    sharing = {name: setting for (name, setting), method in methods.items() if method == ("CasPL_PromptSRC", "tiny")}
    assert sharing == {
        **{"depth": "6+6", "length": "8+4", "trainable": "frozen", "images": "all", "epochs": "20"},
        **{"temperature": "1", "domain": "inside", "parts": "both"},
    }
    # It alone begins none of them.
    assert not any(by_setting(same("trainable", "frozen", 60.0)).values())


def test_runs_of_other_data_sets_and_of_two_numbers_of_shots() -> None:
    records = [*same("trainable", "frozen", 60.0), *same("trainable", "trainable", 60.0)]
    assert by_setting([*records, *pair(1.0, 1.0)])["trainable"].keys() == {"frozen", "trainable"}
    other = pair(1.0, 1.0, dataset="TinySat", shots=4)
    with pytest.raises(CasPLError, match="runs of 4 and 16 shots"):
        by_setting([*records, *other])


def test_over_several_data_sets_a_setting_is_their_mean_and_missing_where_one_is() -> None:
    def one(setting: str, dataset: str, *accuracies: float) -> list[RunRecord]:
        run = PAPERS.method(PAPERS.tables["trainable"].settings[setting], "dtd")
        named = {"trainer": run.trainer, "config": run.config, "dataset": dataset}
        return [record for seed, value in enumerate(accuracies, 1) for record in pair(value, value, seed=seed, **named)]

    records = [*one("frozen", "EuroSAT", 60.0, 62.0), *one("trainable", "EuroSAT", 50.0, 52.0)]
    records += [*one("frozen", "DescribableTextures", 70.0, 74.0), *one("trainable", "DescribableTextures", 1.0, 2.0)]
    groups = collected.by_setting(PAPERS, records)["trainable"]
    assert groups["frozen"].base == {1: 65.0, 2: 68.0}
    table = views.table(PAPERS.tables["trainable"], groups)
    assert table.title == "trainable, average of 2 data sets"
    third = one("frozen", "Food101", 10.0) + one("frozen", "Caltech101", 20.0)
    assert collected.by_setting(PAPERS, [*records, *third])["trainable"]["frozen"].base == {1: 65.0, 2: 68.0}


# Verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trainable", "word"),
    [
        ((60.0, 61.0, 63.0), "agree"),  # 3, 3, 2 below
        ((66.0, 67.0, 68.0), "differ"),
        ((60.0, 67.0, 65.0), "within the spread"),  # +3, -3, 0
        ((63.0, 64.0, 65.0), "within the spread"),  # the same, without any spread
        ((60.0,), "one seed"),
        ((), "-"),
    ],
)
def test_verdict(trainable: tuple[float, ...], word: str) -> None:
    frozen = (63.0, 64.0, 65.0)
    records = [*same("trainable", "frozen", *frozen), *same("trainable", "trainable", *trainable)]
    found = judge(claim("trainable", start="frozen"), by_setting(records)["trainable"])
    assert found.word == word
    if trainable:
        pairs = [a - b for a, b in zip(frozen, trainable, strict=False)]
        assert found.difference is not None
        assert found.difference.mean == pytest.approx(statistics.fmean(pairs))
        assert found.below == pytest.approx(statistics.fmean(trainable))


def test_seeds_are_compared_in_pairs() -> None:
    """Seeds that differ much from each other, but by the same in both settings, do agree."""
    records = [*same("trainable", "frozen", 50.0, 60.0, 70.0), *same("trainable", "trainable", 49.0, 58.9, 69.1)]
    found = judge(claim("trainable", start="frozen"), by_setting(records)["trainable"])
    assert found.word == "agree"
    assert found.difference is not None
    assert found.difference.spread == pytest.approx(0.1)


def test_the_best_is_compared_with_its_best_rival() -> None:
    records = [
        *same("temperature", "0.5", 60.0, 60.0),
        *same("temperature", "1", 64.0, 65.0),
        *same("temperature", "2", 63.0, 63.5),
        *same("temperature", "4", 50.0, 70.0),
    ]
    best = claim("temperature", start="1 is")
    found = judge(best, by_setting(records)["temperature"])
    assert (found.above, found.below, found.rival, found.word) == (64.5, 63.25, "2", "agree")
    row = texts(views.directions([TINY.tables["temperature"]], by_setting(records)))[0]
    assert row == ["1 is the best temperature", "HM", "-", "63.25 (2) to 64.50", "+1.25 ± 0.35", "agree"]
    # The best of some is not the best.
    assert judge(best, by_setting(records[:-4])["temperature"]).word == "-"


def test_several_settings_stand_for_their_mean() -> None:
    records = [*same("parts", "neither", 50.0, 50.0), *same("parts", "teacher", 80.0, 80.0)]
    nearer = claim("parts", start="boosting alone")
    found = judge(nearer, by_setting([*records, *same("parts", "boosting", 70.0, 68.0)])["parts"])
    assert (found.below, found.word) == (65.0, "agree")
    others = by_setting([*records, *same("parts", "boosting", 62.0, 61.0)])["parts"]
    assert judge(nearer, others).word == "differ"


def test_a_claim_of_new_classes_looks_at_new_classes() -> None:
    records = [
        *made("epochs", "20", (50.0, 60.0), (50.0, 62.0)),
        *made("epochs", "40", (90.0, 58.0), (90.0, 60.5)),
    ]
    found = judge(claim("epochs", start="new classes"), by_setting(records)["epochs"])
    assert (found.above, found.below, found.word) == (61.0, 59.25, "agree")


# The paper ---------------------------------------------------------------------------------------------------


def test_claims_name_what_there_is() -> None:
    known = {(row["ablation"], row["setting"]) for row in rows("ablations")}
    assert all((item.ablation, name) in known for item in CLAIMS for name in item.paper)
    assert {item.ablation for item in CLAIMS} == set(TINY.tables)
    texts = [[claim.text for table in one.tables.values() for claim in table.claims] for one in (TINY, PAPERS)]
    assert texts[0] == texts[1]


def test_the_papers_figures_bear_out_its_claims() -> None:
    figures = {item.text: papers(item) for item in CLAIMS}
    told = {text: pair for text, pair in figures.items() if pair is not None}
    assert all(above > below for above, below in told.values())
    assert told["both beat adapting alone"] == (82.69, 79.97)
    assert told["deeper boosting is better, 1 against all layers"] == (83.51, 81.60)
    assert len(told) == 12
    assert ablation_figure("images", "all") == 76.44
    assert ablation_figure("length", "8+8") is None


# The command -------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_all(tmp_path, [*same("domain", "none", 60.0, 61.0), *same("domain", "outside", 63.0, 63.0)])


def test_the_command_prints_what_has_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(runs)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("domain\n")
    assert "83.84 to 84.56 (few-shot accuracy)  60.50 to 63.00  +2.50 ± 0.71  agree" in printed
    assert "depth" not in printed.split("HM: harmonic")[0]
    assert main([str(runs), "tokens", "--format", "markdown"]) == 0
    assert "| a cascade of 4+4 beats 8 adapting tokens | HM | 80.38 to 83.14 | - | - | - |" in capsys.readouterr().out


def test_csv_holds_one_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(runs), "domain", "--format", "csv"]) == 0
    lines = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert [line[1] for line in lines] == ["domain", "none", "outside", "inside"]
    assert {len(line) for line in lines} == {9}
    assert main([str(runs), "directions", "--format", "csv"]) == 0
    assert next(csv.reader(capsys.readouterr().out.splitlines()))[1] == "claim"
    assert main([str(runs), "--format", "csv"]) == 2
    assert "one of domain, directions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "says"), [(["dept"], "no ablation 'dept'; there are depth"), ([], "no runs of an ablation below")]
)
def test_nothing_to_show_is_one_sentence(
    names: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(write_all(tmp_path, pair(1.0, 1.0))), *names]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_runs_of_ablations_are_in_no_table_of_the_protocol() -> None:
    both = [*made("tokens", "4+4", (60.0, 50.0)), *made("tokens", "8+8", (1.0, 1.0))]
    own = [replace(one, protocol="ablations") for one in both]
    others = made("tokens", "4+4", (70.0, 70.0))
    assert base_to_new(own) == []
    assert [group.base for group in base_to_new([*own, *others])] == [{1: 70.0}]
    # And those are in no table of the ablations, where there are such runs.
    assert by_setting([*own, *others])["tokens"]["4+4"].base == {1: 60.0}
    assert {value(run, "TRAINER.RECORD.PROTOCOL") for run in runs_of(TINY) if not run.makes} == {"ablations"}


def test_what_an_ablation_is_not_of() -> None:
    with pytest.raises(CasPLError, match="ablations_tiny names its methods itself"):
        runs_of(TINY, methods=("CoOp",))
    with pytest.raises(CasPLError, match="ablations_tiny is of tinysat, not of tinycloth"):
        runs_of(TINY, datasets=("tinycloth",))
    assert {run.folder.parts[4] for run in runs_of(PAPERS, "trainable", datasets=("dtd",)) if not run.makes} == {"dtd"}
    content: dict[str, Any] = {"protocol": "few_shot", "datasets": ["dtd"], "boosting": {}, "adapting": {}}
    content |= {"method": "X", "ablations": {}}
    with pytest.raises(CasPLError, match="are of few_shot: their tables are of base2new alone"):
        ablations_of({**content, "method": "X", "ablations": {}}, "mine")


def test_ablations_of_ones_own_have_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ``scripts/reproduce.py`` shows it."""
    content = yaml.safe_load((TABLES / "ablations_tiny.yaml").read_text())
    content["ablations"] = {"mine": content["ablations"]["trainable"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    records = [*same("trainable", "frozen", 60.0), *same("trainable", "trainable", 50.0)]
    write_all(tmp_path / "output", [replace(one, protocol="ablations") for one in records])
    (part,) = parts_of(
        str(tmp_path / "mine.yaml"), Request(read_protocol("base2new"), REPO / "configs", Path("output"))
    )
    assert main([str(tmp_path / "output"), *part.ablations, "--table", part.shown]) == 0
    assert "frozen     60.00" in capsys.readouterr().out
    assert main([str(tmp_path / "output"), "--table", "mine"]) == 2
    assert "there is no table 'mine'; there are ablations, ablations_tiny, or a .yaml" in capsys.readouterr().err


def test_of_some_of_the_papers_data_sets_the_papers_figures_are_not_shown() -> None:
    run = {name: PAPERS.method(one, "dtd") for name, one in PAPERS.tables["tokens"].settings.items()}
    records = [
        record
        for name in ("8", "4+4")
        for record in pair(60.0, 50.0, dataset="EuroSAT", trainer=run[name].trainer, config=run[name].config)
    ]
    found = collected.by_setting(PAPERS, records)
    assert views.table(PAPERS.tables["tokens"], found["tokens"]).title == "tokens, EuroSAT"
    assert texts(views.directions([PAPERS.tables["tokens"]], found))[0][2] == "-"
