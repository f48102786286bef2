"""The state of one tracked person."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from maskyolo.core.classes import ALL_CLASS_NAMES, INCORRECT_MASK_ID, WITH_MASK_ID

if TYPE_CHECKING:
    from maskyolo.runtime.frames import Frame

__all__ = ["Person"]


@dataclass
class Person:
    """A track: its last detection and its state.

    Attributes:
        first: time of the first detection.
        frame: index of the frame of the last detection.
        time: time of the last detection.
        box: xyxy pixels of the last detection, (4,).
        class_id: class of the last detection.
        confidence: confidence of the last detection.
        moment: time of day of the last detection; None if unknown.
        appeared: whether it counts as a person, see `SETTLED`.
        reported_class: class in the last event.
        inside: whether it is in the zone.
        state: how it is counted, one of `states_of`, or empty if it is not counted yet.
        counted_class: class when it was counted.
        bare_since: time from which it has been in the zone without a mask, or with one worn
            incorrectly; or None.
        alerted: whether an alert was raised since then.
    """

    first: float
    frame: int
    time: float
    box: Any
    class_id: int
    confidence: float
    moment: datetime | None = None
    appeared: bool = False
    reported_class: int = 0
    inside: bool = False
    state: str = ""
    counted_class: int = 0
    bare_since: float | None = None
    alerted: bool = False

    def see(self, frame: Frame, box: Any, class_id: int, confidence: float) -> None:
        """Update the track with its detection in a new frame."""
        self.frame, self.time, self.box = frame.index, frame.time, box
        self.class_id, self.confidence, self.moment = class_id, confidence, frame.moment

    def follow(
        self, inside: bool, has_zone: bool, people: Counter[str], alert_after: float | None
    ) -> list[str]:
        """Update the person's state after the last detection.

        Args:
            inside: whether the person is in the zone; True if there is none.
            has_zone: whether there is a zone.
            people: number of people in each of `states_of`, updated in place.
            alert_after: seconds without a mask, or with one worn incorrectly, after which an alert
                is raised. It is the same time if the third class is not reported.

        Returns:
            The resulting events, see `Event`.
        """
        events = []
        if not self.appeared:
            self.appeared = True
            events.append("appears")
        elif self.reported_class != self.class_id:
            events.append("changes")
        self.reported_class = self.class_id
        if has_zone and inside != self.inside:
            events.append("enters" if inside else "leaves")
        self.inside = inside
        if inside and (not self.state or self.counted_class != self.class_id):
            self._count(people)
        if not inside or self.class_id == WITH_MASK_ID:
            self.bare_since, self.alerted = None, False
            return events
        self.bare_since = self.time if self.bare_since is None else self.bare_since
        overdue = alert_after is not None and self.time - self.bare_since >= alert_after
        if overdue and not self.alerted:
            self.alerted = True
            events.append("alert")
        return events

    def _count(self, people: Counter[str]) -> None:
        if self.state:
            people[self.state] -= 1
        if self.state and self.class_id != INCORRECT_MASK_ID:
            self.state = "put_on" if self.class_id == WITH_MASK_ID else "took_off"
        else:
            self.state = ALL_CLASS_NAMES[self.class_id]
        people[self.state] += 1
        self.counted_class = self.class_id
