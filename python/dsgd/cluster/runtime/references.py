"""Configuration objects in JSON: the name of their class and their options, but no code."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from typing import Any

from dsgd._common.checks import shown
from dsgd.errors import ConfigError

__all__ = ["described", "restored"]


def described(value: Any, registry: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Return the name of a configuration's class, and its options.

    Parameters
    ----------
    value : dataclass
    registry : mapping of str to type
        Classes that are described by this name. Any other class is described by its module and
        name, and another process must be able to import it from there.

    Raises
    ------
    ConfigError
        If another process cannot import the class, or JSON cannot hold an option.
    """
    kind = type(value)
    name = kind.name if registry.get(getattr(kind, "name", "")) is kind else f"{kind.__module__}:{kind.__qualname__}"
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise ConfigError(
            f"{kind.__qualname__} is defined in a script or a function, where worker processes cannot import it: move "
            "the class to the top of a module of its own"
        )
    options = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    try:
        json.dumps(options)
    except TypeError as error:
        raise ConfigError(f"worker processes cannot be told {shown(value)}: {error}") from error
    return {"name": name, "options": options}


def restored(description: Mapping[str, Any], registry: Mapping[str, type[Any]], base: type[Any]) -> Any:
    """Return the object that was `described`; `ConfigError` if it would be no `base`."""
    name, options = description["name"], description["options"]
    kind = registry.get(name)
    if kind is None:
        module, _, path = name.partition(":")
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ConfigError(f"{name} is no {base.__name__}")
        kind = found
    return kind(**options)


def _plain(option: Any) -> Any:
    """Return an option that is a configuration itself as a dictionary, from which its owner makes it again."""
    return dataclasses.asdict(option) if dataclasses.is_dataclass(option) and not isinstance(option, type) else option
