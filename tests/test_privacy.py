"""Nothing leaves the machine: no connection, no DNS query, no telemetry, no file in the home."""

import os
import subprocess
import sys
from pathlib import Path

from paths import ROOT

WATCH = """
import json, sys
seen = []
watched = {"socket.connect", "socket.getaddrinfo", "socket.sendto"}
sys.addaudithook(lambda event, args: seen.append(event) if event in watched else None)
"""

JOBS = """
import cv2, maskyolo
from maskyolo.doctor import diagnose
from maskyolo.models.own import check_own_weights, own_weights
maskyolo.load_detector()(cv2.imread("data/samples/street.jpg"))
list(maskyolo.detect("data/samples/street.mp4", track=True, blur=True, vid_stride=25))
for path in own_weights():
    check_own_weights(path)
diagnose()
print(json.dumps([seen, str(sys.modules.get("openvino_telemetry"))]))
"""


def test_no_connection_and_no_telemetry(tmp_path: Path) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CI", "TF_BUILD", "JENKINS_URL")
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCH + JOBS],
        cwd=ROOT,
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == '[[], "None"]'
    assert not (tmp_path / "intel").exists()
