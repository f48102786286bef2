"""Convert a Keras mask classifier (`mask_detector.model`, `.h5`) to ONNX, without TensorFlow.

An HDF5 file contains the layers' settings as JSON and their weights as arrays, so h5py and onnx
suffice. Layers are converted one by one: MobileNetV2, ResNet50 and any other network that consists
of the layers in `_LAYERS` work. https://keras.io/api/layers documents what each layer computes.
Files of Keras 2 and HDF5 files of Keras 3 are supported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.detectors.classifier import METADATA_KEY, CropSettings
from maskyolo.errors import DependencyError, MaskyoloError, WeightsError
from maskyolo.export.keras_graph import FloatArray, KerasGraph, to_onnx_model

__all__ = ["SCALINGS", "convert_keras"]

#: How Keras' `preprocess_input` scales pixels, as mean and standard deviation of R, G, B in 0..1:
#: `tf` is MobileNetV2's, `caffe` ResNet50's (which also expects BGR), `unit` a division by 255.
#: From keras/src/applications/imagenet_utils.py.
SCALINGS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "tf": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "torch": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def convert_keras(
    model: Path | str,
    out: Path | str,
    scaling: str = "tf",
    names: tuple[str, ...] = CLASS_NAMES,
    margin: float = 0.0,
) -> CropSettings:
    """Convert a Keras classifier of face crops to an ONNX file for `--pipeline two-stage`.

    Args:
        model: HDF5 file with settings and weights, as
            `model.save("mask_detector.model", save_format="h5")` writes it.
        out: the `.onnx` file to write.
        scaling: how pixels were scaled in training, one of `SCALINGS`.
        names: class names in the order of the outputs; scikit-learn's `LabelBinarizer` and Keras'
            `flow_from_directory` sort them.
        margin: margin added on each side of a face before it is cropped, as a fraction of its width
            and height.

    Returns:
        How faces are cropped for the classifier, as stored in the ONNX file.

    Raises:
        DependencyError: h5py or onnx is not installed.
        WeightsError: not an HDF5 model of Keras, an unsupported layer, or not a classifier of two
            classes.
        MaskyoloError: an unknown scaling, or class names other than ours.
        OutputError: `out` cannot be written.

    Example:
        >>> convert_keras("mask_detector.model", "mask_detector.onnx")  # doctest: +SKIP
    """
    if scaling not in SCALINGS:
        raise MaskyoloError(f"unknown scaling '{scaling}'", f"choose one of {', '.join(SCALINGS)}")
    if sorted(names) != sorted(CLASS_NAMES):
        raise MaskyoloError(
            f"names must be {' and '.join(CLASS_NAMES)} in any order, got {', '.join(names)}",
            "give them in the order of the model's outputs",
        )
    try:
        import onnx

        from maskyolo.models.onnx_files import write_onnx
    except ImportError as error:
        raise _missing("onnx") from error
    path = Path(model)
    config, weights = _read(path)
    graph = KerasGraph(path, weights)
    size, output = graph.build(config, bgr=scaling == "caffe")
    mean, std = SCALINGS[scaling]
    settings = CropSettings(
        arch="keras", size=size, mean=mean, std=std, margin=margin, names=tuple(names)
    )
    proto = to_onnx_model(graph, size)
    if graph.nodes[-1].op_type != "Softmax" or graph.units.get(output) != len(CLASS_NAMES):
        raise WeightsError(
            f"cannot convert {path}: it does not end in a softmax over {len(CLASS_NAMES)} classes",
            "give a mask classifier",
        )
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(
            f"cannot convert {path}: its layers do not fit together: {reason}",
            "use the file as Keras saved it",
        ) from error
    write_onnx(proto, out, metadata={METADATA_KEY: settings.to_json()})
    return settings


def _missing(package: str) -> DependencyError:
    return DependencyError(
        f"converting a Keras model needs the package {package}, which is not installed",
        'run: pip install "maskyolo[keras]"',
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, FloatArray]]]:
    """Return the model's settings, and the weights by layer and path, such as `Conv1/kernel:0`."""
    try:
        import h5py
    except ImportError as error:
        raise _missing("h5py") from error
    if path.is_dir():
        raise WeightsError(
            f"cannot convert {path}: a folder is TensorFlow's SavedModel",
            "save it as HDF5 where TensorFlow is installed: "
            f"tf.keras.models.load_model('{path.name}').save('{path.stem}.h5')",
        )
    if not path.is_file():
        raise WeightsError(f"cannot convert {path}: no such file", "give a .model or .h5 file")
    try:
        with h5py.File(path) as file:
            text = file.attrs["model_config"]
            config = json.loads(text if isinstance(text, str) else bytes(text).decode())
            weights = {
                name: {
                    _text(key): np.asarray(group[_text(key)], np.float32)
                    for key in group.attrs.get("weight_names", ())
                }
                for name, group in file["model_weights"].items()
                if isinstance(group, h5py.Group)
            }
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        found = "it has only weights" if isinstance(error, KeyError) else "not HDF5, or damaged"
        raise WeightsError(
            f"cannot convert {path}: {found}",
            "give a model that Keras saved with its layers (model.save('x.h5'))",
        ) from error
    return config, weights


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
