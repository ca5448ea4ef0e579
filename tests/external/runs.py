"""Runs inside a copied checkout, and what became of them."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 600
BOOST = ["TRAINER.CASPL.N_CTX_TEXT", "4", "TRAINER.CASPL.N_CTX_VISION", "4"]


@dataclass
class Checkout:
    """A code base, copied."""

    name: str
    commit: str
    folder: Path
    trainers: dict[str, Path] = field(default_factory=dict)  # name -> its file

    def section(self, trainer: str) -> str:
        """Of its config, as its file reads it; none for zero-shot."""
        found = re.search(r"cfg\.TRAINER\.(\w+)\.PREC", self.trainers[trainer].read_text())
        return found.group(1) if found else ""

    def config(self, trainer: str) -> Path:
        """A published file of the trainer, for ViT-B/16 if there is one; zero-shot takes CoOp's."""
        for name in (trainer, "CoOp"):
            files = sorted((self.folder / "configs/trainers" / name).glob("vit_b*.yaml"))
            if files:
                return files[0].relative_to(self.folder)
        raise FileNotFoundError(f"no config of {trainer} in {self.folder}")


@dataclass
class Setting:
    """Where and with what everything runs."""

    work: Path
    python: str
    path: list[str]
    opts: list[str]
    published: bool = False  # in half precision, as the published configs have it; else in full precision

    def run(self, checkout: Checkout, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """``python train.py`` inside a checkout."""
        options = [] if self.published else ["--full-precision"]
        start = [self.python, str(ROOT / "tests/external/cpu.py"), str(checkout.folder), str(self.work / "weights")]
        command = [*start, *options, "--", "train.py", *arguments]
        return self._call(command, self.work / "weights", self.path)

    def parity(self, checkout: Checkout, names: list[str]) -> subprocess.CompletedProcess[str]:
        """The cases inside a checkout."""
        folders = [str(checkout.folder), str(self.work / "recipe"), str(self.work / "cases")]
        command = [self.python, "-m", "tests.external.parity", *folders, *names]
        return self._call(command, self.work / "recipe", [*self.path, str(ROOT)])

    def _call(self, command: list[str], weights: Path, path: list[str]) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"CASPL_WEIGHTS": str(weights / "cut"), "PYTHONPATH": os.pathsep.join(path)}
        if not path:
            environment.pop("PYTHONPATH")
        try:
            return subprocess.run(
                command, cwd=self.work, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"not done after {SECONDS} s")


def verdict(done: subprocess.CompletedProcess[str]) -> str:
    """Accuracy of a run that ended well, if it printed one as Dassl does; else its last words."""
    accuracy = re.findall(r"\* accuracy: ([\d.]+)%", done.stdout)
    if done.returncode == 0:
        return f"yes ({accuracy[-1]} %)" if accuracy else "yes"
    words = [line for line in done.stderr.splitlines() if line.strip() and not re.search(r"\d+%\|", line)]
    ours = [line for line in words if line.startswith("error: ")]
    return "no: " + (ours or words or [f"exit code {done.returncode}"])[-1].strip()[:300]
