"""On which line of a YAML file a value is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

__all__ = ["duplicate_key", "line_of", "nodes_of"]


def nodes_of(text: str) -> Any:
    """Return the nodes of YAML text that `parse_yaml` accepts."""
    return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def line_of(root: Any, place: Sequence[str | int]) -> int:
    """Return the line of a value, or of what contains it if there is none, from 1.

    Args:
        root: see `nodes_of`.
        place: the keys and indices that lead to the value.
    """
    node, line = root, root.start_mark.line if root else 0
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if not found:
                break
            key, node = found[-1]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1


def duplicate_key(root: Any) -> tuple[str, int] | None:
    """Return a key that occurs twice in a mapping, and its second line; None if none does."""
    nodes, seen = [root], set[int]()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    return key.value, int(key.start_mark.line) + 1
                keys.add(key.value if isinstance(key, yaml.ScalarNode) else "")
                nodes.append(value)
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
    return None
