"""The pictures of the documents are what their scripts make, and show what is measured."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

IMAGES = Path(__file__).parents[2] / "docs/images"
README = IMAGES.parents[1] / "README.md"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"images_{name}", IMAGES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cascade", "tinysat"])
def test_the_picture_is_what_its_script_makes(name: str) -> None:
    drawn = script(name).draw()
    assert (IMAGES / f"{name}.svg").read_text(encoding="utf-8") == drawn, f"run python docs/images/{name}.py"
    ElementTree.fromstring(drawn)


@pytest.mark.parametrize("name", ["cascade", "tinysat"])
def test_the_readme_shows_it_in_words_too(name: str) -> None:
    (alt,) = re.findall(rf"!\[([^\]]+)\]\(docs/images/{name}\.svg\)", README.read_text(encoding="utf-8"))
    assert len(alt) > 40


def test_the_cascade_has_its_parts_in_order() -> None:
    texts = [one.text for one in ElementTree.fromstring(script("cascade").draw()).iter() if one.tag.endswith("}text")]
    first, second = texts[: texts.index("Phase 2: adapting")], texts[texts.index("Phase 2: adapting") :]
    assert first.index("SOS") < first.index("boosting") < first.index("class words, EOS")
    assert "adapting" not in first
    assert "teacher" in first
    rows = [one for one in second if one in ("SOS", "CLS", "adapting", "boosting", "patches", "class words, EOS")]
    assert rows == ["SOS", "adapting", "boosting", "class words, EOS", "CLS", "patches", "boosting", "adapting"]


def test_figures_are_those_of_the_table() -> None:
    tinysat = script("tinysat")
    found = tinysat.figures(tinysat.TABLE.read_text(encoding="utf-8"))
    row = re.search(r"^\| CasPL_VPT \| tiny \| (.*?) \| (.*?) \| (.*?) \|", tinysat.TABLE.read_text("utf-8"), re.M)
    assert row is not None
    shown = {name: f"{value:.2f} ± {spread:.2f}" for name, (value, spread) in found["CasPL_VPT"].items()}
    assert list(shown.values()) == list(row.groups())
    changed = tinysat.TABLE.read_text(encoding="utf-8").replace(row[0], row[0].replace(row[1], "1.00 ± 2.00"))
    assert tinysat.figures(changed)["CasPL_VPT"]["base"] == (1.0, 2.0)
    assert len(found) == 2 * sum(name.startswith("CasPL_") for name in found)
