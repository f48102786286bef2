"""Compose training scenes: many faces of a set's own photos, small and large, in one picture.

Folder photos mostly show one large face; streets show many small ones. And the two folders differ in more than masks: in size,
sharpness, shape of the crop, hair and shoulders around the face. A detector learns all that in place of the mask. So a scene takes
both classes equally often, at sizes drawn from one distribution, blurs and compresses both alike, and sets most faces into the head
and shoulders of another photo whose class is drawn apart, in that photo's light: little but the mask tells the class. The others stay
in their own, so that no seam becomes the mark of a face.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_area, clip_boxes
from maskyolo.core.files import write_atomic
from maskyolo.images import ImageArray, read_image
from maskyolo.labels import Labels, format_yolo

__all__ = ["Portrait", "SceneStyle", "compose_scene", "write_scenes"]

#: Most photos that scenes are made of: they are held in memory, at up to 0.7 MB each.
_MOST_PHOTOS = 6000


@dataclass(frozen=True)
class Portrait:
    """A picture with labelled faces that scenes may be cut from: BGR uint8 (H, W, 3), its boxes and class ids."""

    image: ImageArray
    labels: Labels


@dataclass(frozen=True)
class SceneStyle:
    """What scenes look like; sizes in pixels of the scene.

    Attributes:
        width: of every scene; the height is drawn between 9/16 of it and all of it.
        empty: share of scenes without a face.
        faces: least and most faces put into any other (those that find no room are left out).
        face_size: smallest and largest face, the root of its box's area; drawn evenly on a logarithmic scale.
        enlarged: most that a face is scaled up, so that no scene shows a blur that the camera did not make.
        natural: share of faces that stay in their own photo's head and shoulders.
        coarse: share of scenes that are shrunk, to half at most, as cameras of few pixels would have taken them.
        quality: least and most JPEG quality.
        real: share of scenes that are a real photo, as it is, with every face exchanged.
        far: faces of such a photo are at most this share of its longer side.
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
    style: SceneStyle | None = None,
    workers: int = 2,
    on_progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write `count` scenes made of `photos` as `scene_00000.jpg` into `images`, with their label files in `labels`.

    Args:
        photos: pictures with their labels, all of one split; photos are shrunk in memory to at most 480 px. Of more than 6,000 as many
            are drawn, the fewest of a kind first: with a mask, without, with no face.
        images: existing folder of the split's pictures.
        labels: existing folder of the split's labels.
        count: number of scenes; scene number i depends on the photos, `style`, `seed` and i only.
        seed: of everything random.
        style: sizes and numbers; see `SceneStyle`.
        workers: scenes worked on at once.
        on_progress: called with the number of scenes done.

    Raises:
        ImageError: a photo cannot be read.
        OutputError: a file cannot be written.
    """
    style = style or SceneStyle()
    with ThreadPoolExecutor(workers) as pool:
        portraits = list(
            pool.map(
                lambda photo: _shrunk(*photo),
                _drawn(photos, _MOST_PHOTOS, np.random.default_rng(seed)),
            )
        )
        by_class = _index(portraits)

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
    faces: dict[int, list[tuple[float, int, int]]],
    rng: np.random.Generator,
    style: SceneStyle,
) -> tuple[ImageArray, Labels, int]:
    """Compose one scene.

    Args:
        portraits: what it is cut from.
        faces: for each class id the faces to choose from: size in pixels, number of the portrait, number of the box in it;
            ascending by size.
        rng: of everything random in this scene.
        style: sizes and numbers.

    Returns:
        The scene BGR uint8 (H, W, 3), its labels, and the JPEG quality to write it with.
    """
    quality = int(rng.integers(*style.quality, endpoint=True))
    if rng.random() < style.real and (photo := _far_photo(portraits, style.far, rng)):
        scene, labels = _exchanged(portraits, photo, faces, style, rng)
    else:
        scene, labels = _crowd(portraits, faces, style, rng)
    return *_as_a_camera(scene, labels, style, rng), quality


def _drawn(
    photos: Sequence[tuple[Path, Labels]], most: int, rng: np.random.Generator
) -> list[tuple[Path, Labels]]:
    """Draw at most so many photos, in their order: of each kind (the class of the first face, or none) as many, or all if it has fewer."""
    if len(photos) <= most:
        return list(photos)
    kinds: dict[int, list[int]] = {}
    for number, (_, labels) in enumerate(photos):
        kinds.setdefault(int(labels.class_ids[0]) if len(labels) else -1, []).append(number)
    drawn: list[int] = []
    for place, numbers in enumerate(sorted(kinds.values(), key=len)):
        share = (most - len(drawn)) // (len(kinds) - place)
        drawn += rng.permutation(numbers)[:share].tolist()
    return [photos[number] for number in sorted(drawn)]


def _shrunk(path: Path, labels: Labels, longest: int = 480) -> Portrait:
    image = read_image(path)
    scale = min(1.0, longest / max(image.shape[:2]))
    if scale < 1:
        image = _resized(
            image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        )
    return Portrait(image, Labels(as_boxes(labels.boxes * np.float32(scale)), labels.class_ids))


def _resized(image: ImageArray, width: int, height: int) -> ImageArray:
    smaller = width < image.shape[1]
    return np.asarray(
        cv2.resize(
            image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        ),
        dtype=np.uint8,
    )


def _index(portraits: Sequence[Portrait]) -> dict[int, list[tuple[float, int, int]]]:
    faces: dict[int, list[tuple[float, int, int]]] = {0: [], 1: []}
    for number, portrait in enumerate(portraits):
        if (
            len(portrait.labels) > 1
        ):  # the others would stand unlabelled in whatever is cut around one
            continue
        for place, (size, class_id) in enumerate(
            zip(np.sqrt(box_area(portrait.labels.boxes)), portrait.labels.class_ids, strict=True)
        ):
            faces.setdefault(int(class_id), []).append((float(size), number, place))
    return {class_id: sorted(found) for class_id, found in faces.items()}


def _far_photo(
    portraits: Sequence[Portrait], far: float, rng: np.random.Generator
) -> Portrait | None:
    """Find a photo whose faces are all far away, or None where a few dozen tries find none."""
    for _ in range(50):
        photo = portraits[int(rng.integers(len(portraits)))]
        if len(photo.labels) and np.sqrt(box_area(photo.labels.boxes)).max() < far * max(
            photo.image.shape[:2]
        ):
            return photo
    return None


def _crowd(
    portraits: Sequence[Portrait],
    faces: dict[int, list[tuple[float, int, int]]],
    style: SceneStyle,
    rng: np.random.Generator,
) -> tuple[ImageArray, Labels]:
    """Put people of drawn classes and sizes before a background, the far ones first, so that near ones stand before them."""
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
        class_id = int(rng.integers(2))
        chosen = _choose(faces[class_id], size / style.enlarged, rng)
        if chosen is None:
            continue
        portrait, box = portraits[chosen[0]], chosen[1]
        if rng.random() >= style.natural:
            body = _choose(
                faces[int(rng.integers(2))], size / style.enlarged, rng
            )  # of either class, so that it tells nothing
            if body is not None:
                portrait, box = _with_face(portraits[body[0]], body[1], portrait, box, rng), body[1]
        patch, face = _cut(portrait, box, size, rng)
        for _ in range(8):
            x = rng.uniform(-0.4 * size, width - 0.6 * size) - face[0]
            y = rng.uniform(-0.4 * size, height - 0.6 * size) - face[1]
            cover = as_boxes([x, y, x + patch.shape[1], y + patch.shape[0]])
            if _most_covered(placed, cover) < 0.25:
                alpha = (
                    _oval(patch, face, rng, (0.65, 1.0))
                    if rng.random() < 0.3
                    else _soft_edges(patch, rng)
                )
                _paste(scene, patch, alpha, round(x), round(y))
                placed = np.concatenate([placed, as_boxes(np.add(face, [x, y, x, y]))])
                class_ids.append(class_id)
                break
    boxes = clip_boxes(placed, width, height)
    seen = box_area(boxes) > 0.5 * box_area(placed)
    return scene, Labels(boxes[seen], np.asarray(class_ids, dtype=np.int64)[seen])


def _exchanged(
    portraits: Sequence[Portrait],
    photo: Portrait,
    faces: dict[int, list[tuple[float, int, int]]],
    style: SceneStyle,
    rng: np.random.Generator,
) -> tuple[ImageArray, Labels]:
    """Exchange every face of a photo for another, of a class drawn anew; one that finds no donor keeps its own."""
    class_ids = photo.labels.class_ids.copy()
    for place, size in enumerate(np.sqrt(box_area(photo.labels.boxes))):
        class_id = int(rng.integers(2))
        donor = _choose(faces[class_id], size / style.enlarged, rng)
        if donor is not None:
            photo = _with_face(photo, place, portraits[donor[0]], donor[1], rng)
            class_ids[place] = class_id
    return photo.image, Labels(photo.labels.boxes, class_ids)


def _choose(
    faces: list[tuple[float, int, int]], least: float, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Choose a face of at least the given size; return the numbers of its portrait and of its box, or None if there is none."""
    first = bisect_left(faces, (least,))
    return faces[int(rng.integers(first, len(faces)))][1:] if first < len(faces) else None


