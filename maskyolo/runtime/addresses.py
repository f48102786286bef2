"""Shows addresses without their passwords.

A camera's address can contain a password in many places. Only what is known to be harmless is
shown; everything else that could be a password becomes `***`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["display_name", "hide_addresses"]

HIDDEN = "***"

_HARMLESS_KEYS = """
    action av bitrate brightness cam camera camid camno ch chan channel channelid channelno
    channelnumber chid chno chnum clock cmd codec color command compression contrast date day delay
    device duration enablesrtp encoding end endtime format fps framerate frametype gop h height
    hour id idx index input lang lens linktype live main mirror mode month multicast name no number
    overlay page port preset profile proto protocol ptype quality rate realstream res resolution
    rotate rotation size slot start starttime stream streamid streamno streamprofile streamtype sub
    substream subtype tcp time track trackid transport transportmode type udp unicast v ver version
    video videocodec videocodectype videoid view w width year zoom
"""
#: Keys in paths and queries whose values are shown, without `_` and `-` and in lower case. They say
#: which image or stream is wanted, and cannot be passwords.
_HARMLESS = frozenset(_HARMLESS_KEYS.split())
#: Harmless keys whose values are only shown if they are short numbers; they can also be secrets.
_NUMBERED = frozenset({"id", "name", "streamid", "v"})
_HARMLESS_VALUE = re.compile(r"[\w.:,*-]{0,24}")
_NUMBER = re.compile(r"\d{0,4}")
#: A key and its equals sign, in a path (XMeye: `/user=me_password=secret_channel=1.sdp`) or query.
_PATH_KEY = re.compile(r"(?:^|(?<=[/&;,_!]))([A-Za-z][A-Za-z0-9.-]*=)")
_QUERY_KEY = re.compile(r"(?:^|(?<=[?&;#]))([^=&;#?]+=)")
_HOST = re.compile(r"(?:\[[^]/?#@]*\]|[\w.-]+)(?::\d*)?")
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")


def display_name(source: str | int | Path) -> str:
    """Return a source's name that is safe to show and store.

    A name that is not an address is returned unchanged. In an address, `***` replaces the login,
    the value of every key in the path or query that is not known to be harmless, and parts of the
    path and fragment that look like passwords or tokens.

    Example:
        >>> display_name("rtsp://me:secret@10.0.0.5/live?channel=1&token=abc")
        'rtsp://***@10.0.0.5/live?channel=1&token=***'
    """
    text = str(source)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    host, place = _without_login(rest)
    path, mark, query = _cut(place, "?#")
    shown = _hide(path, _PATH_KEY, "/&;,_!", _plain_path)
    return f"{scheme}://{host}{shown}{mark}{_hide(query, _QUERY_KEY, '&;#?', _plain_query)}"


def hide_addresses(text: str) -> str:
    """Return a text, such as a traceback, with every address in it as `display_name` shows it."""
    return _ADDRESS.sub(lambda found: display_name(found[0]), text)


def _without_login(rest: str) -> tuple[str, str]:
    """Split what follows `://` into the host, with `***@` for a login, and the rest.

    A password may contain an unescaped `/`, `?`, `#` or `@`.
    """
    authority, mark, place = _cut(rest, "/?#")
    login, at, host = authority.rpartition("@")
    known = "@" not in rest or "." in host or host.startswith(("[", "localhost"))
    if not known or not _HOST.fullmatch(host):
        login, at, authority = rest.rpartition("@")
        host, mark, place = _cut(authority, "/?#")
    elif login:
        path, query_mark, query = _cut(place, "?#")
        if "@" in path:  # all of this was the password
            path = path.rpartition("@")[2]
            host, mark, path = _cut(path, "/")
            place = path + query_mark + query
    if not _HOST.fullmatch(host):
        host = HIDDEN if host else host
    return (f"{HIDDEN}@" if at else "") + host, mark + place


def _hide(text: str, keys: re.Pattern[str], ends: str, plain: Callable[[str], str]) -> str:
    """Hide every value whose key is not harmless.

    Such a value may contain anything, so it ends only where the next harmless key begins.
    """
    before, *found = keys.split(text)
    shown, hiding, end = plain(before), False, ""
    for key, value in zip(found[::2], found[1::2], strict=True):
        if _is_harmless(key):
            shown += end if hiding else ""
            own, mark, tail = _cut(value, ends)
            name = _normalized(key)
            valid = _NUMBER if name in _NUMBERED else _HARMLESS_VALUE
            harmless = valid.fullmatch(own) and not _is_token(own)
            shown += key + (own if harmless else HIDDEN) + mark + plain(tail)
            hiding = False
        elif not hiding:
            # the key itself may be a secret in Base64, which ends with =
            shown += (key if value.strip("=" + ends) and len(key) < 40 else "") + HIDDEN
            hiding = True
        end = value[-1:] if value[-1:] in set(ends) else ""
    return shown


def _plain_path(path: str) -> str:
    """Hide the parts of a path without keys that look like a login or a token."""
    return "/".join(
        HIDDEN
        if ":" in part
        or (not _EXTENSION.search(part) and ("@" in part or any(map(_is_token, _words(part)))))
        else part
        for part in path.split("/")
    )


def _plain_query(query: str) -> str:
    """Hide the items of a query without a key, unless they are known words."""
    return "".join(
        item if not item or item in "&;#?" or _is_harmless(item) else HIDDEN
        for item in re.split(r"([&;#?])", query)
    )


def _is_token(word: str) -> bool:
    """Return whether a word looks random: long, with digits and letters of both cases, or hex."""
    if re.fullmatch(r"[0-9a-fA-F]{24,}", word):
        return True
    return len(word) >= 14 and all(re.search(kind, word) for kind in ("[0-9]", "[a-z]", "[A-Z]"))


def _words(part: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9]+", part)


def _is_harmless(key: str) -> bool:
    return _normalized(key) in _HARMLESS


def _normalized(key: str) -> str:
    return re.sub(r"[_-]|=$", "", key).lower()


def _cut(text: str, marks: str) -> tuple[str, str, str]:
    """Split a text at the first of some characters, like `str.partition`."""
    place = next((place for place, letter in enumerate(text) if letter in marks), len(text))
    return text[:place], text[place : place + 1], text[place + 1 :]
