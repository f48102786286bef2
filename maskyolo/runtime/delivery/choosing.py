"""The targets that the options ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from maskyolo.runtime.addresses import display_name
from maskyolo.runtime.delivery.mqtt import Broker, mqtt_target
from maskyolo.runtime.delivery.notifying import display_service, notify_targets
from maskyolo.runtime.delivery.webhook import display_host, webhook

if TYPE_CHECKING:
    from maskyolo.runtime.delivery.targets import Target

__all__ = ["Delivery", "recorded_targets", "targets_of"]


class Delivery(Protocol):
    """The options of `detect` and `serve` that say where alerts are delivered to."""

    @property
    def alert_url(self) -> str | None:
        """An HTTP(S) URL."""

    @property
    def mqtt(self) -> str | None:
        """The address of an MQTT broker."""

    @property
    def notify(self) -> Sequence[str] | None:
        """Addresses of apprise, or files with them."""

    @property
    def notify_images(self) -> bool:
        """Whether notifications have the image of the alert."""


def targets_of(options: Delivery) -> list[Target]:
    """Return where alerts are delivered to.

    Raises:
        DependencyError: an extra is not installed.
        MaskyoloError: an address is not valid.
    """
    targets = []
    if options.alert_url is not None:
        targets.append(webhook(options.alert_url))
    if options.mqtt is not None:
        targets.append(mqtt_target(Broker.parse(options.mqtt)))
    return targets + notify_targets(options.notify or (), images=options.notify_images)


def recorded_targets(options: Delivery) -> dict[str, Any]:
    """Return what `args.yaml` records of them, without secrets."""
    recorded: dict[str, Any] = {}
    if options.alert_url is not None:
        recorded["alert_url"] = display_host(options.alert_url)
    if options.mqtt is not None:
        recorded["mqtt"] = display_name(options.mqtt)
    if options.notify is not None:
        recorded["notify"] = [display_service(one) for one in options.notify]
    return recorded