def _with_face(
    body: Portrait, place: int, donor: Portrait, box: int, rng: np.random.Generator
) -> Portrait:
    """Lay the donor's face over the body's face at `place`, scaled to its box, in an oval that covers what was there."""
    x1, y1, x2, y2 = (float(value) for value in body.labels.boxes[place])
    u1, v1, u2, v2 = (float(value) for value in donor.labels.boxes[box])
    mirrored = rng.random() < 0.5
    margin = 0.3
    left, right = (
        max(0, int(u1 - margin * (u2 - u1))),
        min(donor.image.shape[1], int(u2 + margin * (u2 - u1)) + 1),
    )
    top, bottom = (
        max(0, int(v1 - margin * (v2 - v1))),
        min(donor.image.shape[0], int(v2 + margin * (v2 - v1)) + 1),
    )
    scale_x, scale_y = (x2 - x1) / (u2 - u1), (y2 - y1) / (v2 - v1)
    patch = _resized(
        donor.image[top:bottom, left:right],
        max(2, round((right - left) * scale_x)),
        max(2, round((bottom - top) * scale_y)),
    )
    face = (
        (u1 - left) * scale_x,
        (v1 - top) * scale_y,
        (u2 - left) * scale_x,
        (v2 - top) * scale_y,
    )
    patch = _lit_alike(patch, face, body, place, rng)
    if mirrored:
        patch = patch[:, ::-1]
        face = (patch.shape[1] - face[2], face[1], patch.shape[1] - face[0], face[3])
    image = body.image.copy()
    _paste(
        image,
        patch,
        _oval(patch, face, rng, (0.62, 0.75)),
        round(x1 - face[0]),
        round(y1 - face[1]),
    )
    return Portrait(image, body.labels)


