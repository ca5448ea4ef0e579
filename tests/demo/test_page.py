"""The page of ``caspl demo`` in a real browser, where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caspl.demo.server import Server
from tests.chromium import PROGRAM, Chromium
from tests.conftest import CLASSES

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
ANSWERED = "document.querySelectorAll('#rows tr').length && !get('answers').hasAttribute('aria-busy')"


@pytest.fixture
def browser(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser with the page in it, which has answered the first example."""
    with Chromium(tmp_path_factory.mktemp("profile")) as made:
        made.look(1200, 800)
        made.open(server.url)
        made.wait(ANSWERED)
        yield made
        assert made.said == []  # no error, and nothing that its policy has stopped


def rows(browser: Chromium) -> list[list[str]]:
    found: list[list[str]] = browser.run(
        "[...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def test_a_picture_and_other_names(browser: Chromium, server: Server, tmp_path: Path) -> None:
    heads = browser.run("[...document.querySelectorAll('#head th')].map(cell => cell.textContent)")
    assert heads == ["Class", "Student", "Boosted", "Cascade", "Teacher"]
    assert {name for name, *_ in rows(browser)} <= set(CLASSES)
    browser.run("get('all').click()")
    assert len(rows(browser)) == len(CLASSES)
    browser.run("get('classes').value = 'forest\\n\\nriver'; get('classes').dispatchEvent(new Event('input')), 1")
    browser.wait(f"document.querySelectorAll('#rows tr').length === 2 && {ANSWERED}")
    assert {name for name, *_ in rows(browser)} == {"forest", "river"}
    pixels = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mine.tiff")  # which no browser shows
    browser.upload("#file", tmp_path / "mine.tiff")
    browser.wait("get('status').textContent.startsWith('mine.tiff, 500 × 300')")
    browser.wait("get('shown').naturalWidth === 500")
    cascade = server.shown.columns[2].probabilities(Image.fromarray(pixels), ["forest", "river"])
    shown = {name: cells[2] for name, *cells in rows(browser)}
    assert shown == {name: f"{100 * p:.1f}\u00a0%" for name, p in zip(("forest", "river"), cascade, strict=True)}
    browser.run("get('reset').click()")
    browser.wait(f"document.querySelectorAll('#rows tr').length === {len(CLASSES)}")


def test_what_is_wrong_is_said(browser: Chromium, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    browser.upload("#file", tmp_path / "notes.png")
    browser.wait("get('status').textContent.includes('it is of no kind that is known')")
    assert browser.run("get('status').classList.contains('bad')")
    with (tmp_path / "large.png").open("wb") as file:
        os.truncate(file.fileno(), 30 * 2**20)
    browser.upload("#file", tmp_path / "large.png")
    browser.wait("get('status').textContent === 'large.png is larger than 24 MB.'")
    browser.said = [line for line in browser.said if "422" not in line]  # a failed answer, which browsers note


def test_by_keyboard_alone(browser: Chromium) -> None:
    """Tab goes through all that can be done, in order, and Enter chooses an example."""
    seen = []
    for _ in range(14):
        browser.press("Tab", 9)
        seen.append(browser.run("document.activeElement.id || document.activeElement.title"))
        if seen[-1] == "white dots" or len(seen) == 3:
            browser.press("Enter", 13)
            # While an answer is on its way there may be no rows, and then no button below them.
            browser.wait(f"get('status').textContent.startsWith({seen[-1]!r}) && {ANSWERED}")
    assert seen[0] == "file"
    assert seen[11:] == ["classes", "reset", "all"]
    browser.wait(f"get('status').textContent.startsWith({seen[2]!r})")
    assert browser.run("document.querySelector('[aria-pressed=true]').title") == seen[2]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 375, 1200])
def test_it_fits_and_can_be_read(browser: Chromium, width: int, dark: bool) -> None:
    """No scrolling sideways; words stand out from what is behind them by 4.5 : 1 (WCAG 2.2, 1.4.3); all is labelled."""
    browser.look(width, 800, dark)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    contrast = """(() => {
      const lit = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
      const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(v => lit(v / 255));
        return .2126 * r + .7152 * g + .0722 * b };
      const behind = node => { for (; node; node = node.parentElement) {
        const colour = getComputedStyle(node).backgroundColor;
        if (!/, 0\\)$/.test(colour)) return colour } return "rgb(255, 255, 255)" };
      const words = node => node.offsetParent && !node.closest(".unseen")
        && [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
      return Math.min(...[...document.querySelectorAll("body *")].filter(words).map(node => {
        const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
        return (a + .05) / (b + .05) })) })()"""
    assert browser.run(contrast) >= 4.5
    assert browser.run("[...document.querySelectorAll('input, textarea')].every(node => node.labels.length)")
    assert browser.run("[...document.querySelectorAll('.examples img, #shown')].every(image => image.alt)")
