"""HTTP requests within limits, and URLs shown without passwords."""

from __future__ import annotations

import re
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

__all__ = ["display_name", "http_request"]


def display_name(source: str | int | Path) -> str:
    """Return a source's name that is safe to show and store.

    Every password in a URL becomes `***`, including those in the query.
    """
    text = str(source)
    if "://" not in text:
        return text
    # also catches passwords that contain an unescaped /
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
    """Build a request for an HTTP(S) URL; with `data`, it is a POST.

    A user name and password in the URL are sent as basic authentication, but not to redirect
    targets.

    Raises:
        ValueError: the URL is not valid. The message may contain part of a password.
    """
    # urllib rather than requests: it trusts the system's certificates, which cameras with an
    # organization's own CA need, ignores .netrc, and leaves the URL and its secrets out of
    # errors.
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    place = parts._replace(netloc=host).geturl()
    request = urllib.request.Request(place, data, {"User-Agent": "maskyolo", **(headers or {})})  # noqa: S310
    if login:
        request.add_unredirected_header(
            "Authorization", "Basic " + b64encode(urllib.parse.unquote_to_bytes(login)).decode()
        )
    return request
