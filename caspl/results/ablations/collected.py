"""The runs of ablations among the records: which group of them is which setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caspl.errors import CasPLError
from caspl.protocols.ablations import Ablation, Ablations, Method
from caspl.results.collect import ABLATIONS, Group, base_to_new
from caspl.results.figures import mean_by_seed
from caspl.results.paper_figures import dataset_key
from caspl.results.record import RunRecord

Groups = Mapping[str, Group]
"""The runs of an ablation, by setting; over several data sets their mean."""
ByMethod = Mapping[Method, Group]


def by_setting(ablations: Ablations, records: Iterable[RunRecord]) -> dict[str, Groups]:
    """The runs of each ablation: those that were made for ablations; without any, all that have its settings.

    Raises:
        CasPLError: they are of several numbers of shots, which no table should mix.
    """
    found = list(records)
    groups = base_to_new([one for one in found if one.protocol == ABLATIONS] or found, ablations=True)
    return {name: _settings(ablations, ablation, groups) for name, ablation in ablations.tables.items()}


def _settings(ablations: Ablations, ablation: Ablation, groups: Sequence[Group]) -> Groups:
    wanted = {dataset_key(name): name for name in ablation.datasets}
    own = [group for group in groups if dataset_key(group.dataset) in wanted]
    shots = sorted({group.shots for group in own if group.shots})
    if len(shots) > 1:
        raise CasPLError(f"there are runs of {' and '.join(map(str, shots))} shots; give each a folder of its own.")
    found: dict[str, dict[str, Group]] = {}
    for key, name in wanted.items():
        here = {Method(group.trainer, group.config): group for group in own if dataset_key(group.dataset) == key}
        methods = {setting: ablations.method(one, name) for setting, one in ablation.settings.items()}
        told = {setting: here[method] for setting, method in methods.items() if method in here}
        # The run that most ablations share does not begin one.
        if len({methods[setting] for setting in told}) > 1:
            found[key] = told
    return {
        setting: _mean([told[setting] for told in found.values()])
        for setting in ablation.settings
        if found and all(setting in told for told in found.values())
    }


def _mean(groups: Sequence[Group]) -> Group:
    first = groups[0]
    if len(groups) == 1:
        return first
    base, new = (mean_by_seed([getattr(group, part) for group in groups]) for part in ("base", "new"))
    return Group(f"{len(groups)} data sets", first.trainer, first.config, first.shots, base, new)
