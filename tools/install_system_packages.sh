#!/bin/sh
# Installs the Debian packages that some tests need: GStreamer's RTSP server, Chromium and mosquitto.
# Does nothing for those that are installed. Fails without apt-get or without permission to
# install, but tries both first.
set -u
rtsp="python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
export DEBIAN_FRONTEND=noninteractive
failed=0
for packages in "$rtsp" chromium mosquitto; do
    # shellcheck disable=SC2086  # one word per package
    if dpkg-query --show $packages >/dev/null 2>&1; then
        continue
    fi
    # shellcheck disable=SC2086
    apt-get update --quiet=2 &&
        apt-get install --quiet=2 --no-install-recommends --yes $packages >/dev/null || failed=1
done
exit $failed
