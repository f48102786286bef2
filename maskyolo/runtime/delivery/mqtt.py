"""Publishes alerts to an MQTT broker."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskyolo.core.installation import install_command
from maskyolo.core.text import printable
from maskyolo.errors import DependencyError, MaskyoloError
from maskyolo.runtime.addresses import display_name
from maskyolo.runtime.delivery.targets import Target, UndeliveredError

if TYPE_CHECKING:
    import paho.mqtt.client as paho

__all__ = ["PASSWORD", "Broker", "camera_id", "mqtt_target"]

#: Environment variable with the broker's password, which other users of the machine cannot see.
PASSWORD = "MASKYOLO_MQTT_PASSWORD"  # noqa: S105  a name

#: Seconds for the broker to accept a connection, and to confirm an alert.
TIMEOUT = 10.0
#: Seconds between signs of life. The broker publishes the last will after one and a half of these.
KEEP_ALIVE = 30

_HINT = f"use mqtt://user@host:1883, or mqtts:// for TLS, and the password in {PASSWORD}"


@dataclass(frozen=True)
class Broker:
    """An MQTT broker, and the topic below which everything is published.

    Attributes:
        host: its name or IP address.
        port: its TCP port.
        tls: whether the connection is encrypted, and the broker's certificate checked.
        user: the user's name, if there is one.
        password: the user's password, if there is one.
        topic: the topic, such as `maskyolo`.
        shown: the address without its secrets.
    """

    host: str
    port: int
    tls: bool
    user: str = field(repr=False)
    password: str = field(repr=False)
    topic: str
    shown: str

    @classmethod
    def parse(cls, address: str) -> Broker:
        """Return the broker at an address such as `mqtts://user:password@host:8883/topic`.

        Without a password, that in the environment variable `PASSWORD` is used.

        Raises:
            DependencyError: the extra `mqtt` is not installed.
            MaskyoloError: the address is not valid.

        Example:
            >>> Broker.parse("mqtt://me:secret@10.0.0.2").shown
            'mqtt://***@10.0.0.2'
        """
        shown = display_name(address)
        try:
            parts = urllib.parse.urlsplit(address)
            port = parts.port
        except ValueError:  # its text contains part of the address
            parts, port = urllib.parse.urlsplit(""), None
        topic = urllib.parse.unquote(parts.path).strip("/") or "maskyolo"
        extra = parts.query or "#" in address
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or extra:
            raise MaskyoloError("--mqtt is not the address of an MQTT broker", _HINT)
        if re.search(r"[+#\x00-\x1f]|//", topic):
            raise MaskyoloError(
                f"cannot publish to --mqtt {shown}: its topic has a wildcard or an empty level",
                "use a topic such as home/maskyolo",
            )
        if importlib.util.find_spec("paho") is None:
            raise DependencyError(
                "cannot use --mqtt: paho-mqtt is not installed", f"run: {install_command('mqtt')}"
            )
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname,
            port or (8883 if tls else 1883),
            tls,
            urllib.parse.unquote(parts.username or ""),
            urllib.parse.unquote(parts.password or "") or os.environ.get(PASSWORD, ""),
            topic,
            shown,
        )

    def client(self) -> paho.Client:
        """Return a client that is not connected yet."""
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        client = paho.Client(CallbackAPIVersion.VERSION2)  # with a random id
        if self.user:
            client.username_pw_set(self.user, self.password or None)
        if self.tls:
            client.tls_set()
        client.reconnect_delay_set(1, KEEP_ALIVE)
        return client

    def alert_topic(self, source: str) -> str:
        """Return the topic of the alerts of a source, by its name without secrets."""
        return f"{self.topic}/{camera_id(source)}/alert"


def camera_id(source: str) -> str:
    """Return a name of a source that is valid in topics and Home Assistant, and stays the same.

    Args:
        source: the source's name without secrets.

    Example:
        >>> camera_id("rtsp://***@10.0.0.5/live")
        'rtsp_10_0_0_5_live_8fd3a0'
    """
    words = re.sub(r"[^a-z0-9]+", "_", source.lower()).strip("_")[-40:].strip("_")
    digest = hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()
    return f"{words}_{digest[:6]}" if words else digest[:6]


def mqtt_target(broker: Broker) -> Target:
    """Return the target that publishes alerts, confirmed by the broker (quality of service 1)."""
    connection = _Connection(broker)
    place = f"{broker.user}@{broker.host}:{broker.port}/{broker.topic}"
    return Target("--mqtt", broker.shown, place, connection.send, connection.close)


class _Connection:
    """A connection for alerts, made for the first one and again after each failure."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._client: paho.Client | None = None

    def send(self, data: bytes) -> None:
        """Publish an alert and wait until the broker has it.

        Raises:
            UndeliveredError: there is no connection, or no confirmation in time.
        """
        event: dict[str, Any] = json.loads(data)
        topic = self._broker.alert_topic(str(event.get("source", "")))
        try:
            client = self._client = self._client or _connected(self._broker)
            info = client.publish(topic, json.dumps({"event_type": "alert"} | event), qos=1)
            info.wait_for_publish(TIMEOUT)
            confirmed = info.is_published()
        except (OSError, RuntimeError, ValueError) as error:
            self.close()  # a client would send it again later, out of order
            raise UndeliveredError(printable(_reason(error))[:200]) from error
        if not confirmed:
            self.close()
            raise UndeliveredError(f"not confirmed within {TIMEOUT:g} s")

    def close(self) -> None:
        """Disconnect; this does not wait for the broker."""
        if self._client:
            self._client.disconnect()
        self._client = None


def _connected(broker: Broker) -> paho.Client:
    """Return a client that the broker has accepted.

    Raises:
        OSError: there is no connection.
        RuntimeError: the broker refuses it.
    """
    client, answered = broker.client(), threading.Event()
    refused: list[str] = []

    def on_connect(client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        del client, data, flags, properties
        if code.is_failure:
            refused.append(str(code).lower())
        answered.set()

    client.on_connect = on_connect
    client.connect(broker.host, broker.port, KEEP_ALIVE)
    client.loop_start()
    if not answered.wait(TIMEOUT) or refused:
        client.disconnect()
        raise RuntimeError(refused[0] if refused else f"no answer within {TIMEOUT:g} s")
    return client


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
