"""Tracks faces from frame to frame and votes on each class, so that labels do not flicker."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.runtime.frames import Frame

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["LOST", "LOW_CONF", "Tracker", "Tracking", "Vote"]

#: Minimum confidence of a detection that continues a track which began with better ones
#: (ByteTrack's second association).
LOW_CONF = 0.1

#: Minimum confidence of a detection that begins a track.
START_CONF = 0.5

#: Number of consecutive frames in which a face must be found to become a track.
START_FRAMES = 3

#: Seconds without a detection after which a track has ended.
LOST = 2.0

#: Seconds in which the weight of a vote falls to 1/e. A new class has a majority after half of
#: that; a single frame never has.
MEMORY = 0.5

#: Maximum number of seconds that votes age from one frame to the next, so that no single frame
#: decides at a low frame rate.
OLDEST_STEP = 0.2

#: Fraction of the votes that another class needs to replace the current one.
MAJORITY = 0.6

#: Side in pixels of the square that boxes are scaled to for the tracker, which only compares them
#: with one another.
SIDE = 1000

#: Plausible frame rates, in frames per second; a stream may declare any number.
RATES = (1.0, 120.0)


@dataclass
class Vote:
    """The class of a face over time; it only changes when another class has a clear majority.

    The weight of a class is the sum of its confidences, which decay over time. At 10 frames per
    second or more, a face changes its class within half a second.
    """

    class_id: int
    time: float
    weights: list[float] = field(default_factory=lambda: [0.0] * len(ALL_CLASS_NAMES))

    def add(self, class_id: int, confidence: float, time: float) -> int:
        """Count a detection and return the current class of the face."""
        fade = math.exp(-min(max(time - self.time, 0.0), OLDEST_STEP) / MEMORY)
        self.weights = [weight * fade for weight in self.weights]
        self.weights[class_id] += confidence
        self.time = time
        best = max(range(len(self.weights)), key=self.weights.__getitem__)
        if self.weights[best] > MAJORITY * sum(self.weights):
            self.class_id = best
        return self.class_id


class Tracker:
    """Assigns tracks to the faces of one video or stream.

    The method is ByteTrack (Zhang et al. 2022), as implemented in Roboflow's `trackers`.

    Args:
        rate: frames per second.
        conf: minimum confidence of a detection in ByteTrack's first association.
    """

    def __init__(self, rate: float, conf: float = 0.25) -> None:
        from trackers import ByteTrackTracker

        self._tracker = ByteTrackTracker(
            # counted in frames of 1/30 s, regardless of frame_rate
            lost_track_buffer=round(LOST * 30),
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
        """Return the detections, in their order, with tracks and voted classes.

        Args:
            detections: the detections of the next frame; those of low confidence help to continue
                a track.
            time: time of the frame in seconds.
            size: width and height of the frame; tracks continue if a stream changes it.

        Returns:
            The detections with `tracker_id`, from 1 on, or -1 without a track. A detection with a
            track has the track's voted class.
        """
        import supervision as sv

        # the tracker needs increasing times, but a stream's clock may stand still
        self._time = max(time, self._time + 1e-3)
        rows = np.arange(len(detections))
        boxes = detections.xyxy * (SIDE / np.array([*size, *size], np.float32))
        confidence: Any = detections.confidence
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
            class_ids[row] = vote.add(int(class_ids[row]), float(confidence[row]), self._time)
        self._votes = {
            track: vote for track, vote in self._votes.items() if self._time - vote.time <= 2 * LOST
        }
        return sv.Detections(
            detections.xyxy,
            confidence=detections.confidence,
            class_id=class_ids,
            tracker_id=tracks,
            data={**detections.data, "class_name": np.array(ALL_CLASS_NAMES)[class_ids]},
            metadata=detections.metadata,
        )


class Tracking:
    """Tracks each video and stream of a run separately, and leaves still images unchanged.

    Args:
        conf: minimum confidence of a detection without a track.
    """

    def __init__(self, conf: float = 0.25) -> None:
        self._conf = conf
        self._source, self._index = "", -1
        self._tracker: Tracker | None = None

    def __call__(self, frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        """Return the frame and its detections with their tracks.

        Detections of low confidence without a track are dropped.
        """
        found: Any = detections
        if frame.kind == "image":
            return frame, found[found.confidence > self._conf]
        if self._tracker is None or frame.source != self._source or frame.index <= self._index:
            self._tracker, self._source = Tracker(float(frame.rate), self._conf), frame.source
        self._index = frame.index
        height, width = frame.image.shape[:2]
        found = self._tracker.update(detections, frame.time, (width, height))
        return frame, found[(found.tracker_id > 0) | (found.confidence > self._conf)]
