"""FiftyOne's fields, boxes and metadata of a photo, made from its label file and ledger row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskyolo.dataset.ledger import LEDGER_SIZES, size_class
from maskyolo.review.corrections import Face, same_box
from maskyolo.review.review_set import ReviewPhoto
from maskyolo.review.suspicions import Box

__all__ = [
    "LABELS",
    "LEDGER_FIELDS",
    "OTHER_BOXES",
    "PREDICTIONS",
    "declare_fields",
    "ledger_values",
    "make_detections",
    "make_labels",
    "make_metadata",
    "make_sample",
    "to_pixels",
    "to_relative",
]

#: Field of the labels.
LABELS = "ground_truth"

#: Fields of predictions, one per pipeline.
PREDICTIONS = ("predictions", "two_stage")

#: Fields of other boxes, in the order in which their tags are applied to the labels.
OTHER_BOXES = ("suggestions", *PREDICTIONS)

#: Fields of a sample that come from the ledger, with their descriptions.
LEDGER_FIELDS = {
    "source": "the photo's name in the ledger",
    "folder_class": "class of the folder it comes from",
    "status": "kept or corrected",
    "reason": "why, in words",
    "detector": "the face detector that was used",
    "face_size": f"size of its largest face: {', '.join(LEDGER_SIZES)}",
    "group": "number shared by near-copies",
}

_MIME_TYPES = {".png": "image/png", ".webp": "image/webp", ".bmp": "image/bmp"}


def declare_fields(fo: Any, samples: Any) -> None:
    """Declare all fields, so that the App shows and filters them even while they are empty.

    Args:
        fo: the module `fiftyone`.
        samples: a new data set of FiftyOne.
    """
    text, number, real = fo.StringField, fo.IntField, fo.FloatField
    for name, description in LEDGER_FIELDS.items():
        kind = number if name == "group" else text
        samples.add_sample_field(name, kind, description=description)
    samples.add_sample_field(
        "rank", number, description="place in review.csv; 1 is the most suspicious photo"
    )
    samples.add_sample_field(
        "suspicion", real, description="score of its most suspicious label, 0 to 1"
    )
    samples.add_sample_field(
        "reasons", fo.ListField, subfield=text, description="why it is suspicious"
    )
    samples.add_sample_field(
        "image", text, description="the image's name in the set", read_only=True
    )
    samples.add_sample_field("label_text", text, description="its label file as it was last read")
    attributes = {
        LABELS: {
            "line": number,
            "size": text,
            "origin": text,
            "decider": text,
            "score": real,
            "agreed": fo.BooleanField,
        },
        "predictions": {"size": text},
        "two_stage": {"size": text},
        "suggestions": {"reason": text, "line": number},
        "unmerged": {"size": text},
    }
    for name, parts in attributes.items():
        samples.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        for part, kind in parts.items():
            samples.add_sample_field(f"{name}.detections.{part}", kind)
    samples.create_index("image", unique=True)


def make_sample(fo: Any, photo: ReviewPhoto, names: Sequence[str]) -> Any:
    """Return FiftyOne's sample for a photo, with its labels and ledger row.

    Args:
        fo: the module `fiftyone`.
        photo: the photo.
        names: the set's classes by id.
    """
    return fo.Sample(
        filepath=str(photo.path),
        tags=[photo.split],
        metadata=make_metadata(fo, photo, photo.path.stat().st_size),
        image=photo.image,
        label_text=photo.text,
        ground_truth=make_labels(fo, photo, photo.faces(names)),
        **ledger_values(photo),
    )


def make_metadata(fo: Any, photo: ReviewPhoto, size: int) -> Any:
    """Return FiftyOne's metadata of an image file of `size` bytes."""
    return fo.ImageMetadata(
        size_bytes=size,
        mime_type=_MIME_TYPES.get(photo.path.suffix.lower(), "image/jpeg"),
        width=photo.width,
        height=photo.height,
        num_channels=3,
    )


def make_labels(
    fo: Any, photo: ReviewPhoto, faces: Sequence[Face | None], added: Sequence[Face] = ()
) -> Any:
    """Return labeled faces as FiftyOne's detections, with each one's data in the ledger.

    Args:
        fo: the module `fiftyone`.
        photo: the photo.
        faces: the faces in the order of the label file, None for removed ones. The line of each is
            stored as an attribute, so that edits made in the App can be matched to it.
        added: faces that are not in the label file yet.
    """
    found = []
    for line, face in enumerate([*faces, *added]):
        if face is not None:
            known = {"line": line} if line < len(faces) else {}
            found.append(_detection(fo, photo, face, **known, **_ledger_attributes(photo, face)))
    return fo.Detections(detections=found)


def make_detections(
    fo: Any, photo: ReviewPhoto, faces: Sequence[Face], confidence: Sequence[float] = ()
) -> Any:
    """Return faces that are not labels as FiftyOne's detections.

    Args:
        fo: the module `fiftyone`.
        photo: the photo.
        faces: the faces.
        confidence: confidence of each face; empty if unknown.
    """
    known = [{"confidence": score} for score in confidence] or [{}] * len(faces)
    found = [
        _detection(fo, photo, face, **attributes)
        for face, attributes in zip(faces, known, strict=True)
    ]
    return fo.Detections(detections=found)


def _detection(fo: Any, photo: ReviewPhoto, face: Face, **attributes: Any) -> Any:
    return fo.Detection(
        label=face.class_name,
        bounding_box=to_relative(face.box, photo),
        size=size_class([face.box], photo.width, photo.height),
        **attributes,
    )


def ledger_values(photo: ReviewPhoto) -> dict[str, Any]:
    """Return the values of `LEDGER_FIELDS`; all None without a ledger."""
    row = photo.row
    if row is None:
        return dict.fromkeys(LEDGER_FIELDS)
    values = (row.source, row.class_name, row.status, row.reason, row.detector, row.size, row.group)
    return dict(zip(LEDGER_FIELDS, values, strict=True))


def _ledger_attributes(photo: ReviewPhoto, face: Face) -> dict[str, Any]:
    """Return a box's data in the ledger; empty if it is not in the ledger."""
    row = photo.row
    if row is None:
        return {}
    place = next((place for place, box in enumerate(row.boxes) if same_box(box, face.box)), None)
    if place is None:
        return {}
    known: dict[str, Any] = {
        "origin": row.origins[place],
        "decider": row.deciders[place],
        "score": row.scores[place],
    }
    return known | ({"agreed": row.agreed[place]} if row.agreed else {})


def to_relative(box: Sequence[float], photo: ReviewPhoto) -> list[float]:
    """Convert xyxy pixels to FiftyOne's box: x, y, width, height as fractions (0 to 1)."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return [x1 / photo.width, y1 / photo.height, (x2 - x1) / photo.width, (y2 - y1) / photo.height]


def to_pixels(relative: Sequence[float], photo: ReviewPhoto) -> Box:
    """Convert FiftyOne's box (x, y, width, height as fractions) to xyxy pixels."""
    x, y, width, height = relative
    return (
        x * photo.width,
        y * photo.height,
        (x + width) * photo.width,
        (y + height) * photo.height,
    )
