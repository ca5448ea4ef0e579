"""The ablations: their labels, their tables, and the verdicts on the paper's claims."""

from __future__ import annotations

import csv
import os
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from caspl.errors import CasPLError
from caspl.results import RunRecord
from caspl.results.ablations import views
from caspl.results.ablations.__main__ import main
from caspl.results.ablations.claims import CLAIMS, Claim
from caspl.results.ablations.settings import SETTINGS, Run
from caspl.results.ablations.verdict import judge, papers
from caspl.results.paper_figures import ablation_figure, rows
from caspl.results.tables import Figure, Table
from tests.results.made import pair, write_all

REPO = Path(__file__).parents[2]
SCRIPT = REPO / "scripts/caspl/ablation.sh"


def made(ablation: str, setting: str, *accuracies: tuple[float, float]) -> list[RunRecord]:
    """Records of a setting, a pair of base and new for each seed."""
    run = SETTINGS[ablation][setting]
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


# The script and the tables -----------------------------------------------------------------------------------


class Command(NamedTuple):
    """A line of the dry run: env NAME=VALUE ... bash base2new.sh tinysat SEED TRAINER KEY VALUE ..."""

    environment: dict[str, str]
    seed: str
    trainer: str
    options: tuple[str, ...]

    @property
    def run(self) -> Run:
        return Run(self.trainer, self.environment["LABEL"])


def commands(*names: str, **environment: str) -> list[Command]:
    found = []
    for line in dry_run(*names, **environment).stdout.splitlines():
        words = shlex.split(line)
        start = words.index("tinysat")
        pairs = dict(word.split("=", 1) for word in words[1:start] if "=" in word)
        found.append(Command(pairs, words[start + 1], words[start + 2], tuple(words[start + 3 :])))
    return found


def test_the_script_makes_the_runs_that_the_tables_show() -> None:
    for name, settings in SETTINGS.items():
        assert sorted(command.run for command in commands(name)) == sorted(settings.values()), name


def test_a_label_stands_for_one_recipe_and_a_recipe_for_one_label() -> None:
    boosting, adapting = {}, {}
    for command in commands("all"):
        environment = command.environment
        recipe = environment["BOOST_OPTIONS"]
        assert boosting.setdefault(environment["BOOST_LABEL"], recipe) == recipe
        whole = (environment["CFG"], environment["BOOST_LABEL"], command.options)
        assert adapting.setdefault(command.run, whole) == whole
    assert len(set(boosting.values())) == len(boosting)
    assert len({(run.trainer, *recipe) for run, recipe in adapting.items()}) == len(adapting)
    assert (boosting["tiny"], boosting["tiny_epochs5"]) == ("", "OPTIM.MAX_EPOCH 5")
    assert adapting[Run("CasPL_PromptSRC", "tiny")] == ("tiny", "tiny", ())
    grid = adapting[Run("CasPL_PromptSRC", "tiny_boosting_depth1_adapting_depth2")]
    assert grid[1] == "tiny_depth1"
    assert grid[2] == ("TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", "2", "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION", "2")


def test_every_seed_has_a_phase_1_of_its_own() -> None:
    assert [(command.seed, command.environment["BOOST_SEED"]) for command in commands("trainable", SEEDS="3 5")] == [
        *[("3", "3"), ("3", "3"), ("5", "5"), ("5", "5")]
    ]


def test_the_scripts_words() -> None:
    unknown = dry_run("dept")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("error: unknown ablation dept; there are: depth")
    helped = dry_run("--help")
    assert helped.returncode == 0
    assert all(re.search(rf"^  {name} ", helped.stdout, re.MULTILINE) for name in SETTINGS)
    assert dry_run().returncode == 2


# Tables ------------------------------------------------------------------------------------------------------


def test_a_list_of_settings() -> None:
    records = [*made("trainable", "frozen", (60.0, 40.0), (90.0, 10.0)), *made("trainable", "trainable", (50.0, 50.0))]
    table = views.table("trainable", views.runs(records))
    assert table.columns == ["trainable", "base", "new", "HM", "seeds"]
    assert texts(table) == [
        ["frozen", "75.00 ± 21.21", "25.00 ± 21.21", "37.50 ± 21.21", "2"],
        ["trainable", "50.00", "50.00", "50.00", "1"],
    ]


