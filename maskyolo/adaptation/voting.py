"""Labels the faces of one image or recording: confident moments decide for their unsure neighbors.

In a recording, a face that is seen clearly before and after a hand covers it has one class for that
time, whatever the detector says of the hand. Unlike live tracking, the vote also looks ahead, so
that a change of class is not late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import supervision as sv

from maskyolo.adaptation.views import Sighting
from maskyolo.core.boxes import as_boxes
from maskyolo.core.classes import WITH_MASK_ID, WITHOUT_MASK_ID
from maskyolo.core.labels import IGNORE, Labels
from maskyolo.runtime.tracking import Tracker

__all__ = ["Moment", "label_recording", "label_still", "vote"]

#: Seconds in which the weight of a vote falls to 1/e, before and after its time.
MEMORY = 0.4
#: Minimum number of sightings of a track, and minimum vote, from 0 to 1, that decides a class.
_MIN_SIGHTINGS, _MIN_VOTE = 5, 0.15
#: Minimum agreement of the views about a face without a track; below `_UNSURE`, a face with a track
#: is one that the detector has something to learn from.
_AGREED, _UNSURE = 0.75, 0.75
#: What is less confident than this is no face; between this and a label, it is blanked out.
_FAINT = 0.15


@dataclass(frozen=True)
class Moment:
    """The faces of one frame of a recording.

    Attributes:
        time: seconds since the recording's first frame.
        size: width and height of the frame in pixels.
        sightings: its faces.
    """

    time: float
    size: tuple[int, int]
    sightings: Sequence[Sighting]


def vote(
    times: npt.NDArray[np.float64], evidence: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the evidence of each moment of a track, averaged with its neighbors in time.

    Args:
        times: seconds (n,).
        evidence: from -1 (no mask) to 1 (mask) (n,).

    Returns:
        Votes from -1 to 1, float64 (n,).

    Examples:
        >>> times = np.arange(5) / 10
        >>> bool(vote(times, np.array([0.9, 0.9, -0.3, 0.9, 0.9]))[2] > 0.4)
        True
    """
    weights = np.exp(-np.abs(times[:, None] - times[None]) / MEMORY)
    return np.asarray(weights @ evidence / weights.sum(axis=1), dtype=np.float64)


def label_still(sightings: Sequence[Sighting]) -> tuple[Labels, bool]:
    """Return the labels of an image without a recording, and whether a face in it is unsure.

    Faces of which the views are not certain, or that they give different classes, have the class
    `IGNORE`: they must be blanked out.
    """
    class_ids = [
        _class_of(one.evidence) if one.certain and one.agreement >= _AGREED else IGNORE
        for one in sightings
    ]
    return _labels(sightings, class_ids), IGNORE in class_ids


def label_recording(moments: Sequence[Moment], rate: float) -> list[tuple[Labels, bool]]:
    """Return the labels of each frame, and whether the detector can learn from one of its faces.

    Args:
        moments: the frames of one recording, in order.
        rate: frames per second.
    """
    tracker = Tracker(rate)
    tracks: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, moment in enumerate(moments):
        for place, track in enumerate(_tracks(tracker, moment)):
            if track > 0:
                tracks[track].append((number, place))
    class_ids = [[IGNORE] * len(moment.sightings) for moment in moments]
    unsure = [False] * len(moments)
    for places in tracks.values():
        seen = [moments[number].sightings[place] for number, place in places]
        votes = vote(
            np.array([moments[number].time for number, _ in places]),
            np.array([one.evidence for one in seen]),
        )
        for (number, place), one, voted in zip(places, seen, votes.tolist(), strict=True):
            if one.certain and len(places) >= _MIN_SIGHTINGS and abs(voted) >= _MIN_VOTE:
                class_ids[number][place] = _class_of(voted)
                differs = _class_of(voted) != _class_of(one.evidence)
                unsure[number] |= differs or one.agreement < _UNSURE
    return [
        (_labels(moment.sightings, ids), hard)
        for moment, ids, hard in zip(moments, class_ids, unsure, strict=True)
    ]


def _tracks(tracker: Tracker, moment: Moment) -> list[int]:
    """Return the track of each face, or -1."""
    found = sv.Detections(
        as_boxes([one.box for one in moment.sightings]),
        confidence=np.array([one.confidence for one in moment.sightings], np.float32),
        class_id=np.array([_class_of(one.evidence) for one in moment.sightings], np.int64),
    )
    tracked = tracker.update(found, moment.time, moment.size)
    return [] if tracked.tracker_id is None else [int(track) for track in tracked.tracker_id]


def _class_of(evidence: float) -> int:
    return WITH_MASK_ID if evidence > 0 else WITHOUT_MASK_ID


def _labels(sightings: Sequence[Sighting], class_ids: Sequence[int]) -> Labels:
    kept = [
        place
        for place, (one, class_id) in enumerate(zip(sightings, class_ids, strict=True))
        if class_id != IGNORE or one.confidence >= _FAINT
    ]
    return Labels(
        as_boxes([sightings[place].box for place in kept]),
        np.array([class_ids[place] for place in kept], dtype=np.int64),
    )
