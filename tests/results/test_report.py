"""``python -m caspl.results report``: what the page holds, says and must not do."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from caspl.results import RunRecord, write_record
from caspl.results.__main__ import main, parser
from caspl.results.collect import find_records
from caspl.results.report.curves import places
from caspl.results.report.page import page
from caspl.results.report.runs import find_runs
from caspl.results.report.scatter import new_at
from tests.results.made import pair, record, write_all

EVIL = '</script><script>alert("x")</script><img src=x onerror=alert(1)>$\\frac{$'


class Parsed(HTMLParser):
    """All tags with their attributes, and the cells of each table, with its caption."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[tuple[str, list[list[str]]]] = []
        self._rows: list[list[str]] = []
        self._in: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "caption" in self._in:
            self.tables.append((data.strip(), self._rows))
        elif "td" in self._in or "th" in self._in:
            self._rows[-1][-1] += data.strip()

    def table(self, caption: str, column: str) -> list[list[str]]:
        """The one of this caption that has this column."""
        (found,) = (rows for title, rows in self.tables if title == caption and column in rows[0])
        return found

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def few(trainer: str, accuracy: float, shots: int, **more: Any) -> RunRecord:
    """A few-shot run."""
    learned = {} if trainer.startswith("Zeroshot") else {"trained_on": {"dataset": "EuroSAT"}}
    fields = {"trainer": trainer, "shots": shots, "classes": "all", "protocol": "few_shot"} | learned | more
    return record(accuracy, **fields)


def runs() -> list[RunRecord]:
    both = [
        one
        for seed in (1, 2)
        for name in ("EuroSAT", "DescribableTextures")
        for one in (
            *pair(60.0 + 2 * seed, 40.0, seed=seed, dataset=name),
            *pair(70.0 + 4 * seed, 50.0, seed=seed, dataset=name, trainer="CasPL_CoOp"),
        )
    ]
    shots = [few(name, 50.0 + shots, shots) for name in ("CoOp", "CasPL_CoOp") for shots in (1, 4, 16)]
    far = [record(55.0, classes="all", dataset=name, protocol="cross_dataset", trained_on={"dataset": "ImageNet"})
           for name in ("ImageNet", "EuroSAT", "ImageNetV2")]  # fmt: skip
    told = {"finished": "2024-05-06T07:08:09+00:00", "hardware": {"device": "cuda", "cpu": "a <CPU>", "cores": 3}}
    return [*both, *shots, *far, record(1.0, seed=7, trainer="Late", **told)]


def leave(folder: Path, name: str = "grass") -> Path:
    """What a run leaves beside its record."""
    write_record(folder, few("CoOp", 50.0, 16, seed=3))
    (folder / "history.csv").write_text("epoch,loss,acc,lr,seconds\n1,2.5,10,0.1,3\n2,1.25,20,0.1,3\n")
    quoted = '"' + name.replace('"', '""') + '"'
    (folder / "confusion.csv").write_text(f"class \\ answer,{quoted},sea\n{quoted},1,3\nsea,0,4\n")
    (folder / "classes.csv").write_text(
        f"class,images,right,accuracy,most often taken for,times\n{quoted},4,1,25.00,sea,3\nsea,4,4,100.00,,\n"
    )
    (folder / "command.txt").write_text("--trainer CoOp --seed 3 DATASET.NUM_SHOTS 16 # phase 1: tiny seed 1\n")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_all(tmp_path_factory.mktemp("all"), runs())
    leave(made / "own/seed3")
    return made


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return page(str(folder))


@pytest.fixture(scope="module")
def parsed(text: str) -> Parsed:
    return Parsed(text)


