"""Whose a key is over which yacs stumbles: the code base's own, or one of ours."""

from __future__ import annotations

import re

from caspl.dassl.section import DEFAULTS

MISMATCH = re.compile(r"Type mismatch \(<class '(\w+)'> vs\. <class '(\w+)'>\).* for config key: ([\w.]+)", re.S)
UNKNOWN = re.compile(r"Non-existent (?:config )?key: ([\w.]+)")
SECTION = "TRAINER.CASPL."


def whose_config(error: BaseException) -> str:
    """A sentence on an error of yacs; empty for any other error.

    Args:
        error: as yacs raises it: a value of another type than the default's, or a key without a default.
    """
    said = str(error.args[0]) if error.args else ""
    if found := MISMATCH.search(said):
        declared, given, key = found.groups()
        if key.startswith(SECTION):
            default = DEFAULTS.get(key.removeprefix(SECTION))
            return f"{key} is a setting of CasPL: it is a {declared}, {default!r} by default, not a {given}"
        return (
            f"{key} is a key of this code base's own config, none of CasPL's: its default there is a {declared}, and a "
            f"{given} is given; it would clash without the plug-in too"
        )
    if found := UNKNOWN.search(said):
        (key,) = found.groups()
        if key.startswith(SECTION):
            return f"there is no setting {key} of CasPL; there are {', '.join(DEFAULTS)}"
        return f"{key} is a key of this code base's own config, which does not know it; none of CasPL's"
    return ""
