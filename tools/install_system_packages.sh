#!/bin/sh
# Installs the Debian packages that some tests need: GStreamer's RTSP server.
# Does nothing if they are installed. Fails without apt-get or without permission to install.
set -eu
packages="python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
# shellcheck disable=SC2086  # one word per package
if dpkg-query --show $packages >/dev/null 2>&1; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
# shellcheck disable=SC2086
apt-get install --quiet=2 --no-install-recommends --yes $packages >/dev/null
