"""Compose training scenes: many faces of a data set's own photos, small and large, in one image.

Photos in class folders mostly show one large face, while streets show many small ones. Also, the
two folders differ in more than masks: in size, sharpness, crop shape, and the hair and shoulders
around the face. A detector would learn all of that instead of the mask. So scenes use both classes
equally often (and the third up to as often), with sizes drawn from one distribution, and blur and
compress all alike. Most faces are pasted onto the head and shoulders of another photo, whose class
is drawn independently, and matched to that photo's light, so that little but the mask indicates the
class. The other faces stay in their own photo, so that seams do not become a sign of a face.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskyolo.conversion.patches import (
    MIN_PART,
    Portrait,
    cut_background,
    cut_face,
    exchange_face,
    oval,
    paste,
    resized,
    soft_edges,
)
from maskyolo.core.boxes import Boxes, as_boxes, box_area, clip_boxes
from maskyolo.core.classes import INCORRECT_MASK_ID, WITH_MASK_ID, WITHOUT_MASK_ID
from maskyolo.core.files import write_atomic
from maskyolo.core.images import ImageArray, read_image
from maskyolo.core.labels import Labels, format_yolo

__all__ = ["SceneStyle", "compose_scene", "write_scenes"]

#: Maximum number of photos to make scenes from; they are kept in memory, at up to 0.7 MB each.
_MAX_PHOTOS = 6000

#: The faces to choose from, by class id and in ascending order of size: size in pixels, index of
#: the portrait, and index among its labels.
_Faces = dict[int, list[tuple[float, int, int]]]


@dataclass(frozen=True)
class SceneStyle:
    """What scenes look like; sizes are in pixels of the scene.

    Attributes:
        width: width of every scene; the height is drawn between 9/16 of the width and the width.
        empty: fraction of scenes without a face.
        faces: minimum and maximum number of faces to place in any other scene; faces for which
            there is no room are left out.
        face_size: minimum and maximum size of a face, the root of its box's area; drawn uniformly
            on a logarithmic scale.
        enlarged: maximum factor by which a face is enlarged, so that no face is blurrier than a
            camera would show it.
        natural: fraction of faces that keep the head and shoulders of their own photo.
        coarse: fraction of scenes that are downscaled, at most to half, as if taken by a camera
            with a low resolution.
        quality: minimum and maximum JPEG quality.
        real: fraction of scenes that are a real photo in which only the faces are exchanged.
        far: maximum size of the faces in such a photo, as a fraction of its longer side.
    """

    width: int = 640
    empty: float = 0.04
    faces: tuple[int, int] = (1, 28)
    face_size: tuple[float, float] = (12, 200)
    enlarged: float = 1.2
    natural: float = 0.4
    coarse: float = 0.4
    quality: tuple[int, int] = (45, 96)
    real: float = 0.25
    far: float = 0.4


def write_scenes(
    photos: Sequence[tuple[Path, Labels]],
    images: Path,
    labels: Path,
    count: int,
    *,
    seed: int = 0,
    class_ids: Sequence[int] = (WITH_MASK_ID, WITHOUT_MASK_ID),
    style: SceneStyle | None = None,
    workers: int = 2,
    on_progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write `count` scenes made of `photos`, as `scene_00000.jpg` and so on, with label files.

    Args:
        photos: images with their labels, all of one split. They are kept in memory, downscaled to
            at most 480 pixels; if there are more than 6,000, that many are drawn, and the rarest
            kinds (with a mask, without, no face) are kept.
        images: existing folder of the split's images.
        labels: existing folder of the split's labels.
        count: number of scenes; scene number i depends only on the photos, `style`, `seed` and i.
        seed: random seed.
        class_ids: the classes to choose faces from.
        style: what the scenes look like.
        workers: number of scenes to compose in parallel.
        on_progress: called with the number of scenes done.

    Returns:
        The images, in order.

    Raises:
        ImageError: a photo cannot be read.
        OutputError: a file cannot be written.
    """
    style = style or SceneStyle()
    with ThreadPoolExecutor(workers) as pool:
        portraits = list(
            pool.map(
                lambda photo: _shrunk(*photo),
                _drawn(photos, _MAX_PHOTOS, np.random.default_rng(seed)),
            )
        )
        by_class = _index(portraits, class_ids)

        def work(number: int) -> Path:
            image, found, quality = compose_scene(
                portraits, by_class, np.random.default_rng([seed, number]), style
            )
            path = images / f"scene_{number:05}.jpg"
            height, width = image.shape[:2]
            write_atomic(labels / f"{path.stem}.txt", format_yolo(found, width, height))
            write_atomic(
                path, cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            )
            return path

        paths = []
        for path in pool.map(work, range(count)):
            paths.append(path)
            if on_progress:
                on_progress(len(paths))
    return paths


