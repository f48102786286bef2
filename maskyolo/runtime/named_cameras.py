"""Cameras with a name of their own, and what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskyolo.runtime.addresses import display_name

__all__ = ["GivenSource", "NamedCamera", "named_cameras", "record_of"]


@dataclass(frozen=True)
class NamedCamera:
    """A camera, stream or video that is called by its name in everything written and shown.

    It may be away at the start: `detect` then tries to connect, as after an interruption.

    Attributes:
        name: its name, such as "door".
        source: what `detect` accepts as one camera, stream or video.
        zone: its own zone instead of the option's.
        line: its own line instead of the option's.
        alert_after: its own time instead of the option's.

    Example:
        >>> detect([NamedCamera("door", "rtsp://10.0.0.5/live"), NamedCamera("gate", 0)])
    """

    name: str
    source: str | int | Path = field(repr=False)  # it may contain a password
    zone: str | None = None
    line: str | None = None
    alert_after: float | None = None

    def record(self) -> dict[str, Any]:
        """Return it as `args.yaml` records it, without passwords."""
        own = {"zone": self.zone, "line": self.line, "alert_after": self.alert_after}
        return {"name": self.name, "source": display_name(self.source)} | {
            key: value for key, value in own.items() if value is not None
        }


#: One source, as it is given to `detect`.
GivenSource = str | int | Path | NamedCamera


def named_cameras(source: GivenSource | Sequence[GivenSource]) -> list[NamedCamera]:
    """Return the named cameras among what is given as source."""
    several = [source] if isinstance(source, GivenSource) else source
    return [one for one in several if isinstance(one, NamedCamera)]


def record_of(source: GivenSource | Sequence[GivenSource]) -> dict[str, Any]:
    """Return how `args.yaml` records what is given as source, without passwords."""
    several = [source] if isinstance(source, GivenSource) else list(source)
    if named := named_cameras(source):
        return {"cameras": [camera.record() for camera in named]}
    names = [display_name(one) for one in several if not isinstance(one, NamedCamera)]
    return {"source": names if len(names) > 1 else names[0]}
