"""Metrics of the cameras for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from maskyolo.live.hub import Hub
from maskyolo.live.streams import Viewers

__all__ = ["metrics_text"]

_LABELS = ("camera", "name")


class _Cameras(Collector):
    def __init__(self, hub: Hub, viewers: Viewers) -> None:
        self._hub, self._viewers = hub, viewers

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("maskyolo_camera_up", "1 if frames arrive.", labels=_LABELS)
        rate = GaugeMetricFamily("maskyolo_camera_fps", "Frames per second.", labels=_LABELS)
        frames = CounterMetricFamily("maskyolo_frames", "Processed frames.", labels=_LABELS)
        faces = GaugeMetricFamily(
            "maskyolo_faces", "Faces in the newest frame.", labels=(*_LABELS, "class")
        )
        events = CounterMetricFamily("maskyolo_events", "Events.", labels=(*_LABELS, "event"))
        for camera in self._hub.cameras.values():
            who = (str(camera.number), camera.name)
            is_live, seen = camera.status == "live", camera.newest()
            up.add_metric(who, is_live)
            rate.add_metric(who, camera.rate)
            frames.add_metric(who, camera.frames)
            shown = seen.record["detections"] if seen and is_live else []
            found = Counter(face["class"] for face in shown)
            for name in camera.class_names:
                faces.add_metric((*who, name), found[name])
            for name, number in sorted(dict(camera.events).items()):
                events.add_metric((*who, name), number)
        yield from (up, rate, frames, faces, events)
        yield GaugeMetricFamily(
            "maskyolo_viewers", "Viewers of frames and events.", value=self._viewers.count
        )


def metrics_text(hub: Hub, viewers: Viewers) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Cameras(hub, viewers))
    return generate_latest(registry)
