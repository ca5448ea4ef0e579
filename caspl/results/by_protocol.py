"""The tables of each protocol, and what is said below them."""

from __future__ import annotations

from collections.abc import Sequence

from caspl.results import all_classes, base_new, chosen
from caspl.results.collect import base_to_new
from caspl.results.record import RunRecord
from caspl.results.tables import Table

TABLES = ("base2new", "few_shot", "cross_dataset", "domain_generalization", "chosen")


def tables_of(name: str, records: Sequence[RunRecord], options: base_new.Options) -> list[Table]:
    """The tables of one of ``TABLES``; none where there are no runs of it."""
    if name == "base2new":
        groups = base_to_new(records)
        return base_new.tables(groups, options) if groups else []
    if name == "chosen":
        return chosen.tables(records)
    if name == "few_shot":
        return all_classes.few_shot(records, options.paper, options.difference)
    return all_classes.transfer(records, name == "domain_generalization", options.paper, options.difference)


def note_of(name: str, records: Sequence[RunRecord]) -> str:
    """What is said below them."""
    if name == "few_shot":
        return all_classes.few_shot_note(records)
    return {"base2new": base_new.NOTE, "chosen": chosen.NOTE}.get(name, all_classes.NOTE)
