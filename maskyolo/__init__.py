"""Face-mask detection in one forward pass: from two folders of photos to a YOLO detector.

It detects in images, video and webcam streams.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskyolo.classifier_training import train_classifier
    from maskyolo.comparison import compare
    from maskyolo.convert import convert_dataset
    from maskyolo.detection import detect
    from maskyolo.detector_training import train_detector
    from maskyolo.evaluate import evaluate
    from maskyolo.export import export_model
    from maskyolo.formats import export_dataset
    from maskyolo.synthesize import synthesize_masks
    from maskyolo.yolo import load_detector

__all__ = [
    "compare",
    "convert_dataset",
    "detect",
    "evaluate",
    "export_dataset",
    "export_model",
    "load_detector",
    "synthesize_masks",
    "train_classifier",
    "train_detector",
]

__version__ = "0.1.0"

# Importing OpenVINO reports the import to Google Analytics and leaves a client id in ~/intel,
# unless this package is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

_HOMES = {
    "compare": "maskyolo.comparison",
    "convert_dataset": "maskyolo.convert",
    "detect": "maskyolo.detection",
    "evaluate": "maskyolo.evaluate",
    "export_dataset": "maskyolo.formats",
    "export_model": "maskyolo.export",
    "load_detector": "maskyolo.yolo",
    "synthesize_masks": "maskyolo.synthesize",
    "train_classifier": "maskyolo.classifier_training",
    "train_detector": "maskyolo.detector_training",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import maskyolo` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'maskyolo' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names too, before they are imported."""
    return sorted({*globals(), *__all__})