def compose_scene(
    portraits: Sequence[Portrait],
    faces: _Faces,
    rng: np.random.Generator,
    style: SceneStyle,
) -> tuple[ImageArray, Labels, int]:
    """Compose one scene.

    Args:
        portraits: the images to cut from.
        faces: the faces to choose from, by class id and in ascending order of size: size in pixels,
            index of the portrait, and index of the face among its labels.
        rng: decides everything random in this scene.
        style: what the scene looks like.

    Returns:
        The scene, BGR uint8 (H, W, 3), its labels, and the JPEG quality to write it with.
    """
    quality = int(rng.integers(*style.quality, endpoint=True))
    if rng.random() < style.real and (photo := _far_photo(portraits, style.far, rng)):
        scene, labels = _exchanged(portraits, photo, faces, style, rng)
    else:
        scene, labels = _crowd(portraits, faces, style, rng)
    return *_as_a_camera(scene, labels, style, rng), quality


def _drawn(
    photos: Sequence[tuple[Path, Labels]], maximum: int, rng: np.random.Generator
) -> list[tuple[Path, Labels]]:
    """Draw up to `maximum` photos, and keep their order.

    The same number is drawn of each kind (the class of the first face, or no face), or all photos
    of a kind that has fewer.
    """
    if len(photos) <= maximum:
        return list(photos)
    kinds: dict[int, list[int]] = {}
    for number, (_, labels) in enumerate(photos):
        kinds.setdefault(int(labels.class_ids[0]) if len(labels) else -1, []).append(number)
    drawn: list[int] = []
    for place, numbers in enumerate(sorted(kinds.values(), key=len)):
        share = (maximum - len(drawn)) // (len(kinds) - place)
        drawn += rng.permutation(numbers)[:share].tolist()
    return [photos[number] for number in sorted(drawn)]


def _shrunk(path: Path, labels: Labels, longest: int = 480) -> Portrait:
    image = read_image(path)
    scale = min(1.0, longest / max(image.shape[:2]))
    if scale < 1:
        image = resized(
            image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        )
    return Portrait(image, Labels(as_boxes(labels.boxes * np.float32(scale)), labels.class_ids))


def _index(portraits: Sequence[Portrait], class_ids: Sequence[int]) -> _Faces:
    faces: _Faces = {class_id: [] for class_id in class_ids}
    for number, portrait in enumerate(portraits):
        # a patch around one of several faces would also show others, unlabeled
        if len(portrait.labels) > 1:
            continue
        for place, (size, class_id) in enumerate(
            zip(np.sqrt(box_area(portrait.labels.boxes)), portrait.labels.class_ids, strict=True)
        ):
            if class_id in faces:
                faces[int(class_id)].append((float(size), number, place))
    return {class_id: sorted(found) for class_id, found in faces.items()}


def _far_photo(
    portraits: Sequence[Portrait], far: float, rng: np.random.Generator
) -> Portrait | None:
    """Return a photo in which all faces are far away, or None if 50 tries find none."""
    for _ in range(50):
        photo = portraits[int(rng.integers(len(portraits)))]
        if len(photo.labels) and np.sqrt(box_area(photo.labels.boxes)).max() < far * max(
            photo.image.shape[:2]
        ):
            return photo
    return None


