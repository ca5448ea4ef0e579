"""The log file, the console, and meters."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dassl.utils import AverageMeter, Logger, MetricMeter, setup_logger
from dassl.utils.logger import close_logger, logger

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


def test_plain_before_setup(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logger(None)
    logger.info("engine")
    print("trainer")
    assert capsys.readouterr().out == "engine\ntrainer\n"


def test_tee(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logger(str(tmp_path / "run"))
    print("trainer")
    logger.info("engine")
    logger.info("two\nlines")
    logger.warning("look out")
    logger.debug("too much detail")
    sys.stdout.write("no end of line")
    print("to stderr", file=sys.stderr)
    # On disk at once.
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log == "trainer\nengine\ntwo\nlines\nlook out\nno end of line"
    captured = capsys.readouterr()
    assert re.fullmatch(
        rf"trainer\n{STAMP}engine\n{STAMP}two\nlines\n{STAMP}warning: look out\nno end of line", captured.out
    )
    assert captured.err == "to stderr\n"
    close_logger()
    logger.info("plain again")
    assert capsys.readouterr().out == "plain again\n"


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for output, expected in (("r.txt", "r.txt"), ("a/b.log", "a/b.log"), ("c", "c/log.txt")):
        setup_logger(output)
        print(output)
        assert Path(expected).read_text() == f"{output}\n"


def test_existing_file_is_kept(tmp_path: Path) -> None:
    for text in ("first", "second", "third"):
        setup_logger(str(tmp_path))
        print(text)
        close_logger()
    names = sorted(os.listdir(tmp_path))
    assert names[0] == "log.txt"
    # The third, within the same second, does not overwrite the second.
    assert len(names) == 3
    assert re.fullmatch(r"log\.txt-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d", names[1])
    assert sorted((tmp_path / name).read_text() for name in names) == ["first\n", "second\n", "third\n"]


def test_a_resumed_run_goes_on_in_its_file(tmp_path: Path) -> None:
    for text in ("first", "second"):
        setup_logger(str(tmp_path), append=True)
        print(text)
        close_logger()
    assert os.listdir(tmp_path) == ["log.txt"]
    assert (tmp_path / "log.txt").read_text() == "first\nsecond\n"


def test_second_setup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = sys.stdout
    setup_logger(str(tmp_path / "a"))
    setup_logger(str(tmp_path / "a"))
    print("one")
    setup_logger(str(tmp_path / "b"))
    print("two")
    logger.info("three")
    close_logger()
    close_logger()
    assert sys.stdout is console
    assert os.listdir(tmp_path / "a") == ["log.txt"]
    assert (tmp_path / "a" / "log.txt").read_text() == "one\n"
    assert (tmp_path / "b" / "log.txt").read_text() == "two\nthree\n"
    assert re.fullmatch(rf"one\ntwo\n{STAMP}three\n", capsys.readouterr().out)


def test_swapped_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test runners and notebooks replace sys.stdout under the tee."""
    old, new = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", old)
    setup_logger(str(tmp_path))
    print("one")
    old.close()
    print("two")
    logger.info("three")
    monkeypatch.setattr(sys, "stdout", new)
    logger.info("four")
    setup_logger(str(tmp_path))
    print("five")
    close_logger()
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\nthree\nfour\nfive\n"
    assert re.fullmatch(rf"{STAMP}four\nfive\n", new.getvalue())


def test_stream_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", console)
    with Logger(str(tmp_path / "log.txt")) as tee:
        assert tee.isatty() is False
        assert (tee.encoding, tee.buffer, tee.writable()) == ("latin-1", console.buffer, True)
        assert tee.write("abc") == 3
        tee.writelines(["d", "e\n"])
        tee.flush()
        with pytest.raises(AttributeError):
            tee.nonsense  # noqa: B018
    assert not console.closed
    assert console.buffer.getvalue() == b"abcde\n"
    assert (tmp_path / "log.txt").read_text() == "abcde\n"
    tee.write("console only\n")
    assert (tmp_path / "log.txt").read_text() == "abcde\n"
    assert Logger().path is None


def test_other_loggers_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = logging.getLogger("engine_test_other")
    setup_logger(str(tmp_path), names=["engine_test_other"])
    other.info("from %s", "outside")
    assert (tmp_path / "log.txt").read_text() == "from outside\n"
    assert re.fullmatch(rf"{STAMP}from outside\n", capsys.readouterr().out)


SCRIPT = """
import logging, sys, warnings
from dassl.utils import setup_logger
from tqdm import tqdm
root = logging.getLogger()
setup_logger(sys.argv[1]); setup_logger(sys.argv[1])
print("hello", sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.fileno())
logging.getLogger("dassl").info("engine line")
for _ in tqdm(range(3)):
    pass
assert root.handlers == [] and logging.root.manager.disable == 0
warnings.warn("careful")
sys.stdout.write("no newline at the end")
"""


def test_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", SCRIPT, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log = "hello False utf-8 1\nengine line\nno newline at the end"
    assert (tmp_path / "log.txt").read_text() == log
    assert os.listdir(tmp_path) == ["log.txt"]
    assert re.fullmatch(log.replace("engine", f"{STAMP}engine"), done.stdout)
    assert "3/3" in done.stderr
    assert "careful" in done.stderr
    assert "ResourceWarning" not in done.stderr


def test_bars_stay_away_from_pipes(make_trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer().test()
    assert capsys.readouterr().err == ""


def test_bars_on_terminals(make_trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    make_trainer().test()
    assert "1/1" in terminal.getvalue()


def test_average_meter() -> None:
    meter = AverageMeter()
    meter.update(1.0)
    meter.update(torch.tensor(4.0), n=2)
    assert (meter.val, meter.avg, meter.sum, meter.count) == (4.0, 3.0, 9.0, 3)
    assert type(meter.val) is float
    smooth = AverageMeter(ema=True)
    smooth.update(10.0)
    smooth.update(20.0)
    assert smooth.avg == pytest.approx(0.9 * 1.0 + 2.0)
    smooth.reset()
    assert (smooth.avg, smooth.count) == (0, 0)


def test_metric_meter() -> None:
    meter = MetricMeter()
    assert str(meter) == ""
    meter.update({"loss": 1.5, "acc": torch.tensor(50.0)})
    meter.update(None)
    meter.update({"loss": 0.5, "acc": 100})
    assert str(meter) == "loss 0.5000 (1.0000) acc 100.0000 (75.0000)"
    assert meter.meters["loss"].avg == 1.0
    other = MetricMeter(delimiter=", ")
    other.update({"a": 1, "b": 2})
    assert str(other) == "a 1.0000 (1.0000), b 2.0000 (2.0000)"
    with pytest.raises(TypeError, match=r"Input to MetricMeter.update\(\) must be a dictionary"):
        meter.update([1.0])  # type: ignore[arg-type]
