"""JSON and YAML as they come from anywhere: what is no good is a ValueError, and never more than a file's own size."""

from __future__ import annotations

import json
from typing import Any

MOST_ALIASES = 20
DEEPEST = 50
"""Of a YAML file: a few lines of aliases of aliases stand for more than any memory holds, and depth takes hours."""


def parse_json(text: str) -> Any:
    """The content of a JSON text.

    Raises:
        ValueError: it is none, is nested too deeply, or holds half a character, which no file name or text can have.
    """
    try:
        content = json.loads(text)
        if "\\u" in text:  # only so can they come
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("it holds half of a surrogate pair") from error
    return content


def parse_yaml(text: str) -> Any:
    """The content of a YAML text, of plain values alone.

    Raises:
        ValueError: it is none, is nested too deeply or in itself, or has more than ``MOST_ALIASES`` aliases.
    """
    import yaml  # late: most of what is read is JSON

    try:
        depth = aliases = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            aliases += isinstance(event, yaml.AliasEvent)
            if depth > DEEPEST:
                raise ValueError("it is nested too deeply")
            if aliases > MOST_ALIASES:
                raise ValueError(f"it has more than {MOST_ALIASES} aliases")
        content = yaml.safe_load(text)
        json.dumps(content, default=str)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (TypeError, LookupError, AttributeError, ArithmeticError) as error:  # keys that are lists, tags that lie
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return content
