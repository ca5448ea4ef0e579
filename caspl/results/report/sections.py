"""The parts of the page, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from caspl.protocols.ablations import ablation_tables
from caspl.results import all_classes, base_new
from caspl.results.by_protocol import note_of, tables_of
from caspl.results.record import RunRecord
from caspl.results.report.ablation_part import ablation_part
from caspl.results.report.parts import Section, seeds_of, trimmed
from caspl.results.report.protocol_part import TITLES, protocol_part

_NO_SHOTS = ("boosting", *all_classes.TRANSFERS)
_NO_TRANSFER = ("boosting", "few_shot", "base2new")


def sections(records: Sequence[RunRecord], folder: str) -> list[Section]:
    """The parts that there are runs of."""
    options = base_new.Options(paper=True, difference=True)
    found = {name: tables_of(name, records, options) for name in TITLES}
    seeds = {
        "base2new": seeds_of(one for one in records if one.classes != "all" and one.protocol != "few_shot"),
        "few_shot": seeds_of(one for one in records if one.classes == "all" and one.protocol not in _NO_SHOTS),
    }
    far = seeds_of(one for one in records if one.classes == "all" and one.protocol not in _NO_TRANSFER)
    made = [
        protocol_part(
            name,
            [trimmed(one) for one in tables],
            folder,
            seeds.get(name, far),
            note_of(name, records),
        )
        for name, tables in found.items()
        if tables
    ]
    ablations = [ablation_part(records, folder, name) for name in ablation_tables()]
    return [*made, *(one for one in ablations if one is not None)]


def absent(parts: Sequence[Section]) -> list[str]:
    """What there are no runs of, in words."""
    anchors = {part.anchor for part in parts}
    ablations = [] if anchors.intersection(ablation_tables()) else ["Ablations"]
    return [*(title for name, title in TITLES.items() if name not in anchors), *ablations]
