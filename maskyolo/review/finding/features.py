"""What can be said of a photo without training: its hashes, a second detector's faces, what a classifier makes of its labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskyolo.backends.openvino import OpenVinoNetwork
from maskyolo.boxes import Boxes, as_boxes, box_iou
from maskyolo.classifier import MAX_BATCH, METADATA_KEY, CropSettings, preprocess
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.errors import ImageError
from maskyolo.faces import Faces
from maskyolo.faces.yunet import YuNet
from maskyolo.images import ImageArray, decode_image
from maskyolo.labels import Labels, read_yolo
from maskyolo.splits import perceptual_hashes
from maskyolo.yolo import find_model

__all__ = ["Embedder", "Look", "Looker", "background_boxes"]

#: Least score of a face that the second detector reports; a weak one can still confirm a label.
_FACE_CONF = 0.3
#: Places of a photo that show what is no face.
_BACKGROUND = 2


@dataclass(frozen=True)
class Look:
    """What was seen in a photo.

    Attributes:
        width: in pixels.
        height: in pixels.
        labels: its labels.
        sha256: of its file.
        hashes: perceptual hash, and that of the mirrored photo.
        faces: of the second detector.
        probabilities: of each class for each label, by the classifier, float32 (n, 2).
        features: of each label, float32 (n, d).
        background: features of places of the labels' sizes where there is neither a label nor a face, float32 (k, d).
        whole: features of the whole photo, float32 (d,).
    """

    width: int
    height: int
    labels: Labels
    sha256: str
    hashes: tuple[str, str]
    faces: Faces
    probabilities: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    background: npt.NDArray[np.float32]
    whole: npt.NDArray[np.float32]


class Embedder:
    """The package's MobileNetV2 classifier, asked for what its last layers see as well: the features that its backbone makes of a crop."""

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
        """Return of the crops `boxes` (n, 4) of a BGR picture the probabilities (n, 2), with_mask first, and the features (n, 1280).

        Features have unit length.
        """
        probabilities, features = [np.zeros((0, 2), np.float32)], [np.zeros((0, 1280), np.float32)]
        for start in range(0, len(boxes), MAX_BATCH):
            found = self._request.infer(
                [preprocess(image, boxes[start : start + MAX_BATCH], self.settings)]
            )
            probabilities.append(np.array(found[0])[:, self._order])
            features.append(np.array(found[1]).reshape(-1, 1280))
        every = np.concatenate(features)
        return np.concatenate(probabilities), every / np.maximum(
            np.linalg.norm(every, axis=1, keepdims=True), 1e-9
        )


class Looker:
    """Looks at photos, one after the other."""

    def __init__(self) -> None:
        self._embed = Embedder()
        self._faces = YuNet(conf=_FACE_CONF)

    def __call__(self, image: Path, label: Path, classes: int = 2) -> Look:
        """Look at the photo `image` with the label file `label` of a set with so many classes.

        Raises:
            ImageError: the photo cannot be read.
            DatasetError: the label file does not parse.
        """
        try:
            data = image.read_bytes()
        except OSError as error:
            raise ImageError(
                f"cannot read picture {image}: {(error.strerror or str(error)).lower()}; check the file"
            ) from error
        picture = decode_image(data, name=str(image))
        height, width = picture.shape[:2]
        labels = read_yolo(label, width, height, classes)
        faces = self._faces.detect(picture)
        digest = hashlib.sha256(data)
        background = background_boxes(
            labels.boxes, faces.boxes, width, height, int.from_bytes(digest.digest()[:8], "big")
        )
        crops = np.concatenate([labels.boxes, background, as_boxes([0, 0, width, height])])
        probabilities, features = self._embed(picture, crops)
        return Look(
            width=width,
            height=height,
            labels=labels,
            sha256=digest.hexdigest(),
            hashes=perceptual_hashes(picture),
            faces=faces,
            probabilities=probabilities[: len(labels)],
            features=features[: len(labels)],
            background=features[len(labels) : -1],
            whole=features[-1],
        )


def background_boxes(labels: Boxes, faces: Boxes, width: int, height: int, seed: int) -> Boxes:
    """Return boxes of the first labels' (n, 4) sizes at random places that touch no label and no face (m, 4), where there are such."""
    rng = np.random.default_rng(seed)
    taken, found = np.concatenate([labels, faces]), []
    for side in (labels[:, 2:] - labels[:, :2])[:_BACKGROUND]:
        corners = rng.uniform(0, np.maximum([width, height] - side, 1), (20, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + side], axis=1)
        found.extend(boxes[box_iou(boxes, taken).max(axis=1, initial=0) == 0][:1])
    return as_boxes(found)
