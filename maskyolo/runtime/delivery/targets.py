"""What an alert can be delivered to, and how a delivery fails."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["RefusedError", "Target", "UndeliveredError"]


class UndeliveredError(Exception):
    """An alert did not arrive, and is tried again; the text says why, without any secrets."""


class RefusedError(Exception):
    """An alert will never be accepted; the text says why, without any secrets."""


@dataclass(frozen=True)
class Target:
    """Where alerts are delivered to.

    Attributes:
        option: the option that asks for it, such as `--alert-url`.
        shown: the address without its secrets.
        address: the address; alerts that wait for another address are not sent to this one.
        send: delivers one alert, UTF-8 JSON, and returns as soon as it has arrived. It raises
            `UndeliveredError` or `RefusedError`.
        close: called once after the last alert.
    """

    option: str
    shown: str
    address: str = field(repr=False)
    send: Callable[[bytes], None] = field(repr=False)
    close: Callable[[], None] = field(default=lambda: None, repr=False)

    @property
    def label(self) -> str:
        """The option and the address, for messages."""
        return f"{self.option} {self.shown}"

    @property
    def key(self) -> str:
        """A name for a folder, such as `alert-url-0f3a…`, that does not reveal the address.

        The hash is slow, so that a password in the address cannot be guessed from it.
        """
        digest = hashlib.scrypt(
            self.address.encode(errors="surrogateescape"),
            salt=b"maskyolo outbox",
            n=2**14,
            r=8,
            p=1,
            dklen=8,
        )
        return f"{self.option.strip('-')}-{digest.hex()}"
