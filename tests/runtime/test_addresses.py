"""Addresses are shown without anything that could be a password."""

from __future__ import annotations

import pytest

from maskyolo.runtime.addresses import display_name, hide_addresses

#: Addresses of cameras and services, with `secret` where each has its password or token, and how
#: they are shown.
ADDRESSES = [
    # logins, also with characters that should be escaped
    ("rtsp://me:secret@10.0.0.5:554/x", "rtsp://***@10.0.0.5:554/x"),
    ("rtsp://:secret@10.0.0.5/x", "rtsp://***@10.0.0.5/x"),
    ("rtsp://secret@10.0.0.5/x", "rtsp://***@10.0.0.5/x"),
    ("rtsp://me:sec/secret@host/x", "rtsp://***@host/x"),
    ("rtsp://me:s@secret@host/x", "rtsp://***@host/x"),
    ("rtsp://me:1/secret@10.0.0.5/x", "rtsp://***@10.0.0.5/x"),
    ("rtsp://me:a?secret#b@10.0.0.5/x", "rtsp://***@10.0.0.5/x"),
    ("rtsp://me:a@10.0.0.5/secret@10.0.0.6/x", "rtsp://***@10.0.0.6/x"),
    ("http://me:secret@[fe80::1]:8080/x", "http://***@[fe80::1]:8080/x"),
    # Dahua, Hikvision, Axis: nothing in them is secret
    (
        "rtsp://10.0.0.5/cam/realmonitor?channel=1&subtype=0&unicast=true&proto=Onvif",
        "rtsp://10.0.0.5/cam/realmonitor?channel=1&subtype=0&unicast=true&proto=Onvif",
    ),
    ("rtsp://10.0.0.5/Streaming/Channels/101", "rtsp://10.0.0.5/Streaming/Channels/101"),
    (
        "http://axis.local/axis-cgi/mjpg/video.cgi?resolution=640x480&fps=5",
        "http://axis.local/axis-cgi/mjpg/video.cgi?resolution=640x480&fps=5",
    ),
    ("rtsp://10.0.0.5/h264Preview_01_main", "rtsp://10.0.0.5/h264Preview_01_main"),
    # XMeye and others with the login in the path
    (
        "rtsp://10.0.0.5:554/user=me_password=secret_channel=1_stream=0.sdp?real_stream",
        "rtsp://10.0.0.5:554/user=***_channel=1_stream=0.sdp?real_stream",
    ),
    (
        "rtsp://10.0.0.5/user=me&password=sec/r_secret&channel=1&stream=0.sdp?",
        "rtsp://10.0.0.5/user=***&channel=1&stream=0.sdp?",
    ),
    ("rtsp://10.0.0.5/user=me_password=secret.sdp", "rtsp://10.0.0.5/user=***"),
    ("rtsp://10.0.0.5:554/0/me:secret/main", "rtsp://10.0.0.5:554/0/***/main"),
    # Foscam, Vstarcam, D-Link, Reolink and others with the login in the query
    (
        "http://10.0.0.5/videostream.cgi?loginuse=me&loginpas=secret&resolution=32",
        "http://10.0.0.5/videostream.cgi?loginuse=***&resolution=32",
    ),
    ("http://10.0.0.5/snap.cgi?usr=me&psw=secret", "http://10.0.0.5/snap.cgi?usr=***"),
    ("http://10.0.0.5/mjpg?u=me&p=secret&fps=5", "http://10.0.0.5/mjpg?u=***&fps=5"),
    (
        "http://10.0.0.5/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr=me&pwd=secret",
        "http://10.0.0.5/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr=***",
    ),
    (
        "rtmp://10.0.0.5/bcs/channel0_main.bcs?channel=0&stream=0&user=me&password=secret",
        "rtmp://10.0.0.5/bcs/channel0_main.bcs?channel=0&stream=0&user=***",
    ),
    ("http://10.0.0.5/x?pwd=a&secret&channel=3", "http://10.0.0.5/x?pwd=***&channel=3"),
    # tokens
    ("rtsps://10.0.0.5:7441/sEcReT5fJK2h9Lab?enableSrtp", "rtsps://10.0.0.5:7441/***?enableSrtp"),
    (
        "https://bucket.example.org/a/cat.jpg?X-Amz-Credential=secret&X-Amz-Signature=secret",
        "https://bucket.example.org/a/cat.jpg?X-Amz-Credential=***",
    ),
    ("http://example.org/dl?secret", "http://example.org/dl?***"),
    ("http://example.org/dl?c2VjcmV0==", "http://example.org/dl?***"),
    ("http://example.org/x#secret", "http://example.org/x#***"),
    ("http://example.org/x?fps=5#secret", "http://example.org/x?fps=5#***"),
    ("http://example.org/x;jsessionid=secret", "http://example.org/x;jsessionid=***"),
    ("srt://example.org:9000?passphrase=secret", "srt://example.org:9000?passphrase=***"),
    ("http://example.org/x?stream=secret/../$&fps=1", "http://example.org/x?stream=***&fps=1"),
    ("http://example.org/x?id=5", "http://example.org/x?id=5"),
    ("http://example.org/x?id=123456", "http://example.org/x?id=***"),
    # nothing to hide
    ("http://example.org/img@2x.png", "http://example.org/img@2x.png"),
    ("http://host/x", "http://host/x"),
    ("a:b@c.jpg", "a:b@c.jpg"),
    (0, "0"),
]


@pytest.mark.parametrize(("address", "shown"), ADDRESSES)
def test_what_may_be_a_password_is_not_shown(address: str | int, shown: str) -> None:
    assert display_name(address) == shown
    assert "secret" not in shown.lower()


def test_addresses_in_a_text_are_shown_without_passwords() -> None:
    text = "\n".join(f"error: cannot open '{address}', twice" for address, _ in ADDRESSES[:-4])
    shown = hide_addresses(text)
    assert "secret" not in shown.lower()
    assert shown.count("error: cannot open") == shown.count("', twice") == len(ADDRESSES) - 4