def _crowd(
    portraits: Sequence[Portrait],
    faces: _Faces,
    style: SceneStyle,
    rng: np.random.Generator,
) -> tuple[ImageArray, Labels]:
    """Place people of random classes and sizes in front of a background.

    The smallest come first, so that nearer people cover more distant ones.
    """
    width = style.width
    height = int(width * rng.uniform(9 / 16, 1))
    scene = (
        _patchwork(portraits, rng, width, height)
        if rng.random() < 0.7
        else _background(portraits, rng, width, height)
    )
    placed: Boxes = as_boxes([])
    class_ids: list[int] = []
    smallest, largest = style.face_size
    count = 0 if rng.random() < style.empty else int(rng.integers(*style.faces, endpoint=True))
    for size in np.sort(smallest * (largest / smallest) ** rng.random(count)):
        class_id = _draw_class(faces, rng)
        chosen = _choose(faces[class_id], size / style.enlarged, rng)
        if chosen is None:
            continue
        portrait, box = portraits[chosen[0]], chosen[1]
        if rng.random() >= style.natural:
            # a body of either class, so that it does not reveal the class
            body = _choose(faces[_draw_class(faces, rng)], size / style.enlarged, rng)
            if body is not None:
                portrait, box = (
                    exchange_face(portraits[body[0]], body[1], portrait, box, rng),
                    body[1],
                )
        patch, face = cut_face(portrait, box, size, rng)
        for _ in range(8):
            x = rng.uniform(-0.4 * size, width - 0.6 * size) - face[0]
            y = rng.uniform(-0.4 * size, height - 0.6 * size) - face[1]
            cover = as_boxes([x, y, x + patch.shape[1], y + patch.shape[0]])
            if _most_covered(placed, cover) < 0.25:
                alpha = (
                    oval(patch, face, rng, (0.65, 1.0))
                    if rng.random() < 0.3
                    else soft_edges(patch, rng)
                )
                paste(scene, patch, alpha, round(x), round(y))
                placed = np.concatenate([placed, as_boxes(np.add(face, [x, y, x, y]))])
                class_ids.append(class_id)
                break
    boxes = clip_boxes(placed, width, height)
    seen = box_area(boxes) > 0.5 * box_area(placed)
    return scene, Labels(boxes[seen], np.asarray(class_ids, dtype=np.int64)[seen])


def _exchanged(
    portraits: Sequence[Portrait],
    photo: Portrait,
    faces: _Faces,
    style: SceneStyle,
    rng: np.random.Generator,
) -> tuple[ImageArray, Labels]:
    """Replace each face of a photo with one of a random class, if there is one of its size."""
    class_ids = photo.labels.class_ids.copy()
    for place, size in enumerate(np.sqrt(box_area(photo.labels.boxes))):
        class_id = _draw_class(faces, rng)
        donor = _choose(faces[class_id], size / style.enlarged, rng)
        if donor is not None:
            photo = exchange_face(photo, place, portraits[donor[0]], donor[1], rng)
            class_ids[place] = class_id
    return photo.image, Labels(photo.labels.boxes, class_ids)


def _draw_class(faces: _Faces, rng: np.random.Generator) -> int:
    """Draw a class: with and without a mask equally often, the third no more often than they.

    It is drawn less often if it has fewer faces, so that the same few are not everywhere.
    """
    usual = int(rng.integers(2))
    third = faces.get(INCORRECT_MASK_ID)
    if third is None:
        return usual
    share = min(1.0, 2 * len(third) / max(1, len(faces[0]) + len(faces[1])))
    return INCORRECT_MASK_ID if rng.random() < share / (2 + share) else usual


