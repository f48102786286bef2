"""Annotated sets in Pascal VOC, COCO and YOLO format, read into one form and written from it."""

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray, decode_image, is_plain_rgb, write_image
from maskyolo.core.labels import IGNORE_CLASS
from maskyolo.dataset.formats.base import (
    CLASS_CHOICES,
    REST,
    AnnotatedPhoto,
    Checked,
    ExportedPhoto,
    FloatBoxes,
    check_boxes,
    list_files,
    map_classes,
)
from maskyolo.dataset.workfolder import MARKER, claim, is_taken, locked, publish, working_folder
from maskyolo.errors import DatasetError, ImageError, OutputError, output_errors

__all__ = ["CLASS_CHOICES", "AnnotatedPhoto", "map_classes"]
