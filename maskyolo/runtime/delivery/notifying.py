"""Sends alerts as messages through Telegram, mail, Slack and others, with apprise."""

from __future__ import annotations

import importlib.util
import json
import logging
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from maskyolo.core.installation import install_command
from maskyolo.core.parsing import ParseError, read_text
from maskyolo.errors import DependencyError, MaskyoloError
from maskyolo.runtime.addresses import HIDDEN
from maskyolo.runtime.delivery.targets import Target, UndeliveredError

__all__ = ["display_service", "notify_targets"]

#: Maximum size in bytes of a file with addresses.
_MAX_FILE = 64 << 10

#: apprise is not written for several threads.
_GUARD = threading.Lock()


def notify_targets(addresses: Sequence[str], *, images: bool) -> list[Target]:
    """Return the targets that send alerts to people.

    Args:
        addresses: addresses of apprise (https://appriseit.com/services/), such as
            `tgram://TOKEN/CHAT`, or names of files with one per line.
        images: attach the image of each alert.

    Raises:
        DependencyError: the extra `notify` is not installed.
        MaskyoloError: an address is not one of apprise, or a file cannot be read.
    """
    if not addresses:
        return []
    if importlib.util.find_spec("apprise") is None:
        raise DependencyError(
            "cannot use --notify: apprise is not installed", f"run: {install_command('notify')}"
        )
    found = [one for given in addresses for one in _addresses(given)]
    return [
        Target("--notify", display_service(one), one, partial(_send, _service(one), images))
        for one in found
    ]


def display_service(address: str) -> str:
    """Return the service of an address of apprise; any other part can be a token.

    A name of a file is returned unchanged.

    Example:
        >>> display_service("tgram://123:secret/456")
        'tgram://***'
    """
    scheme, separator, _ = address.partition("://")
    return f"{scheme}://{HIDDEN}" if separator else address


def _addresses(given: str) -> list[str]:
    if "://" in given:
        return [given]
    try:
        lines = [line.strip() for line in read_text(Path(given), _MAX_FILE).splitlines()]
    except OSError as error:
        raise MaskyoloError(
            f"cannot read --notify {given}: {(error.strerror or str(error)).lower()}",
            "use an address of apprise, or a file with one per line",
        ) from error
    except ParseError as error:
        raise MaskyoloError(f"cannot read --notify {given}: {error}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _service(address: str) -> Any:
    import apprise

    # what it logs can contain tokens
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    logging.getLogger("apprise").propagate = False
    service = apprise.Apprise()
    if not service.add(address):
        raise MaskyoloError(
            f"cannot notify {display_service(address)}: it is not a complete address of apprise",
            "see https://appriseit.com/services/",
        )
    return service


def _send(service: Any, images: bool, data: bytes) -> None:
    event: dict[str, Any] = json.loads(data)
    image = str(event.get("image", ""))
    attached = image if images and image and Path(image).is_file() else None
    with _GUARD:
        sent = service.notify(
            title="No mask", body=_text(event), notify_type="warning", attach=attached
        )
    if not sent:
        raise UndeliveredError("the service did not accept it")


def _text(event: dict[str, Any]) -> str:
    """Return an alert as text for people."""
    when = event.get("datetime") or f"{event.get('time', 0):.1f} s"
    what = {"incorrect_mask": "with a mask worn incorrectly"}.get(
        str(event.get("class")), "without a mask"
    )
    lines = [f"{event.get('source')}: person {event.get('track_id')} {what}", str(when)]
    return "\n".join(lines + ([str(event["image"])] if event.get("image") else []))
