"""The fixed choices of options, as enums: help and shell completion offer their values."""

from __future__ import annotations

from maskyolo.core.options import Choice
from maskyolo.errors import MaskyoloError

__all__ = [
    "Architecture",
    "BackendName",
    "Bystanders",
    "CrossCheck",
    "ExportFormat",
    "ExportPrecision",
    "FaceDetectorName",
    "ImageCache",
    "Optimizer",
    "Pipeline",
    "Precision",
    "SourceFormat",
    "Split",
]


class Pipeline(Choice):
    """How faces with and without a mask are found.

    Attributes:
        YOLO: one forward pass per image.
        TWO_STAGE: a face detector, then a classifier of each face, as in the projects of 2020.
    """

    YOLO = "yolo"
    TWO_STAGE = "two-stage"


class BackendName(Choice):
    """The runtime that computes a network; `AUTO` chooses by file and machine."""

    AUTO = "auto"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"


class Precision(Choice):
    """The number format that a network computes in; `AUTO` is BF16 where the CPU supports it."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"

    @classmethod
    def advice(cls, value: str) -> MaskyoloError | None:
        """Explain how to get int8, which a loaded network cannot be switched to."""
        if value != "int8":
            return None
        return MaskyoloError(
            "cannot compute in int8 on demand: int8 needs calibration images",
            "run `maskyolo export --format openvino --precision int8 --images FOLDER` and give "
            "its result as --model",
        )


class FaceDetectorName(Choice):
    """A face detector.

    Attributes:
        SSD: OpenCV's SSD, run several times per image, for reliable label boxes.
        SSD_PLAIN: one pass of it at 300x300, as the projects of 2020 use it.
        YUNET: YuNet, which also gives landmarks.
        HAAR: OpenCV's Haar cascade.
    """

    SSD = "ssd"
    SSD_PLAIN = "ssd-plain"
    YUNET = "yunet"
    HAAR = "haar"


class Split(Choice):
    """A split of a data set."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class SourceFormat(Choice):
    """The format of photos to convert.

    Attributes:
        AUTO: found out for each source.
        FOLDERS: one folder per class.
        VOC: Pascal VOC annotations.
        COCO: a COCO `.json` file.
        YOLO: a `data.yaml` with its folders.
    """

    AUTO = "auto"
    FOLDERS = "folders"
    VOC = "voc"
    COCO = "coco"
    YOLO = "yolo"


class CrossCheck(Choice):
    """Which models check and complete the faces that SSD finds while a data set is labeled.

    Attributes:
        BOTH: YuNet, and maskyolo-n-folders for the boxes.
        YUNET: YuNet alone.
        NONE: none; SSD alone decides.
    """

    BOTH = "both"
    YUNET = "yunet"
    NONE = "none"


class Bystanders(Choice):
    """How the faces beside a photo's subject get their class.

    Attributes:
        DETECTOR: maskyolo-n-folders decides; if it is unsure, the face is blanked out.
        BLANK: all are blanked out.
        SET_ASIDE: photos with bystanders are left out.
        FOLDER: they get the folder's class.
    """

    DETECTOR = "detector"
    BLANK = "blank"
    SET_ASIDE = "set-aside"
    FOLDER = "folder"


class Architecture(Choice):
    """The backbone of the two-stage pipeline's classifier, by torchvision's name.

    The manifest knows their ImageNet weights by the same names.
    """

    MOBILENET_V2 = "mobilenet_v2"
    RESNET50 = "resnet50"


class Optimizer(Choice):
    """The optimizer that trains the two-stage pipeline's classifier."""

    ADAM = "adam"
    RMSPROP = "rmsprop"


class ImageCache(Choice):
    """Where a training keeps decoded images."""

    RAM = "ram"
    DISK = "disk"
    NONE = "none"


class ExportFormat(Choice):
    """A file format that a detector can be exported to."""

    OPENVINO = "openvino"
    ONNX = "onnx"
    NCNN = "ncnn"
    TFLITE = "tflite"


class ExportPrecision(Choice):
    """The number format of an exported model's weights."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
