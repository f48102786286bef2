"""A real MQTT broker on loopback (mosquitto), and a client that records everything."""

from __future__ import annotations

import functools
import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from live import until
from paho.mqtt.enums import CallbackAPIVersion

__all__ = ["Listener", "Mosquitto"]


class Mosquitto:
    """A broker that can be stopped and started again on the same port.

    It remembers retained messages, and what subscribers with a name have missed.

    Args:
        folder: an empty folder for its files.
        login: the only user and the password; without it, anybody may connect.
        certificate: a file with a certificate and its key, for TLS.
    """

    def __init__(
        self, folder: Path, login: tuple[str, str] | None = None, certificate: Path | None = None
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "log_dest none",
        ]
        if folder.owner() == "root":  # otherwise, it becomes the user mosquitto
            lines.append("user root")
        if login:
            command = [shutil.which("mosquitto_passwd") or "", "-c", "-b", folder / "users", *login]
            subprocess.run(command, check=True, capture_output=True)
            lines.append(f"password_file {folder}/users")
        else:
            lines.append("allow_anonymous true")
        if certificate:
            lines += [f"certfile {certificate}", f"keyfile {certificate}"]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    @functools.cache
    def missing() -> str:
        """Return why it cannot run here, or an empty string."""
        if Mosquitto._program() and shutil.which("mosquitto_passwd"):
            return ""
        return "needs mosquitto; tools/install_system_packages.sh installs it on Debian, Ubuntu"

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        program = Mosquitto._program()
        assert program
        self._process = subprocess.Popen([program, "-c", self._config], stderr=subprocess.PIPE)
        until(self._answers)

    def stop(self) -> None:
        """Let it write what it remembers, and wait for its end."""
        if self._process:
            self._process.terminate()
            self._process.communicate()
        self._process = None

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self._process.communicate()[1]
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    @staticmethod
    def _program() -> str | None:
        return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Listener:
    """Subscribes to everything.

    Attributes:
        messages: the topic, the payload and whether it was retained, in the order of arrival.
    """

    def __init__(
        self, broker: Mosquitto, login: tuple[str, str] | None = None, name: str = ""
    ) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, clean_session=not name)
        if login:
            self._client.username_pw_set(*login)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(60)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def on(self, ending: str) -> list[Any]:
        """Return the payloads, as JSON if they are, of topics with an ending."""
        return [_read(text) for topic, text, _ in self.messages if topic.endswith(ending)]

    def _on_message(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        del client, data
        self.messages.append((message.topic, message.payload.decode(), message.retain))


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
