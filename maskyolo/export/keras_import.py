"""Convert a Keras mask classifier (`mask_detector.model`, `.h5`) to ONNX, without TensorFlow.

An HDF5 file contains the layers' settings as JSON and their weights as arrays, so h5py and onnx
suffice. Layers are converted one by one: MobileNetV2, ResNet50 and any other network that consists
of the layers in `_LAYERS` work. https://keras.io/api/layers documents what each layer computes.
Files of Keras 2 and HDF5 files of Keras 3 are supported.
"""

from __future__ import annotations

from pathlib import Path

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.detectors.classifier import METADATA_KEY, CropSettings
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.export.keras_file import missing_package, read_keras
from maskyolo.export.keras_graph import KerasGraph

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

    Examples:
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
        raise missing_package("onnx") from error
    path = Path(model)
    config, weights = read_keras(path)
    graph = KerasGraph(path, weights)
    try:
        size, proto = graph.convert(config, bgr=scaling == "caffe")
        onnx.checker.check_model(proto, full_check=True)
    except WeightsError:
        raise
    except Exception as error:  # the settings, which are JSON, can have any type and value
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise WeightsError(
            f"cannot convert {path}: its layers do not fit together: {reason}",
            "use the file as Keras saved it",
        ) from error
    mean, std = SCALINGS[scaling]
    settings = CropSettings(
        arch="keras", size=size, mean=mean, std=std, margin=margin, names=tuple(names)
    )
    write_onnx(proto, out, metadata={METADATA_KEY: settings.to_json()})
    return settings
