"""What a run leaves behind and what is made of it: records, groups of runs, tables.

A run writes one ``result.json`` (:class:`RunRecord`, :func:`write_record`); ``python -m caspl.results FOLDER``
prints the base/new/HM table of all records below a folder. Nothing here imports torch before it is needed.
"""

from caspl.results.machine import environment, now
from caspl.results.record import RunRecord, read_record, write_record

__all__ = ["RunRecord", "environment", "now", "read_record", "write_record"]
