"""The protocols and tables of the papers, as data (``*.yaml`` here and in ``tables``), and the runs that a table takes.

Nothing here runs anything: ``scripts/reproduce.py`` does, by starting ``train.py``.
"""

from caspl.protocols.plan import plan
from caspl.protocols.protocol import Choice, Protocol, names, read_protocol
from caspl.protocols.request import Request, Run
from caspl.protocols.tables import Part, parts_of, plan_all, table_names

__all__ = [
    "Choice",
    "Part",
    "Protocol",
    "Request",
    "Run",
    "names",
    "parts_of",
    "plan",
    "plan_all",
    "read_protocol",
    "table_names",
]
