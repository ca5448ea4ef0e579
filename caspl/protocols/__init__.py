"""The protocols of the papers, as data (``*.yaml`` beside this module), and the runs that a table takes.

Nothing here runs anything: ``scripts/reproduce.py`` does, by starting ``train.py``.
"""

from caspl.protocols.plan import Request, Run, plan
from caspl.protocols.protocol import Choice, Protocol, names, read_protocol
from caspl.protocols.sweep import plan_all, requests_of

__all__ = ["Choice", "Protocol", "Request", "Run", "names", "plan", "plan_all", "read_protocol", "requests_of"]
