"""Posts alerts to an HTTP(S) URL."""

from __future__ import annotations

import urllib.error
import urllib.parse
from functools import partial
from http.client import InvalidURL

from maskyolo.core.text import printable
from maskyolo.errors import MaskyoloError
from maskyolo.runtime.delivery.targets import RefusedError, Target, UndeliveredError
from maskyolo.runtime.downloads import NoRedirects, http_request, open_url

__all__ = ["display_host", "webhook"]

#: Seconds for a URL to answer.
TIMEOUT = 10.0

#: Answers that say that this alert is not acceptable, now or later. Others, such as 404 and 503,
#: also come from a server that is just being restarted or set up.
REFUSALS = frozenset({400, 405, 413, 415, 422})


def webhook(url: str) -> Target:
    """Return the target that posts alerts as JSON to a URL, with the login in it if there is one.

    Raises:
        MaskyoloError: it is not an HTTP(S) URL.
    """
    if not (url.lower().startswith(("http://", "https://")) and display_host(url)):
        raise MaskyoloError(
            "cannot post alerts: --alert-url is not an HTTP(S) URL", "use http://… or https://…"
        )
    return Target("--alert-url", display_host(url), url, partial(_post, url))


def display_host(url: str) -> str:
    """Return only the host of a URL; the rest of a webhook's URL is often secret."""
    try:
        return urllib.parse.urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _post(url: str, data: bytes) -> None:
    try:
        request = http_request(url, data, {"Content-Type": "application/json"})
        with open_url(request, TIMEOUT, TIMEOUT, NoRedirects()):
            pass  # the answer is not read
    except (ValueError, InvalidURL) as error:  # its text contains part of the URL
        raise RefusedError("not a valid URL") from error
    except urllib.error.HTTPError as error:
        error.close()
        if 300 <= error.code < 400:
            raise UndeliveredError(
                f"it redirects ({error.code}); use the URL it redirects to"
            ) from error
        kind = RefusedError if error.code in REFUSALS else UndeliveredError
        raise kind(_shown(error)) from error
    except Exception as error:
        raise UndeliveredError(_shown(getattr(error, "reason", None) or error)) from error


def _shown(reason: object) -> str:
    return printable(" ".join(str(reason).split()).lower())[:200]
