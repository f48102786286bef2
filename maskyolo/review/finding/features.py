"""Computes what needs no training: a photo's hashes, faces, and features of its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, box_iou
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray, decode_image
from maskyolo.core.labels import Labels
from maskyolo.dataset.near_copies import perceptual_hashes
from maskyolo.detectors.classifier import MAX_BATCH, METADATA_KEY, CropSettings, preprocess
from maskyolo.detectors.faces.base import Faces
from maskyolo.detectors.faces.yunet import YuNet
from maskyolo.errors import ImageError
from maskyolo.models.backends.openvino import OpenVinoNetwork
from maskyolo.models.own import find_model

__all__ = ["CropEmbedder", "FaceFeatures", "FeatureExtractor", "background_boxes"]

#: Minimum score of faces from the second detector; even a weak one can confirm a label.
_FACE_CONF = 0.3

#: Maximum number of crops of the background per photo.
_BACKGROUND = 2

#: Length of MobileNetV2's features.
_FEATURES = 1280


@dataclass(frozen=True)
class FaceFeatures:
    """A photo's labels, and what was computed from the image. Features have unit length.

    Attributes:
        width: width of the image in pixels.
        height: height of the image in pixels.
        labels: its labels.
        sha256: SHA-256 of the image file.
        hashes: perceptual hashes of the image and of its mirror image.
        faces: faces that the second detector, YuNet, finds.
        probabilities: the classifier's probability of each class for each label, float32 (n, 2).
        label_features: features of the crop of each label, float32 (n, d).
        background_features: features of crops that have the labels' sizes but show no label and no
            face, float32 (k, d).
        photo_features: features of the whole photo, float32 (d,).
    """

    width: int
    height: int
    labels: Labels
    sha256: str
    hashes: tuple[str, str]
    faces: Faces
    probabilities: npt.NDArray[np.float32]
    label_features: npt.NDArray[np.float32]
    background_features: npt.NDArray[np.float32]
    photo_features: npt.NDArray[np.float32]


class CropEmbedder:
    """The package's MobileNetV2 classifier, extended to also return its features."""

    def __init__(self) -> None:
        network = OpenVinoNetwork(find_model("mobilenet_v2"))
        self.settings = CropSettings.from_json(network.metadata(METADATA_KEY)[METADATA_KEY])
        pooled = [
            layer
            for layer in network.model.get_ordered_ops()
            if layer.get_type_name() == "ReduceMean"
        ][-1]
        network.model.add_outputs(pooled.output(0))
        self._order = [self.settings.names.index(name) for name in CLASS_NAMES]
        self._request = network.compile().create_infer_request()

    def __call__(
        self, image: ImageArray, boxes: Boxes
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return probabilities and features of crops of an image.

        Args:
            image: BGR uint8 (H, W, 3).
            boxes: boxes to crop, xyxy pixels (n, 4).

        Returns:
            Probabilities float32 (n, 2), with_mask first, and features float32 (n, 1280) of unit
            length.
        """
        probabilities = [np.zeros((0, len(CLASS_NAMES)), np.float32)]
        features = [np.zeros((0, _FEATURES), np.float32)]
        for start in range(0, len(boxes), MAX_BATCH):
            crops = preprocess(image, boxes[start : start + MAX_BATCH], self.settings)
            found = self._request.infer([crops])
            probabilities.append(np.array(found[0])[:, self._order])
            features.append(np.array(found[1]).reshape(-1, _FEATURES))
        joined = np.concatenate(features)
        lengths = np.linalg.norm(joined, axis=1, keepdims=True)
        return np.concatenate(probabilities), joined / np.maximum(lengths, 1e-9)


class FeatureExtractor:
    """Computes the features of photos, one at a time."""

    def __init__(self) -> None:
        self._embed = CropEmbedder()
        self._faces = YuNet(conf=_FACE_CONF)

    def __call__(self, image: Path, read_labels: Callable[[int, int], Labels]) -> FaceFeatures:
        """Return the features of a photo.

        Args:
            image: the image file.
            read_labels: returns its labels, given its width and height in pixels.

        Raises:
            ImageError: the image cannot be read.
            DatasetError: the label file does not parse.
        """
        try:
            data = image.read_bytes()
        except OSError as error:
            raise ImageError(
                f"cannot read image {image}: {(error.strerror or str(error)).lower()}",
                "check the file",
            ) from error
        pixels = decode_image(data, name=str(image))
        height, width = pixels.shape[:2]
        labels = read_labels(width, height)
        faces = self._faces.detect(pixels)
        digest = hashlib.sha256(data)
        seed = int.from_bytes(digest.digest()[:8], "big")  # the same places in every run
        background = background_boxes(labels.boxes, faces.boxes, width, height, seed)
        crops = np.concatenate([labels.boxes, background, as_boxes([0, 0, width, height])])
        probabilities, features = self._embed(pixels, crops)
        return FaceFeatures(
            width=width,
            height=height,
            labels=labels,
            sha256=digest.hexdigest(),
            hashes=perceptual_hashes(pixels),
            faces=faces,
            probabilities=probabilities[: len(labels)],
            label_features=features[: len(labels)],
            background_features=features[len(labels) : -1],
            photo_features=features[-1],
        )


def background_boxes(labels: Boxes, faces: Boxes, width: int, height: int, seed: int) -> Boxes:
    """Return boxes at random places that overlap neither a label nor a face.

    Args:
        labels: xyxy pixels (n, 4); the result has the sizes of the first ones.
        faces: xyxy pixels (m, 4).
        width: width of the image in pixels.
        height: height of the image in pixels.
        seed: random seed of the places.

    Returns:
        float32 (k, 4); k is 0 if there is no room.
    """
    rng = np.random.default_rng(seed)
    taken, found = np.concatenate([labels, faces]), []
    for side in (labels[:, 2:] - labels[:, :2])[:_BACKGROUND]:
        corners = rng.uniform(0, np.maximum([width, height] - side, 1), (20, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + side], axis=1)
        found.extend(boxes[box_iou(boxes, taken).max(axis=1, initial=0) == 0][:1])
    return as_boxes(found)
