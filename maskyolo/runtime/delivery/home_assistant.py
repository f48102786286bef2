"""What Home Assistant needs to show a camera by itself (MQTT discovery)."""

from __future__ import annotations

import json
from typing import Any

from maskyolo.runtime.delivery.mqtt import Broker, camera_id

__all__ = ["EXPIRES", "availability_topic", "discovery", "state_topic"]

#: Seconds without a new state after which Home Assistant shows that it is not known.
EXPIRES = 120


def state_topic(broker: Broker, source: str) -> str:
    """Return the topic of a camera's counts."""
    return f"{broker.topic}/{camera_id(source)}/state"


def availability_topic(broker: Broker, source: str) -> str:
    """Return the topic that says `online`, or `offline` after the end of the process."""
    return f"{broker.topic}/{camera_id(source)}/availability"


def discovery(broker: Broker, source: str, *, alerts: bool) -> dict[str, str]:
    """Return the messages, by topic, that make a camera's sensors appear.

    See https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery.

    Args:
        broker: where they will be published.
        source: the camera's name without secrets.
        alerts: whether it raises alerts.
    """
    own = f"maskyolo_{camera_id(source)}"
    shared = {
        "availability_topic": availability_topic(broker, source),
        "device": {
            "identifiers": [own],
            "name": f"maskyolo {source}",
            "manufacturer": "maskyolo",
        },
        "origin": {"name": "maskyolo"},
    }
    sensors: dict[str, dict[str, Any]] = {
        "with_mask": {"name": "With a mask", "icon": "mdi:face-mask"},
        "without_mask": {"name": "Without a mask", "icon": "mdi:face-man"},
        "share_with_mask": {
            "name": "Masks today",
            "unit_of_measurement": "%",
            "icon": "mdi:percent",
        },
    }
    messages: dict[str, dict[str, Any]] = {
        f"homeassistant/sensor/{own}/{key}/config": {
            "unique_id": f"{own}_{key}",
            "state_topic": state_topic(broker, source),
            "value_template": f"{{{{ value_json.{key} }}}}",
            "state_class": "measurement",
            "expire_after": EXPIRES,
        }
        | shared
        | sensor
        for key, sensor in sensors.items()
    }
    if alerts:
        messages[f"homeassistant/event/{own}/alert/config"] = {
            "name": "No mask",
            "unique_id": f"{own}_alert",
            "state_topic": broker.alert_topic(source),
            "event_types": ["alert"],
            "icon": "mdi:alert",
        } | shared
    return {topic: json.dumps(message) for topic, message in messages.items()}