def _lit_alike(
    patch: ImageArray,
    face: tuple[float, float, float, float],
    body: Portrait,
    place: int,
    rng: np.random.Generator,
) -> ImageArray:
    """Bring the light and tint of a face's upper part, which no mask hides, near to those of the face it will cover."""
    own, other = (
        _forehead(patch, face),
        _forehead(body.image, tuple(body.labels.boxes[place].tolist())),
    )
    if not own.size or not other.size:
        return patch
    gain = ((other.mean((0, 1)) + 8) / (own.mean((0, 1)) + 8)).clip(0.5, 2) ** rng.random()
    return np.asarray((patch * gain.astype(np.float32)).clip(0, 255), dtype=np.uint8)


def _forehead(image: ImageArray, face: tuple[float, ...]) -> ImageArray:
    x1, y1, x2, y2 = face
    side = 0.2 * (x2 - x1)
    return image[
        max(0, int(y1)) : max(0, int(y1 + 0.45 * (y2 - y1))),
        max(0, int(x1 + side)) : max(0, int(x2 - side)),
    ]


def _background(
    portraits: Sequence[Portrait], rng: np.random.Generator, width: int, height: int
) -> ImageArray:
    """Cover a canvas with strips of photos that show no face, stretched; on top of a photo blurred beyond recognition."""
    base = portraits[int(rng.integers(len(portraits)))].image
    scene = _resized(_resized(base, 10, 8), width, height)
    for _ in range(int(rng.integers(0, 14))):
        portrait = portraits[int(rng.integers(len(portraits)))]
        strip = _faceless(portrait, rng)
        if min(strip.shape[:2]) < 16:
            continue
        w, h = (int(value) for value in rng.uniform(0.15, 0.7, 2) * [width, height])
        patch = _resized(strip, w, h)
        x, y = (
            int(rng.integers(-w // 3, width - w // 2)),
            int(rng.integers(-h // 3, height - h // 2)),
        )
        _paste(scene, patch, _soft_edges(patch, rng), x, y)
    return scene


def _patchwork(
    portraits: Sequence[Portrait], rng: np.random.Generator, width: int, height: int
) -> ImageArray:
    """Cover a canvas with rows of photos' parts that show no face, in their own proportions: hair, clothes, walls, streets."""
    scene = _resized(
        _resized(portraits[int(rng.integers(len(portraits)))].image, 10, 8), width, height
    )
    y = 0
    while y < height:
        row = int(rng.integers(height // 8, height // 2))
        x = 0
        while x < width:
            part = _faceless(portraits[int(rng.integers(len(portraits)))], rng)
            if min(part.shape[:2]) < 16:
                x += row // 4
                continue
            scale = min(max(row / part.shape[0], 0.3), 2.5)
            part = _resized(
                part, max(4, round(part.shape[1] * scale)), max(4, round(part.shape[0] * scale))
            )[:row]
            part = part[:, ::-1] if rng.random() < 0.5 else part
            _paste(scene, part, _soft_edges(part, rng), x, y)
            x += part.shape[1]
        y += row
    return scene


def _faceless(portrait: Portrait, rng: np.random.Generator) -> ImageArray:
    """Return the part of a picture above, below, left or right of all its faces (a little away from them), which may be empty."""
    boxes = portrait.labels.boxes
    if not len(boxes):
        return portrait.image
    margin = 0.15 * float(np.sqrt(box_area(boxes)).max())
    left, top = (int(max(value, 0)) for value in boxes[:, :2].min(0) - margin)
    right, bottom = (int(value) for value in boxes[:, 2:].max(0) + margin)
    parts = [
        portrait.image[:, :left],
        portrait.image[:top],
        portrait.image[:, right:],
        portrait.image[bottom:],
    ]
    parts = [part for part in parts if min(part.shape[:2]) >= 16]
    return parts[int(rng.integers(len(parts)))] if parts else portrait.image[:0]


def _cut(
    portrait: Portrait, box: int, size: float, rng: np.random.Generator
) -> tuple[ImageArray, tuple[float, float, float, float]]:
    """Cut a face with a margin, scaled so that its box has the given size; return the patch and the box in it."""
    image = portrait.image
    x1, y1, x2, y2 = (float(value) for value in portrait.labels.boxes[box])
    face = np.sqrt((x2 - x1) * (y2 - y1))
    most = np.array([0.8, 0.7, 0.8, 1.6]) * (
        3 if rng.random() < 0.5 else 1
    )  # more below: shoulders
    margins = rng.uniform(0.08, most) * face
    left, top = max(0, int(x1 - margins[0])), max(0, int(y1 - margins[1]))
    right, bottom = (
        min(image.shape[1], int(x2 + margins[2]) + 1),
        min(image.shape[0], int(y2 + margins[3]) + 1),
    )
    scale = size / face
    stretched = np.sqrt(rng.uniform(0.8, 1.25))
    patch = image[top:bottom, left:right]
    width, height = (
        max(2, round(patch.shape[1] * scale * stretched)),
        max(2, round(patch.shape[0] * scale / stretched)),
    )
    patch = _resized(patch, width, height)
    mirrored = rng.random() < 0.5
    patch = patch[:, ::-1] if mirrored else patch
    scale_x, scale_y = width / (right - left), height / (bottom - top)
    x1, x2 = (x1 - left) * scale_x, (x2 - left) * scale_x
    if mirrored:
        x1, x2 = width - x2, width - x1
    light: npt.NDArray[np.float32] = np.float32(rng.uniform(0.6, 1.25)) * patch + np.float32(
        rng.uniform(-25, 25)
    )
    blur = rng.uniform(0, 0.05) * size if rng.random() < 0.4 else 0.0
    if blur > 0.3:
        light = cv2.GaussianBlur(light, (0, 0), blur).astype(np.float32)
    return light.clip(0, 255).astype(np.uint8), (x1, (y1 - top) * scale_y, x2, (y2 - top) * scale_y)


def _soft_edges(patch: ImageArray, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return the opacity (H, W, 1) in 0..1 of a patch whose edges are soft enough not to give it away."""
    height, width = patch.shape[:2]
    soft = max(1.0, rng.uniform(0.02, 0.12) * min(height, width))
    edge_x = np.minimum(np.arange(width) + 1, width - np.arange(width)) / soft
    edge_y = np.minimum(np.arange(height) + 1, height - np.arange(height)) / soft
    alpha: npt.NDArray[np.float32] = (
        edge_y.clip(0, 1)[:, None, None] * edge_x.clip(0, 1)[None, :, None]
    ).astype(np.float32)
    return alpha


def _oval(
    patch: ImageArray,
    face: tuple[float, float, float, float],
    rng: np.random.Generator,
    radius: tuple[float, float],
) -> npt.NDArray[np.float32]:
    """Return the opacity (H, W, 1) in 0..1 that leaves of a patch an oval around its face, soft at the rim; radius in sides of the box."""
    height, width = patch.shape[:2]
    x1, y1, x2, y2 = face
    radius_x, radius_y = rng.uniform(*radius) * (x2 - x1), rng.uniform(*radius) * (y2 - y1)
    away_x = (np.arange(width) + 0.5 - (x1 + x2) / 2) / radius_x
    away_y = (np.arange(height) + 0.5 - (y1 + y2) / 2) / radius_y
    rim = rng.uniform(0.05, 0.25)
    alpha: npt.NDArray[np.float32] = (
        ((1 - np.hypot(away_y[:, None, None], away_x[None, :, None])) / rim)
        .clip(0, 1)
        .astype(np.float32)
    )
    return alpha


def _paste(
    scene: ImageArray, patch: ImageArray, alpha: npt.NDArray[np.float32], x: int, y: int
) -> None:
    """Lay a patch over the scene at (x, y), which may reach out of it, with the given opacity."""
    height, width = patch.shape[:2]
    left, top = max(0, -x), max(0, -y)
    right, bottom = min(width, scene.shape[1] - x), min(height, scene.shape[0] - y)
    if left >= right or top >= bottom:
        return
    under = scene[y + top : y + bottom, x + left : x + right]
    part = alpha[top:bottom, left:right]
    under[:] = (part * patch[top:bottom, left:right] + (1 - part) * under + 0.5).astype(np.uint8)


def _as_a_camera(
    scene: ImageArray, labels: Labels, style: SceneStyle, rng: np.random.Generator
) -> tuple[ImageArray, Labels]:
    """Expose the whole scene longer or shorter, shrink it, blur it and add noise, now and then, as cameras do."""
    height, width = scene.shape[:2]
    if rng.random() < style.coarse:
        shrunk = rng.uniform(0.5, 1)
        scene = _resized(scene, max(1, round(width * shrunk)), max(1, round(height * shrunk)))
        scale = np.array([scene.shape[1] / width, scene.shape[0] / height] * 2, dtype=np.float32)
        labels = Labels(labels.boxes * scale, labels.class_ids)
    result = scene.astype(np.float32)
    if rng.random() < 0.4:
        result = 255 * (result / 255) ** np.float32(
            np.exp(rng.uniform(-0.5, 0.8))
        )  # a gamma; above 1 it darkens
    if rng.random() < 0.25:
        result = cv2.GaussianBlur(result, (0, 0), rng.uniform(0.4, 1.2)).astype(np.float32)
    if rng.random() < 0.4:
        result += rng.normal(0, rng.uniform(2, 10), (*scene.shape[:2], 1)).astype(np.float32)
    return result.clip(0, 255).astype(np.uint8), labels


def _most_covered(boxes: Boxes, covers: Boxes) -> float:
    """Return the largest share of any of `boxes` that any of `covers` hides; 0 without either."""
    if not len(boxes) or not len(covers):
        return 0.0
    sides = (
        np.minimum(boxes[:, None, 2:], covers[None, :, 2:])
        - np.maximum(boxes[:, None, :2], covers[None, :, :2])
    ).clip(min=0)
    return float((sides[..., 0] * sides[..., 1] / box_area(boxes)[:, None].clip(min=1e-6)).max())
