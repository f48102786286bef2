"""The result of a frame, and the protocol of the sinks that receive it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from maskyolo.core.images import ImageArray
from maskyolo.core.interrupts import uninterrupted
from maskyolo.runtime.drawing import draw_detections
from maskyolo.runtime.frames import Frame

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["NullSink", "Quit", "Result", "Sink", "Sinks"]


class Quit(Exception):  # noqa: N818  not an error
    """The user closed the window or pressed `q`."""


@dataclass(frozen=True)
class Result:
    """A frame and its detections.

    Attributes:
        frame: the frame.
        detections: all detections, for counting.
        overlay: draws what the run adds to an annotated frame, such as a zone.
        classes: class ids to report; None for all.
    """

    frame: Frame
    detections: sv.Detections
    overlay: Callable[[ImageArray], None] | None = None
    classes: Collection[int] | None = None

    @cached_property
    def reported(self) -> sv.Detections:
        """The detections to write, draw and return: those of the chosen classes."""
        found = self.detections
        if self.classes is None or found.class_id is None:
            return found
        kept: Any = found[np.isin(found.class_id, list(self.classes))]
        return cast("sv.Detections", kept)

    @cached_property
    def drawn(self) -> ImageArray:
        """A copy of the frame with detections and overlay drawn, made once for all sinks."""
        drawn = draw_detections(self.frame.image, self.reported)
        if self.overlay:
            self.overlay(drawn)
        return drawn


class Sink(Protocol):
    """Receives the results of one run, in order."""

    def write(self, result: Result) -> None:
        """Write one result.

        Raises:
            OutputError: no space left, or no permission.
        """
        ...

    def fail(self, source: str, index: int, error: str) -> None:
        """Record that `source` could not be read from frame `index` on."""
        ...

    def finish(self, source: str = "") -> None:
        """Complete the outputs of a source that has ended, by its name; of all without one."""
        ...

    def close(self) -> None:
        """Finish all outputs, so that every result is on disk and every file is complete."""
        ...


class NullSink:
    """Ignores everything; base of sinks that need only part of the protocol."""

    def write(self, result: Result) -> None:
        """Ignore it; see `Sink`."""

    def fail(self, source: str, index: int, error: str) -> None:
        """Ignore it; see `Sink`."""

    def finish(self, source: str = "") -> None:
        """Do nothing; see `Sink`."""

    def close(self) -> None:
        """Do nothing; see `Sink`."""


class Sinks:
    """Several sinks as one, opened at the first result.

    A run that finds nothing to read therefore leaves no files.

    Args:
        make: opens the sinks one by one.
    """

    def __init__(self, make: Callable[[], Iterable[Sink]]) -> None:
        self._make = make
        self._sinks: list[Sink] | None = None
        self._closing = ExitStack()

    def write(self, result: Result) -> None:
        """Pass a result to each sink; see `Sink`."""
        for sink in self._open():
            sink.write(result)

    def fail(self, source: str, index: int, error: str) -> None:
        """Inform each sink; see `Sink`."""
        for sink in self._open():
            sink.fail(source, index, error)

    def finish(self, source: str = "") -> None:
        """Inform each sink; see `Sink`."""
        for sink in self._sinks or []:
            sink.finish(source)

    def close(self) -> None:
        """Close every sink, even if one fails, and however often Ctrl-C is pressed; see `Sink`."""
        with uninterrupted():
            self._closing.close()

    def _open(self) -> list[Sink]:
        if self._sinks is None:
            self._sinks = []
            for sink in self._make():
                self._closing.callback(sink.close)
                self._sinks.append(sink)
        return self._sinks