def test_the_tables_are_those_of_the_command_line(
    parsed: Parsed, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    average = parsed.table("average of 2 data sets", "base")
    assert average[2] == ["CasPL_CoOp", "76.00 ± 2.83", "50.00 ± 0.00", "60.32 ± 0.89", "2"]
    assert average[3] == ["CasPL_CoOp - CoOp", "+13.00 ± 1.41", "+10.00 ± 0.00", "+11.39 ± 0.46", "-"]
    assert main([str(folder), "--table", "base2new", "--difference"]) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert " ".join(average[2]).split() in printed
    assert " ".join(average[3]).split() in printed


def test_missing_figures_are_shown_as_missing(parsed: Parsed) -> None:
    shifts = parsed.table("trained on ImageNet, average of ImageNetV2, ImageNetSketch, ImageNetR", "ImageNetR")
    column = shifts[0].index("ImageNetSketch")
    assert {row[column] for row in shifts[1:]} == {"–missing"}


def test_the_papers_figures_stand_beside(parsed: Parsed) -> None:
    """Those of the average would be of other data sets."""
    assert "paper base" not in parsed.table("average of 2 data sets", "base")[0]
    rows = parsed.table("EuroSAT", "paper base")
    assert [row[5] for row in rows[1:]] == ["92.19", "94.80", "+2.61", "–missing"]
    assert rows[4][0] == "Late"


def test_ablations(tmp_path: Path) -> None:
    tiny = [one for config in ("tiny", "tiny_boosting_epochs5") for one in
            pair(70.0, 60.0, dataset="TinySat", trainer="CasPL_PromptSRC", config=config)]  # fmt: skip
    folder = write_all(tmp_path, tiny)
    made = page(str(folder))
    found = Parsed(made).table("epochs", "HM")
    assert [row[:4] for row in found[1:3]] == [["5", "70.00", "60.00", "64.62"], ["10", *["–missing"] * 3]]
    says = [str(one.get("aria-label")) for one in Parsed(made).all("div")]
    assert "Ablation epochs: from 60.00 to 70.00. All figures are in the table of the same name." in says
    assert f"<code>python -m caspl.results.ablations {folder} epochs --table " in made


def test_every_table_and_picture_has_its_command(text: str, parsed: Parsed, folder: Path) -> None:
    lines = re.findall(r'<p class="command"><code>(.*?)</code></p>', text)
    tables = [line for line in lines if line.startswith("python -m caspl.results ") and "--table" in line]
    for table in ("base2new", "few_shot", "cross_dataset", "domain_generalization"):
        assert any(f"--table {table} " in line for line in tables)
    for line in dict.fromkeys(tables):
        parser().parse_args(line.split()[3:])
    assert f"python -m caspl.results {folder} --table base2new --dataset EuroSAT --paper --difference" in lines
    assert ("python train.py --output-dir OUTPUT/own/seed3 --trainer CoOp --seed 3 DATASET.NUM_SHOTS 16 "
            "# phase 1: tiny seed 1") in lines  # fmt: skip
    assert f"python -m caspl.results confusion {folder}/own/seed3/confusion.csv -o confusion.svg" in lines
    assert any("--trainer Late --seed 7 --config-file configs/trainers/Late/vit_b16.yaml" in line for line in lines)
    assert len(lines) > len(parsed.tables)


def test_the_head_says_when_where_and_how_many(text: str, folder: Path) -> None:
    head = text[: text.index("</header>")]
    assert "2024-05-06T07:08:09+00:00" in head
    assert "cuda, a &lt;CPU&gt;, 3 cores (1)" in head
    assert f"<dd>{len(find_records(folder))}</dd>" in head
    assert "<dd>1, 2, 3, 7</dd>" in head


def test_heads_sort_and_can_be_reached(parsed: Parsed, text: str) -> None:
    sortable = [one for one in parsed.all("th") if one.get("scope") == "col"]
    assert len(sortable) > 20
    assert all(one.get("aria-sort") == "none" for one in sortable)
    assert len(re.findall(r'<th scope="col"[^>]*><button type="button">', text)) == len(sortable)
    assert 'data-value="62.' in text
    body = next(body for body in re.findall(r"<tbody>.*?</tbody>", text, re.S) if "CasPL_CoOp - CoOp" in body)
    assert body.count("<tr") == 2  # a gain goes with its method
    anchors = {one["id"] for _, one in parsed.tags if one.get("id")}
    assert {str(one["href"])[1:] for one in parsed.all("a")} <= anchors


def test_pictures_have_words_and_ids_of_their_own(parsed: Parsed) -> None:
    pictures = [one for one in parsed.all("div") if one.get("role") == "img"]
    says = [str(one["aria-label"]) for one in pictures]
    confused = "Confusion matrix of 2 classes. Most frequent errors: grass taken for sea, 3"
    kinds = ("Accuracy on base and new", "Accuracy by images", "Gain in HM", "Gain in 16 shots", "Training curves")
    for start in (*kinds, confused):
        assert any(one.startswith(start) for one in says), start
    assert "CasPL_CoOp - CoOp: DescribableTextures +11.39 ± 0.46; EuroSAT +11.39 ± 0.46; average" in "".join(says)
    found = [str(one["id"]) for _, one in parsed.tags if one.get("id")]
    assert len(found) == len(set(found))


def test_the_page_asks_for_nothing(parsed: Parsed, text: str) -> None:
    for _, attributes in parsed.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "action", "srcset", "data"):
                assert str(value).startswith(("#", "data:image/png;base64,")), (name, value)
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_names_are_no_code(tmp_path: Path) -> None:
    """Neither HTML nor a formula, whatever a record or a class is called."""
    for number, trainer in enumerate(("CoOp", f"CasPL_{EVIL}", EVIL)):
        both = pair(60.0, 50.0, trainer=trainer, dataset=EVIL, config=EVIL)
        write_all(tmp_path / str(number), [*both, few(trainer, 40.0, 4, dataset=EVIL)])
    leave(tmp_path / "run", EVIL)
    told = {"hardware": {"device": EVIL}, "versions": {"x": EVIL}, "commit": EVIL, "finished": EVIL}
    numbers = {"metrics": {"accuracy": 1.0, EVIL: 2.0}, "seconds": {EVIL: 1.0}}
    write_record(tmp_path / "more", few(EVIL, 50.0, 16, **told, **numbers))
    (tmp_path / "run/command.txt").write_text(EVIL)
    made = page(str(tmp_path))
    parsed = Parsed(made)
    assert len(parsed.all("script")) == 1
    assert not parsed.all("img")
    assert not [one for _, one in parsed.tags if any(name.startswith("on") for name in one)]
    assert "<script>alert" not in made
    assert "alert(&#34;x&#34;)" in made


