"""All checks in the order in which they are shown."""

from __future__ import annotations

from pathlib import Path

from maskyolo.doctor.check import Check
from maskyolo.doctor.machine import (
    check_cameras,
    check_display,
    check_output,
    check_processor,
    check_settings,
)
from maskyolo.doctor.software import (
    check_extras,
    check_fiftyone_database,
    check_opencv,
    check_openvino,
    check_packages,
    check_python,
    check_torch,
)
from maskyolo.doctor.weights import check_models, check_third_party_weights

__all__ = ["diagnose"]


def diagnose(project: Path | str = "runs") -> list[Check]:
    """Check the installation and return the results, the most important first.

    Nothing is changed, written or sent anywhere; cameras are opened and closed again.

    Args:
        project: the folder that runs would be written to; it need not exist.
    """
    return [
        *check_python(),
        *check_packages(),
        *check_opencv(),
        *check_display(),
        *check_models(),
        *check_third_party_weights(),
        *check_processor(),
        *check_openvino(),
        *check_torch(),
        *check_extras(),
        *check_fiftyone_database(),
        *check_cameras(),
        *check_output(Path(project)),
        *check_settings(),
    ]
