"""Face-mask detection in one forward pass: from two folders of photos to a YOLO detector.

It detects in images, video and webcam streams.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskyolo.adaptation.adapting import adapt
    from maskyolo.configuration.loading import load_config
    from maskyolo.conversion.convert import convert_dataset
    from maskyolo.dataset.formats.export import export_dataset
    from maskyolo.detectors.loading import load_detector
    from maskyolo.evaluation.comparison import compare
    from maskyolo.evaluation.evaluation import evaluate
    from maskyolo.export.export import export_model
    from maskyolo.live.serving import serve
    from maskyolo.reports.reporting import report
    from maskyolo.runtime.detection import detect
    from maskyolo.synthesis.synthesize import synthesize_masks
    from maskyolo.training.classifier import train_classifier
    from maskyolo.training.detector import train_detector
    from maskyolo.web.serving import serve_web

__all__ = [
    "adapt",
    "compare",
    "convert_dataset",
    "detect",
    "evaluate",
    "export_dataset",
    "export_model",
    "load_config",
    "load_detector",
    "report",
    "serve",
    "serve_web",
    "synthesize_masks",
    "train_classifier",
    "train_detector",
]

__version__ = "0.1.0"

# Importing OpenVINO reports the import to Google Analytics and leaves a client id in ~/intel,
# unless this package is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

_HOMES = {
    "adapt": "maskyolo.adaptation.adapting",
    "compare": "maskyolo.evaluation.comparison",
    "convert_dataset": "maskyolo.conversion.convert",
    "detect": "maskyolo.runtime.detection",
    "evaluate": "maskyolo.evaluation.evaluation",
    "export_dataset": "maskyolo.dataset.formats.export",
    "export_model": "maskyolo.export.export",
    "load_config": "maskyolo.configuration.loading",
    "load_detector": "maskyolo.detectors.loading",
    "report": "maskyolo.reports.reporting",
    "serve": "maskyolo.live.serving",
    "serve_web": "maskyolo.web.serving",
    "synthesize_masks": "maskyolo.synthesis.synthesize",
    "train_classifier": "maskyolo.training.classifier",
    "train_detector": "maskyolo.training.detector",
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
