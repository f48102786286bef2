"""What takes long to import is imported when it is used, and then works as ever."""

from __future__ import annotations

import subprocess
import sys

from paths import ROOT

ONNX = ROOT / "maskyolo" / "weights" / "maskyolo-n.onnx"


def test_scipy_is_imported_when_a_smoothed_trace_is_drawn() -> None:
    code = """
import sys
import numpy as np
from maskyolo.core.lazy_supervision import sv
assert not [name for name in sys.modules if name.startswith("scipy")], "not light"
annotator, frame = sv.TraceAnnotator(smooth=True), np.zeros((200, 200, 3), np.uint8)
for step in range(12):
    box = np.array([[10 + 5 * step, 10 + 3 * step, 40 + 5 * step, 40 + 3 * step]], np.float32)
    found = sv.Detections(xyxy=box, class_id=np.array([0]), tracker_id=np.array([1]))
    annotator.annotate(frame, found)
import scipy.interpolate
assert "splev" in vars(scipy.interpolate)
print(frame.any())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_scipy_that_is_imported_already_is_left_alone() -> None:
    code = """
import scipy.interpolate, scipy.spatial
from maskyolo.core.lazy_supervision import sv
from supervision.annotators import core
assert core.splev is scipy.interpolate.splev
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_openvinos_converter_is_imported_when_it_is_called() -> None:
    code = f"""
import sys
import maskyolo.models.backends.openvino
import openvino
assert "openvino.tools.ovc" not in sys.modules, "not light"
print(len(openvino.convert_model({str(ONNX)!r}).inputs))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_requests_is_imported_when_supervision_asks_for_an_address() -> None:
    code = """
import sys
from maskyolo.core.lazy_supervision import sv
assert not {"requests", "tqdm"} & set(sys.modules), "not light"
from supervision.utils import file
import requests
assert file.requests.RequestException is requests.RequestException
assert file.requests.get is requests.get
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_of_batch_start_without_what_they_may_not_need() -> None:
    code = """
import sys
import maskyolo.cli.batch
print(sorted({"cv2", "numpy", "openvino", "pyarrow", "supervision"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
