"""Tables that map the names in configuration files to classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any, TypeVar, overload

__all__ = ["Registry", "check_availability", "get_most_similar_str_to_a_from_b"]

T = TypeVar("T")


class Registry:
    """Named objects, in the order in which they were registered.

    Use it as a decorator, ``@TABLE.register()``, or as a call, ``TABLE.register(obj)``.

    Args:
        name: what the table holds; appears in error messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._objects: dict[str, Any] = {}

    @overload
    def register(self, obj: None = None, force: bool = False) -> Callable[[T], T]: ...

    @overload
    def register(self, obj: object, force: bool = False) -> None: ...

    def register(self, obj: object | None = None, force: bool = False) -> Callable[[T], T] | None:
        """Add an object under its ``__name__``.

        Args:
            obj: the object; without it a decorator is returned, which hands its argument back unchanged.
            force: replace an object of the same name instead of refusing.

        Raises:
            KeyError: the name is taken.
        """
        if obj is not None:
            self._add(obj, force)
            return None

        def decorate(decorated: T) -> T:
            self._add(decorated, force)
            return decorated

        return decorate

    def get(self, name: str) -> Any:
        """Return the object registered as ``name``; KeyError if there is none."""
        if name not in self._objects:
            raise KeyError(f'Object name "{name}" does not exist in "{self._name}" registry')
        return self._objects[name]

    def registered_names(self) -> list[str]:
        """Return all names in the order of registration."""
        return list(self._objects)

    def __contains__(self, name: object) -> bool:
        return name in self._objects

    def _add(self, obj: Any, force: bool) -> None:
        name = obj.__name__
        if name in self._objects and not force:
            raise KeyError(f'An object named "{name}" was already registered in "{self._name}" registry')
        self._objects[name] = obj


def get_most_similar_str_to_a_from_b(a: str, b: Sequence[str]) -> str | None:
    """Return the string of ``b`` most like ``a``: the last of equals, None if ``b`` is empty."""
    best, best_ratio = None, 0.0
    for candidate in b:
        ratio = SequenceMatcher(None, a, candidate).ratio()
        if ratio >= best_ratio:
            best, best_ratio = candidate, ratio
    return best


def check_availability(requested: str, available: Sequence[str]) -> None:
    """Raise ValueError, with the nearest name, unless ``requested`` is among ``available``."""
    if requested in available:
        return
    message = f"The requested one is expected to belong to {list(available)}, but got [{requested}]"
    if not available:
        raise ValueError(f"{message}: nothing is registered, import the module that registers it first")
    nearest = get_most_similar_str_to_a_from_b(requested, available)
    raise ValueError(f"{message} (do you mean [{nearest}]?)")
