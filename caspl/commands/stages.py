"""The runs of ``caspl fit``: how many epochs and which settings, and how far each is while it runs."""

from __future__ import annotations

import math
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from caspl.commands.progress import Progress, Talk
from caspl.errors import CasPLError, hint
from caspl.files.parse import parse_yaml
from caspl.pixels import Pixels
from caspl.protocols import read_protocol
from caspl.protocols.files import config_file
from caspl.protocols.protocol import PREFIX

PROGRESS = re.compile(r"epoch \[(\d+)/(\d+)\] batch \[(\d+)/(\d+)\](?:.* eta (.+))?")
WARNING = re.compile(r"^(?:[-\d]+ [:\d]+ warning|.*\w+Warning): (.*)")
"""As ``train.py`` says it, with the time in front, and as Python does."""
OTHERS = "holds a run of other arguments"
COMMAND = "command.txt"
EPOCHS = 20  # as published
LEAST_STEPS = 500
"""Of a phase: so many are taken of few pictures, by more epochs."""
MOST_EPOCHS = 200
SLOW = 4000
"""Pictures, each as often as it is seen, that a phase without a GPU takes of a model that is not tiny."""


@dataclass(frozen=True)
class Checkout:
    """A working copy of the repository, which has the trainers.

    Args:
        root: its folder.
    """

    root: Path

    @classmethod
    def here(cls, command: str = "caspl fit starts train.py") -> Checkout:
        """The one that the command is called in.

        Args:
            command: what needs it, for the sentence.

        Raises:
            CasPLError: the current folder is none.
        """
        root = Path.cwd()
        if not is_checkout(root):
            raise CasPLError(f"{command}, and {root} is no checkout of CasPL: call it in one")
        return cls(root)

    def config(self, method: str, tiny: bool) -> Path:
        """The settings of a method: the tiny benchmark's, or those of the paper's first protocol.

        Args:
            method: of an adapting method; CasPL is phase 1.

        Raises:
            CasPLError: there is no such method.
        """
        folders = [self.root / "configs/trainers" / name for name in (PREFIX + method, method)]
        if not folders[1].is_dir():
            raise CasPLError(f"there is no method {method!r}: {hint(method, self.methods())}")
        if tiny:
            return folders[1] / "tiny.yaml"
        protocol, configs = read_protocol("base2new"), self.root / "configs"
        if method == "CasPL":
            return config_file(configs, method, protocol.boosting_config(method, ""))
        try:
            found = protocol.config(PREFIX + method, "", 16)  # the rules that are of no data set
        except CasPLError:  # a method of the user's
            return next(path for folder in folders for path in sorted(folder.glob("vit*.yaml")))
        return config_file(configs, PREFIX + method, found.config)

    def methods(self) -> list[str]:
        """Those that learn from labels and may stand behind boosting tokens."""
        names = sorted(path.name for path in (self.root / "configs/trainers").iterdir() if path.is_dir())
        others = ("CasPL", "Zeroshot", "LinearProbe", "TipAdapter", "KDPL", "FDBPL", "PromptKD")
        return [name for name in names if not name.startswith(others)]


def is_checkout(root: Path) -> bool:
    """Whether a folder is a working copy."""
    return all((root / name).is_file() for name in ("train.py", "scripts/run_once.py"))


def section_of(config: Path) -> str:
    """The method's section in its settings, such as ``PROMPTSRC``."""
    content = parse_yaml(config.read_text(encoding="utf-8"))
    sections = [name for name in content["TRAINER"] if name != "CASPL"]
    return sections[0] if sections else "CASPL"


