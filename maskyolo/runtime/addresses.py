"""HTTP requests within limits, and addresses shown without passwords."""

from __future__ import annotations

import re
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

__all__ = ["display_name", "http_request"]


def display_name(source: str | int | Path) -> str:
    """Return a source as it may be shown and stored.

    In an address, every password becomes `***`, including those in the query.
    """
    text = str(source)
    if "://" not in text:
        return text
    # also catches passwords with a / that is not written as %2F
    text = re.sub(r"(://[^/:@?#]*):(?!\d*(?:[/?#]|$)).*@", r"\1:***@", text)
    return re.sub(
        r"([?&;][^=&;#]*(?:pass|pwd|token|secret|key|auth|sig)[^=&;#]*=)[^&;#]+",
        r"\1***",
        text,
        flags=re.IGNORECASE,
    )


def http_request(
    url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> urllib.request.Request:
    """Return a request for an HTTP(S) address, which posts `data` if given.

    A user name and password in the address are sent as basic authentication, but not to where the
    server redirects.

    Raises:
        ValueError: not a valid address; its text may contain part of a password.
    """
    # urllib, not requests: it trusts the system's certificates, as cameras of an organization
    # need it, reads no .netrc, and its errors do not contain the address with its secrets.
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    place = parts._replace(netloc=host).geturl()
    request = urllib.request.Request(place, data, {"User-Agent": "maskyolo", **(headers or {})})  # noqa: S310
    if login:
        request.add_unredirected_header(
            "Authorization", "Basic " + b64encode(urllib.parse.unquote_to_bytes(login)).decode()
        )
    return request