def test_a_grid_has_boosting_in_rows() -> None:
    records = [*same("length", "2+4", 61.0), *same("length", "4+2", 62.0), *same("length", "8+4", 63.0, 65.0)]
    table = views.table("length", views.runs(records))
    assert table.columns == ["boosting", "2", "4", "8"]
    assert texts(table) == [["2", "-", "61.00", "-"], ["4", "62.00", "-", "-"], ["8", "-", "64.00 ± 1.41", "-"]]


def test_the_shipped_setting_is_one_run() -> None:
    shipped = SETTINGS["parts"]["both"]
    names = [(name, setting) for name, settings in SETTINGS.items() for setting in settings]
    sharing = {name: setting for name, setting in names if SETTINGS[name][setting] == shipped}
    assert sharing == {
        **{"depth": "6+6", "length": "8+4", "trainable": "frozen", "images": "all", "epochs": "20"},
        **{"temperature": "1", "domain": "inside", "parts": "both"},
    }


def test_runs_of_other_data_sets_and_of_two_numbers_of_shots() -> None:
    records = same("trainable", "frozen", 60.0)
    assert views.runs([*records, *pair(1.0, 1.0)]).keys() == {SETTINGS["trainable"]["frozen"]}
    other = pair(1.0, 1.0, dataset="TinySat", shots=4)
    with pytest.raises(CasPLError, match="runs of 4 and 16 shots"):
        views.runs([*records, *other])


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
    found = judge(claim("trainable", start="frozen"), views.runs(records))
    assert found.word == word
    if trainable:
        pairs = [a - b for a, b in zip(frozen, trainable, strict=False)]
        assert found.difference is not None
        assert found.difference.mean == pytest.approx(statistics.fmean(pairs))
        assert found.below == pytest.approx(statistics.fmean(trainable))


def test_seeds_are_compared_in_pairs() -> None:
    """Seeds that differ much from each other, but by the same in both settings, do agree."""
    records = [*same("trainable", "frozen", 50.0, 60.0, 70.0), *same("trainable", "trainable", 49.0, 58.9, 69.1)]
    found = judge(claim("trainable", start="frozen"), views.runs(records))
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
    found = judge(best, views.runs(records))
    assert (found.above, found.below, found.rival, found.word) == (64.5, 63.25, "2", "agree")
    row = texts(views.directions(["temperature"], views.runs(records)))[0]
    assert row == ["1 is the best temperature", "HM", "-", "63.25 (2) to 64.50", "+1.25 ± 0.35", "agree"]
    # The best of some is not the best.
    assert judge(best, views.runs(records[:-4])).word == "-"


def test_several_settings_stand_for_their_mean() -> None:
    records = [*same("parts", "neither", 50.0, 50.0), *same("parts", "teacher", 80.0, 80.0)]
    nearer = claim("parts", start="boosting alone")
    found = judge(nearer, views.runs([*records, *same("parts", "boosting", 70.0, 68.0)]))
    assert (found.below, found.word) == (65.0, "agree")
    assert judge(nearer, views.runs([*records, *same("parts", "boosting", 62.0, 61.0)])).word == "differ"


def test_a_claim_of_new_classes_looks_at_new_classes() -> None:
    records = [
        *made("epochs", "20", (50.0, 60.0), (50.0, 62.0)),
        *made("epochs", "40", (90.0, 58.0), (90.0, 60.5)),
    ]
    found = judge(claim("epochs", start="new classes"), views.runs(records))
    assert (found.above, found.below, found.word) == (61.0, 59.25, "agree")


# The paper ---------------------------------------------------------------------------------------------------


def test_claims_name_what_there_is() -> None:
    known = {(row["ablation"], row["setting"]) for row in rows("ablations")}
    for item in CLAIMS:
        assert {item.above, *item.below} <= SETTINGS[item.ablation].keys()
        assert {(item.ablation, name) for name in item.paper} <= known
    assert {item.ablation for item in CLAIMS} == set(SETTINGS)


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