def _choose(
    faces: list[tuple[float, int, int]], minimum: float, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Choose a face of a minimum size.

    Returns:
        The index of its portrait and its index among the labels, or None if there is none.
    """
    first = bisect_left(faces, (minimum,))
    return faces[int(rng.integers(first, len(faces)))][1:] if first < len(faces) else None


def _background(
    portraits: Sequence[Portrait], rng: np.random.Generator, width: int, height: int
) -> ImageArray:
    """Return a background of stretched parts of photos without faces.

    They lie on top of a photo that is blurred beyond recognition.
    """
    base = portraits[int(rng.integers(len(portraits)))].image
    scene = resized(resized(base, 10, 8), width, height)
    for _ in range(int(rng.integers(0, 14))):
        part = cut_background(portraits[int(rng.integers(len(portraits)))], rng)
        if min(part.shape[:2]) < MIN_PART:
            continue
        w, h = (int(value) for value in rng.uniform(0.15, 0.7, 2) * [width, height])
        patch = resized(part, w, h)
        x, y = (
            int(rng.integers(-w // 3, width - w // 2)),
            int(rng.integers(-h // 3, height - h // 2)),
        )
        paste(scene, patch, soft_edges(patch, rng), x, y)
    return scene


def _patchwork(
    portraits: Sequence[Portrait], rng: np.random.Generator, width: int, height: int
) -> ImageArray:
    """Return a background of rows of parts of photos without faces, with their aspect ratios kept.

    They show hair, clothes, walls and streets.
    """
    scene = resized(
        resized(portraits[int(rng.integers(len(portraits)))].image, 10, 8), width, height
    )
    y = 0
    while y < height:
        row = int(rng.integers(height // 8, height // 2))
        x = 0
        while x < width:
            part = cut_background(portraits[int(rng.integers(len(portraits)))], rng)
            if min(part.shape[:2]) < MIN_PART:
                x += row // 4
                continue
            scale = min(max(row / part.shape[0], 0.3), 2.5)
            part = resized(
                part, max(4, round(part.shape[1] * scale)), max(4, round(part.shape[0] * scale))
            )[:row]
            part = part[:, ::-1] if rng.random() < 0.5 else part
            paste(scene, part, soft_edges(part, rng), x, y)
            x += part.shape[1]
        y += row
    return scene


def _as_a_camera(
    scene: ImageArray, labels: Labels, style: SceneStyle, rng: np.random.Generator
) -> tuple[ImageArray, Labels]:
    """Randomly change the scene's resolution, exposure, sharpness and noise, as cameras do."""
    height, width = scene.shape[:2]
    if rng.random() < style.coarse:
        shrunk = rng.uniform(0.5, 1)
        scene = resized(scene, max(1, round(width * shrunk)), max(1, round(height * shrunk)))
        scale = np.array([scene.shape[1] / width, scene.shape[0] / height] * 2, dtype=np.float32)
        labels = Labels(labels.boxes * scale, labels.class_ids)
    result = scene.astype(np.float32)
    if rng.random() < 0.4:
        gamma = np.float32(np.exp(rng.uniform(-0.5, 0.8)))  # values above 1 darken
        result = (255 * (result / 255) ** gamma).astype(np.float32, copy=False)
    if rng.random() < 0.25:
        result = cv2.GaussianBlur(result, (0, 0), rng.uniform(0.4, 1.2)).astype(np.float32)
    if rng.random() < 0.4:
        result += rng.normal(0, rng.uniform(2, 10), (*scene.shape[:2], 1)).astype(np.float32)
    return result.clip(0, 255).astype(np.uint8), labels


def _most_covered(boxes: Boxes, covers: Boxes) -> float:
    """Return the largest fraction of any of `boxes` that one of `covers` hides, 0 if none."""
    if not len(boxes) or not len(covers):
        return 0.0
    sides = (
        np.minimum(boxes[:, None, 2:], covers[None, :, 2:])
        - np.maximum(boxes[:, None, :2], covers[None, :, :2])
    ).clip(min=0)
    return float((sides[..., 0] * sides[..., 1] / box_area(boxes)[:, None].clip(min=1e-6)).max())
