"""Groups of nodes: the group of all nodes, and the further groups that a cluster names."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dsgd._common.checks import shown
from dsgd.cluster.program.commands import EVERYONE
from dsgd.errors import ConfigError

__all__ = ["GroupMembers", "check_groups", "described_groups", "groups_of", "make_groups"]


class GroupMembers(NamedTuple):
    """The name of a group, and the numbers of its nodes in the order of their ranks in it."""

    name: str
    members: tuple[int, ...]


def check_groups(groups: Mapping[str, Sequence[Sequence[int]]], workers: int) -> None:
    """Raise `ConfigError` unless every further group is made of disjoint parts of the nodes.

    Parameters
    ----------
    groups : mapping of str to sequence of sequences of int
        As of `dsgd.Simulation` and `dsgd.LocalCluster`.
    workers : int
        Number of nodes that train. With a coordinator there is one node more.
    """
    if not isinstance(groups, Mapping):
        raise ConfigError(f"groups must be a mapping such as {{'host': [[0, 1], [2, 3]]}}, not {shown(groups)}")
    for name, parts in groups.items():
        if not isinstance(name, str) or name == EVERYONE:
            raise ConfigError(f"no further group can have the name {shown(name)}; {EVERYONE!r} is that of all nodes")
        try:
            members = [operator.index(node) for part in parts for node in part]
            filled = all(len(part) > 0 for part in parts)
        except TypeError:
            raise ConfigError(f"group {name!r} must be a list of lists of nodes, not {shown(parts)}") from None
        if not filled or len(set(members)) < len(members) or not all(0 <= node <= workers for node in members):
            raise ConfigError(f"group {name!r} must be disjoint parts of the nodes 0 to {workers}")


def make_groups(groups: Mapping[str, Sequence[Sequence[int]]], n_nodes: int) -> list[GroupMembers]:
    """Return all groups of a run, first the group of all nodes.

    Raises
    ------
    ConfigError
        If a group names a node that the run does not have.
    """
    everyone = GroupMembers(EVERYONE, tuple(range(n_nodes)))
    named = [
        GroupMembers(name, tuple(operator.index(node) for node in part))
        for name, parts in groups.items()
        for part in parts
    ]
    for name, members in named:
        if max(members) >= n_nodes:
            raise ConfigError(f"group {name!r} names node {max(members)}; the run has the nodes 0 to {n_nodes - 1}")
    return [everyone, *named]


def groups_of(node: int, groups: Sequence[GroupMembers]) -> dict[str, tuple[int, ...]]:
    """Return the members of the groups of a node, by the names of the groups."""
    return {name: members for name, members in groups if node in members}


def described_groups(groups: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, Any]:
    """Return further groups as JSON can hold them."""
    return {name: [[operator.index(node) for node in part] for part in parts] for name, parts in groups.items()}
