"""Enums of options with fixed choices; help and shell completion list their values."""

from __future__ import annotations

from maskyolo.core.options import Choice

__all__ = [
    "Architecture",
    "BackendName",
    "Bystanders",
    "CrossCheck",
    "ExportFormat",
    "ExportPrecision",
    "FaceDetectorName",
    "ImageCache",
    "Logger",
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
    """The runtime that a network runs in; `AUTO` chooses by file type and hardware."""

    AUTO = "auto"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"


class Precision(Choice):
    """The precision that a network computes in; `AUTO` is the fastest that the CPU supports."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"


class FaceDetectorName(Choice):
    """A face detector.

    Attributes:
        SSD: OpenCV's SSD, run several times per image, for reliable label boxes.
        SSD_PLAIN: one pass of OpenCV's SSD at 300x300, as in the projects of 2020.
        YUNET: YuNet, which also gives landmarks.
        HAAR: OpenCV's Haar cascade.
        YOLO: any YOLO face detector; its weights must be given.
    """

    SSD = "ssd"
    SSD_PLAIN = "ssd-plain"
    YUNET = "yunet"
    HAAR = "haar"
    YOLO = "yolo"


class Split(Choice):
    """A split of a data set."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class SourceFormat(Choice):
    """The format of photos to convert.

    Attributes:
        AUTO: detected for each source.
        FOLDERS: one folder per class.
        VOC: Pascal VOC annotations.
        COCO: a COCO `.json` file.
        CVAT: the XML file of CVAT for images.
        LABEL_STUDIO: the JSON file of Label Studio.
        YOLO: a `data.yaml` with its folders.
    """

    AUTO = "auto"
    FOLDERS = "folders"
    VOC = "voc"
    COCO = "coco"
    YOLO = "yolo"
    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"


class CrossCheck(Choice):
    """Which models verify and complete the faces that SSD finds when photos are labeled.

    Attributes:
        BOTH: YuNet, and maskyolo-n-folders for more precise boxes and missed faces.
        YUNET: YuNet only.
        NONE: none; SSD's faces are used as they are.
    """

    BOTH = "both"
    YUNET = "yunet"
    NONE = "none"


class Bystanders(Choice):
    """How bystanders (faces other than the photo's subject) get their class.

    Attributes:
        DETECTOR: maskyolo-n-folders decides; a face it is unsure of is blanked out.
        BLANK: all are blanked out.
        SET_ASIDE: photos with bystanders are left out.
        FOLDER: all get the folder's class.
    """

    DETECTOR = "detector"
    BLANK = "blank"
    SET_ASIDE = "set-aside"
    FOLDER = "folder"


class Architecture(Choice):
    """The backbone of the two-stage pipeline's classifier, by its name in torchvision.

    The manifest lists its ImageNet weights under the same name.
    """

    MOBILENET_V2 = "mobilenet_v2"
    RESNET50 = "resnet50"


class Optimizer(Choice):
    """The optimizer that trains the two-stage pipeline's classifier."""

    ADAM = "adam"
    RMSPROP = "rmsprop"


class ImageCache(Choice):
    """Where training keeps decoded images."""

    RAM = "ram"
    DISK = "disk"
    NONE = "none"


class Logger(Choice):
    """Where a training is logged in addition to its folder; the values are names of packages."""

    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"
    WANDB = "wandb"


class ExportFormat(Choice):
    """A file format that a detector can be exported to."""

    OPENVINO = "openvino"
    ONNX = "onnx"
    NCNN = "ncnn"
    TFLITE = "tflite"


class ExportPrecision(Choice):
    """The precision of an exported model's weights."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
