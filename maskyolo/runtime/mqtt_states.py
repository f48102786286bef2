"""Publishes the counts of cameras to an MQTT broker, for Home Assistant and others."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.counting import Counting
from maskyolo.runtime.delivery.home_assistant import (
    EXPIRES,
    availability_topic,
    discovery,
    state_topic,
)
from maskyolo.runtime.delivery.mqtt import KEEP_ALIVE, Broker
from maskyolo.runtime.results import NullSink, Result
from maskyolo.runtime.source_counting import SourceCounts
from maskyolo.runtime.timeline import mask_share

if TYPE_CHECKING:
    import paho.mqtt.client as paho

__all__ = ["MqttStates"]

#: Seconds between states of a camera: at least, and at most.
SHORTEST, LONGEST = 1.0, EXPIRES / 4


class MqttStates(NullSink):
    """Publishes how many people each camera or stream sees, with and without a mask.

    Each camera has its own connection and last will. Nothing is published for files.

    Args:
        broker: where to.
        counting: counts the people; it must get each frame before this sink does.
        alerts: whether alerts are published, too.
        on_failure: called with an error the first time that the broker cannot be reached, in the
            thread that calls the sink's methods.
    """

    def __init__(
        self,
        broker: Broker,
        counting: Counting,
        alerts: bool,
        on_failure: Callable[[MaskyoloError], None],
    ) -> None:
        self._broker, self._counting, self._alerts = broker, counting, alerts
        self._on_failure = on_failure
        self._problems: deque[str] = deque(maxlen=1)
        self._reported = False
        self._cameras: dict[str, _CameraState] = {}

    def write(self, result: Result) -> None:
        """Publish a camera's state, at most once a second; see `Sink`."""
        frame = result.frame
        if frame.kind != "live":
            return
        if frame.source not in self._cameras:
            self._cameras[frame.source] = _CameraState(
                self._broker, frame.source, self._alerts, self._problems
            )
        found = [one for one in self._counting.counts if one.source == frame.source]
        if found:
            self._cameras[frame.source].update(_state(found[-1]))
        self._report()

    def finish(self, source: str = "") -> None:
        """Say that a camera that has ended is offline; see `Sink`."""
        for name in [source] if source else list(self._cameras):
            if name in self._cameras:
                self._cameras.pop(name).end()

    def close(self) -> None:
        """Say that all cameras are offline; see `Sink`."""
        self.finish()
        self._report()

    def _report(self) -> None:
        if self._problems and not self._reported:
            self._reported = True
            self._on_failure(
                MaskyoloError(
                    f"cannot reach --mqtt {self._broker.shown}: {self._problems[0]}",
                    "it is tried again until the end",
                )
            )


class _CameraState:
    """The state of one camera, and its connection, which paho keeps up in a thread."""

    def __init__(self, broker: Broker, source: str, alerts: bool, problems: deque[str]) -> None:
        self._topic = state_topic(broker, source)
        self._availability = availability_topic(broker, source)
        self._discovery = discovery(broker, source, alerts=alerts)
        self._problems = problems
        self._state: dict[str, Any] = {}
        self._published = -LONGEST
        self._client = broker.client()
        self._client.will_set(self._availability, "offline", qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.connect_async(broker.host, broker.port, KEEP_ALIVE)
        self._client.loop_start()

    def update(self, state: dict[str, Any]) -> None:
        """Publish the state if it has changed, or to show that it is still true."""
        pause = time.monotonic() - self._published
        if pause >= LONGEST or (pause >= SHORTEST and state != self._state):
            self._published, self._state = time.monotonic(), state
            self._publish()

    def end(self) -> None:
        """Say that the camera is offline, and disconnect, in the connection's thread.

        If the process ends before that, the broker publishes the last will, which is the same.
        """
        if self._client.is_connected():
            self._client.publish(self._availability, "offline", qos=1, retain=True)
        self._client.disconnect()

    def _publish(self) -> None:
        if self._client.is_connected():
            self._client.publish(self._topic, json.dumps(self._state), retain=True)

    def _on_connect(
        self, client: paho.Client, data: Any, flags: Any, code: Any, properties: Any
    ) -> None:
        del data, flags, properties
        if code.is_failure:
            self._problems.append(str(code).lower())
            return
        for topic, message in self._discovery.items():
            client.publish(topic, message, qos=1, retain=True)
        client.publish(self._availability, "online", qos=1, retain=True)
        if self._state:
            self._publish()

    def _on_connect_fail(self, client: paho.Client, data: Any) -> None:
        del client, data
        self._problems.append("no connection")


def _state(counts: SourceCounts) -> dict[str, Any]:
    """Return how many people are visible now, and the share of today's time with a mask in %."""
    share = mask_share(counts.seen)
    now = dict(zip(counts.names, counts.now, strict=True))
    return {name: now.get(name, 0) for name in (*CLASS_NAMES, *counts.names)} | {
        "share_with_mask": None if share is None else round(100 * share, 1)
    }
