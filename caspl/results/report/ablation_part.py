"""The part of a table of ablations."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from caspl.errors import CasPLError
from caspl.protocols.ablations import read_ablations
from caspl.results import base_new
from caspl.results.ablations import views
from caspl.results.ablations.__main__ import DIRECTIONS, tables_of
from caspl.results.paper_figures import dataset_key
from caspl.results.record import RunRecord
from caspl.results.report import settings
from caspl.results.report.parts import Pictures, Section, Shown, command, seeds_of, trimmed
from caspl.results.report.plot import INK, style

logger = logging.getLogger(__name__)


def ablation_part(records: Sequence[RunRecord], folder: str, name: str) -> Section | None:
    """The part of one table of ablations; None where it has no runs."""
    try:
        found = tables_of(read_ablations(name), records)
    except CasPLError as error:  # of several numbers of shots: no table mixes them
        logger.warning("left out: %s: %s", name, error)
        return None
    if not found:
        return None

    def line(ablation: str) -> str:
        return command(folder, ablation, "--table", name, module="caspl.results.ablations")

    shown = {ablation: Shown(trimmed(table), line(ablation)) for ablation, table in found.items()}
    directions = shown.pop(DIRECTIONS)
    with style(INK):
        drawn = [settings.draw(one, part.table, f"{name}-{one}") for one, part in shown.items()]
    text = "Bars: sample standard deviation over seeds."
    whole = command(folder, "--table", name, module="caspl.results.ablations")
    pictures = Pictures("Accuracy by setting", text, whole, [one for one in drawn if one is not None])
    datasets = {dataset_key(one) for ablation in read_ablations(name).tables.values() for one in ablation.datasets}
    seeds = seeds_of(one for one in records if dataset_key(one.dataset) in datasets and one.classes != "all")
    made = [pictures] if pictures.drawings else []
    which = name.removeprefix("ablations").replace("_", " ").strip()
    title = f"Ablations: {which}" if which else "Ablations"
    note = f"{base_new.NOTE} {views.NOTE}"
    return Section(name, title, note, seeds, [directions], list(shown.values()), made)