def test_the_same_records_make_the_same_page(text: str, folder: Path) -> None:
    """Also in another process, where names hash otherwise."""
    code = "import sys; from caspl.results.report.page import page; "
    code += f"sys.stdout.buffer.write(page({str(folder)!r}).encode())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode() == text


def test_what_is_not_there_is_not_drawn(tmp_path: Path) -> None:
    made = page(str(write_all(tmp_path, [record(60.0, trained_on={"dataset": "EuroSAT"})])))
    absent = "Few-shot learning, To other data sets, To other domains, Settings chosen on validation images, Ablations"
    assert f"No runs of: {absent}." in made
    assert 'role="img"' not in made
    assert "<svg" not in made


def test_damaged_files_beside_a_record_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = leave(tmp_path / "run")
    for name, content in {"history.csv": "epoch,loss\n1,2,3\n", "classes.csv": "a\0b", "confusion.csv": "x"}.items():
        (run / name).write_text(content)
    (found,) = find_runs(tmp_path)
    assert (found.history, found.classes, found.confusion) == ([], [], None)
    assert "history.csv is damaged" in caplog.text
    assert "confusion.csv" in caplog.text
    assert "CoOp" in page(str(tmp_path))


def test_tests_of_a_checkpoint_have_files_of_their_own(tmp_path: Path) -> None:
    run = leave(tmp_path)
    write_record(run, few("CoOp", 10.0, 16), "evaluations/EuroSAT-new.json")
    (run / "confusion.csv").rename(run / "evaluations/EuroSAT-new-confusion.csv")
    own, test = sorted(find_runs(run), key=lambda one: one.record.seed, reverse=True)
    assert own.confusion is None
    assert test.confusion is not None
    assert (own.kept, test.kept, test.history) == (True, False, [])
    assert [one.record for one in find_runs(run)] == find_records(run)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["empty"], "no run records"),
        (["runs", "-o", "empty"], "cannot write empty: it is a folder"),
        (["runs", "-o", "runs/file/page.html"], "cannot write runs/file/page.html"),
    ],
)
def test_wrong_input_is_one_sentence(
    options: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write_record("runs", record(60.0))
    Path("runs/file").write_text("")
    assert main(["report", *options]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")
    assert not list(tmp_path.glob("*.html"))


def test_writes_the_page_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_record("report", record(60.0))  # a folder of the word's name
    assert main(["report", "./report"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "report.html"]
    assert Path("report.html").read_text(encoding="utf-8") == page("./report")
    assert main(["./report"]) == 0


@pytest.mark.parametrize("lacks", ["jinja2", "matplotlib"])
def test_without_the_extra_it_says_so(
    lacks: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, lacks, None)
    assert main(["report", str(folder)]) == 2
    printed = capsys.readouterr().err
    assert f"a report needs {lacks}: pip install '.[report]'" in printed
    assert printed.count("\n") == 1


def test_lines_of_equal_hm_and_places_of_shots() -> None:
    assert new_at(60.0, 75.0) == pytest.approx(50.0)
    assert new_at(60.0, 30.0) == float("inf")
    assert places(["method", "1 shot", "4 shots", "all images", "paper 1 shot", "paper 16 shots"]) == {
        "1 shot": 0.0, "4 shots": 2.0, "all images": 3.0
    }  # fmt: skip