def length(pictures: int, limited: bool) -> tuple[int, int]:
    """Batch size and epochs that fit a number of pictures.

    As published: 20 epochs, in batches of 4 or, of ten thousand pictures and more, 128. Few pictures are seen more
    often, so that there are some hundred steps; without a GPU (``limited``) they are seen less often.
    """
    batch = 4 if pictures < 10_000 else 128
    steps = max(1, pictures // batch)
    epochs = min(MOST_EPOCHS, max(EPOCHS, math.ceil(LEAST_STEPS / steps)))
    if limited:
        epochs = max(1, min(epochs, SLOW // max(1, pictures)))
    return batch, epochs


def pairs_of(pixels: Pixels) -> list[str]:
    """The preprocessing of a student as settings."""
    return [
        *("INPUT.SIZE", f"({pixels.size}, {pixels.size})", "INPUT.INTERPOLATION", pixels.interpolation),
        *("INPUT.PIXEL_MEAN", str(list(pixels.mean)), "INPUT.PIXEL_STD", str(list(pixels.std))),
    ]


class OtherArguments(CasPLError):
    """The folder holds another run; says which settings differ."""


@dataclass(frozen=True)
class Stage:
    """A run of ``train.py`` that is a part of the whole.

    Args:
        title: what it is called while it runs.
        folder: of the run.
        arguments: for ``train.py``, without its folder: names and values by turns.
        makes: the files that it leaves elsewhere, a folder and a pattern.
        about: what it does, for whoever waits.
    """

    title: str
    folder: Path
    arguments: tuple[str, ...]
    makes: tuple[Path, str] | None = None
    about: str = ""

    def run(self, checkout: Checkout, talk: Talk, names: Mapping[str, str]) -> None:
        """Run it, unless that is done; what was broken off goes on.

        Args:
            checkout: whose ``train.py``.
            talk: where it is shown.
            names: settings of ``train.py`` -> what they are called where one differs.

        Raises:
            OtherArguments: the folder holds another run.
            CasPLError: as ``train.py`` puts it.
            KeyboardInterrupt: after the run has ended in good order.
        """
        words = ["train.py", "--output-dir", str(self.folder), *self.arguments]
        makes = ["--makes", str(self.makes[0]), self.makes[1]] if self.makes else []
        call = ["scripts/run_once.py", str(self.folder), f"--identity={shlex.join(words)}", *makes, "--", *words]
        # A session of its own, so that Ctrl-C reaches it once: through us.
        with subprocess.Popen(
            [sys.executable, *call],
            cwd=checkout.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as process:
            try:
                last = self._follow(process, talk)
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
                process.communicate()
                raise
        if process.returncode:
            leave_no_trace(self.folder, COMMAND)
            said = next((line for line in reversed(last) if line.startswith("error: ")), (last or ["nothing"])[-1])
            if OTHERS in said:
                raise OtherArguments(self._differing(names))
            raise CasPLError(f"{self.title}: {said.removeprefix('error: ')}")

    def _follow(self, process: subprocess.Popen[str], talk: Talk) -> list[str]:
        """Show how far it is until it has ended; returns the last lines that it says."""
        last: list[str] = []
        end = ""
        progress = Progress(self.title, talk)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last = [*last[-20:], line.rstrip()]
                if found := PROGRESS.search(line):
                    epoch, epochs, batch, batches = map(int, found.groups()[:4])
                    progress.at(epoch, epochs, batch, batches, (found[5] or "").strip())
                elif warned := WARNING.match(line):
                    talk.once("warning", warned[1])
            if not process.wait():
                end = "done before" if last and last[-1].startswith("done before: ") else "done"
        finally:
            progress.close(end)
        return last

    def _differing(self, names: Mapping[str, str]) -> str:
        """Which settings the run in the folder has otherwise."""
        line = shlex.split((self.folder / COMMAND).read_text(encoding="utf-8", errors="surrogateescape"))
        there, here = (dict(zip(words[0::2], words[1::2], strict=False)) for words in (line[3:], self.arguments))
        keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        # Settings that follow from others are of interest only where nothing else differs.
        keys = [key for key in keys if key in names] or keys
        values = [[of.get(key, "not set").removeprefix(PREFIX) for of in (there, here)] for key in keys[:3]]
        return "; ".join(
            f"{names.get(key, key)} {kept} there, {given} here"
            for key, (kept, given) in zip(keys, values, strict=False)
        )


def leave_no_trace(folder: Path, name: str) -> None:
    """Delete a folder in which a command that was refused has left a file of that name alone."""
    if folder.is_dir() and [path.name for path in folder.iterdir()] == [name]:
        (folder / name).unlink()
        folder.rmdir()
