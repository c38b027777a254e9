"""The hosts of a test, which are removed at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from hosts import namespaces
from hosts.namespaces import Host, NoHostsError


@pytest.fixture
def hosts() -> Iterator[Callable[[int], list[Host]]]:
    """Return a function that makes so many hosts; the test is skipped, with the reason, where none can be made."""
    with contextlib.ExitStack() as stack:

        def make(n: int) -> list[Host]:
            try:
                return stack.enter_context(namespaces.hosts(n))
            except NoHostsError as error:
                pytest.skip(str(error))

        yield make
