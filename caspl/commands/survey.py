"""What a look at the pictures finds before ``caspl fit`` trains on them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caspl.commands.progress import reword
from caspl.commands.stages import Checkout
from caspl.errors import CasPLError

MOST = 8
"""Classes that are named."""
ANEW = "delete it and fit into another -o, because images that a former fit saw may become test images"


@dataclass(frozen=True)
class Survey:
    """What was found.

    Args:
        root: the folder.
        classes: their names.
        lists: how many pictures are in ``train``, ``val``, ``test`` and ``unlabelled``; without those that are empty.
        warnings: what spoils results, such as one picture in training and test, a sentence each.
        notes: what one should know, likewise.
        reworded: sentences of the data sets -> what is said in their place, for those who know no phases.
    """

    root: Path
    classes: tuple[str, ...]
    lists: Mapping[str, int]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    reworded: Mapping[str, str]

    @classmethod
    def of(cls, checkout: Checkout, root: Path, pairs: Sequence[str], shots: int) -> Survey:
        """Let the checkout, which knows what a folder may hold, look at one: every picture is decoded.

        Args:
            checkout: whose.
            root: the folder.
            pairs: settings, as of ``train.py``.
            shots: labelled pictures a class; -1 for all.

        Raises:
            CasPLError: training would be refused, or a picture is broken.
        """
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "found.json"
            script = str(checkout.root / "scripts/check_folder.py")
            call = [sys.executable, script, str(root), "--json", str(file), "--shots", str(shots), *pairs]
            # A session of its own, so that Ctrl-C ends it without a word; its bar is for whoever looks.
            shown = None if sys.stderr.isatty() else subprocess.PIPE
            done = subprocess.run(
                call, check=False, stdout=subprocess.DEVNULL, stderr=shown, text=True, start_new_session=True
            )
            if not file.is_file():
                raise RuntimeError(f"{script} ended with {done.returncode}: {done.stderr or ''}")
            found = json.loads(file.read_text(encoding="utf-8"))
        reworded = {found["anew"]: ANEW}
        if "error" in found:
            raise CasPLError(reword(found["error"], reworded))
        if found["broken"]:
            first, *others = found["broken"]
            more = f"; {len(found['broken']):,} pictures are broken" if others else ""
            raise CasPLError(f"{first}{more}: replace or delete what `caspl data check {root}` names")
        warnings, notes = (tuple(reword(one, reworded) for one in found[kind]) for kind in ("faults", "notes"))
        return cls(root, tuple(found["classes"]), found["lists"], warnings, notes, reworded)

    def lines(self) -> list[str]:
        """What it says, without the notes."""
        names = ", ".join(self.classes[:MOST]) + (", ..." if len(self.classes) > MOST else "")
        uses = {"train": "for training", "val": "for validation", "test": "held out for the test"}
        sizes = [f"{count:,} {uses.get(name, name)}" for name, count in self.lists.items()]
        return [f"{self.root}: {len(self.classes)} classes ({names})", f"pictures: {', '.join(sizes)}, all can be read"]
