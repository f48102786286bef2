"""Follow faces from frame to frame, and vote each one's class over time, so that a label does not flicker."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.sources import Frame

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["LOST", "LOW_CONF", "Tracker", "Tracking", "Vote"]

#: Least confidence of a detection that keeps up a track which began with better ones (ByteTrack's second association).
LOW_CONF = 0.1

#: Least confidence of a detection that begins a track.
START_CONF = 0.5

#: Frames in a row that a face must be found in before it is a track.
START_FRAMES = 3

#: Seconds after which a track that is not found any more has ended.
LOST = 2.0

#: Seconds in which the weight of a vote falls to 1/e: a new class has a majority after half of it, a single frame never has.
MEMORY = 0.5

#: Most seconds that votes age from one frame to the next: at a low frame rate no single frame decides.
OLDEST_STEP = 0.2

#: Share of the votes that another class needs before it is taken.
MAJORITY = 0.6


#: Side in pixels of the square that boxes are scaled to for the tracker, which compares boxes only with one another.
SIDE = 1000

#: Frames a second that a source may truly have; what a stream says of itself can be anything.
RATES = (1.0, 120.0)


@dataclass
class Vote:
    """The class of a face over time: a sum of confidences that fade, and a class that changes only with a clear majority.

    At 10 frames a second or more, a face that is found in its new class from one frame on changes within half a second.
    """

    class_id: int
    time: float
    weights: list[float] = field(default_factory=lambda: [0.0] * len(CLASS_NAMES))

    def add(self, class_id: int, confidence: float, time: float) -> int:
        """Count a detection, and return the class that the face has now."""
        fade = math.exp(-min(max(time - self.time, 0.0), OLDEST_STEP) / MEMORY)
        self.weights = [weight * fade for weight in self.weights]
        self.weights[class_id] += confidence
        self.time = time
        best = max(range(len(self.weights)), key=self.weights.__getitem__)
        if self.weights[best] > MAJORITY * sum(self.weights):
            self.class_id = best
        return self.class_id


class Tracker:
    """Gives the faces of one video or stream their track, with ByteTrack (Zhang et al. 2022, as in Roboflow's `trackers`).

    Args:
        rate: frames a second.
        conf: least confidence of a detection that counts as sure.
    """

    def __init__(self, rate: float, conf: float = 0.25) -> None:
        from trackers import ByteTrackTracker

        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(
                LOST * 30
            ),  # in frames of a thirtieth of a second, whatever the rate is
            frame_rate=min(max(rate, RATES[0]), RATES[1]),
            track_activation_threshold=max(conf, START_CONF),
            minimum_consecutive_frames=START_FRAMES,
            high_conf_det_threshold=conf,
        )
        self._votes: dict[int, Vote] = {}
        self._time = -math.inf

    def update(
        self, detections: sv.Detections, time: float, size: tuple[int, int] = (SIDE, SIDE)
    ) -> sv.Detections:
        """Return the detections in their order with `tracker_id`, from 1 on, or -1 without a track; a track's have its voted class.

        Args:
            detections: what was found in the next frame; those of low confidence help to keep up a track.
            time: of the frame in seconds.
            size: width and height of the frame; a stream that changes it keeps its tracks.
        """
        import supervision as sv

        self._time = max(
            time, self._time + 1e-3
        )  # a clock that stands still would count as no new frame
        rows = np.arange(len(detections))
        boxes = detections.xyxy * (SIDE / np.array([*size, *size], np.float32))
        sure: Any = detections.confidence
        found: Any = self._tracker.update(
            sv.Detections(boxes, confidence=detections.confidence, data={"row": rows}),
            timestamp=self._time,
        )
        tracks = np.full(len(detections), -1)
        if len(found):
            tracks[found.data["row"]] = np.where(found.tracker_id >= 0, found.tracker_id + 1, -1)
        class_ids = np.array(detections.class_id, dtype=np.int64)
        for row in np.flatnonzero(tracks > 0):
            vote = self._votes.setdefault(int(tracks[row]), Vote(int(class_ids[row]), self._time))
            class_ids[row] = vote.add(int(class_ids[row]), float(sure[row]), self._time)
        self._votes = {
            track: vote for track, vote in self._votes.items() if self._time - vote.time <= 2 * LOST
        }
        return sv.Detections(
            detections.xyxy,
            confidence=detections.confidence,
            class_id=class_ids,
            tracker_id=tracks,
            data={**detections.data, "class_name": np.array(CLASS_NAMES)[class_ids]},
            metadata=detections.metadata,
        )


class Tracking:
    """Tracks each video and stream of a run by itself, and leaves still pictures as they are.

    Args:
        conf: least confidence of a detection without a track.
    """

    def __init__(self, conf: float = 0.25) -> None:
        self._conf = conf
        self._source, self._index = "", -1
        self._tracker: Tracker | None = None

    def __call__(self, frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        """Return the frame, and its detections with their tracks; those of low confidence without a track are dropped."""
        found: Any = detections
        if frame.kind == "image":
            return frame, found[found.confidence > self._conf]
        if self._tracker is None or frame.source != self._source or frame.index <= self._index:
            self._tracker, self._source = Tracker(float(frame.rate), self._conf), frame.source
        self._index = frame.index
        height, width = frame.image.shape[:2]
        found = self._tracker.update(detections, frame.time, (width, height))
        return frame, found[(found.tracker_id > 0) | (found.confidence > self._conf)]
