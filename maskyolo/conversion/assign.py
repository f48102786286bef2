"""Decide which photos are in the set, and assign them to splits; near-copies stay together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from maskyolo.conversion.photos import Photo
from maskyolo.core.images import list_images, read_image
from maskyolo.dataset.ledger import LedgerRow
from maskyolo.dataset.near_copies import group_near_copies, near_copies, perceptual_hashes
from maskyolo.dataset.splits import assign_splits
from maskyolo.dataset.synthesis_log import Origin
from maskyolo.errors import DatasetError


def hash_benchmark(folders: Sequence[Path | str], workers: int) -> dict[str, str]:
    """Return the images in folders that the set must not contain: file by perceptual hash.

    Raises:
        DatasetError: there is no such folder, or it has no images.
        ImageError: an image cannot be read, so its near-copies could not be found.
    """
    hashes: dict[str, str] = {}
    with ThreadPoolExecutor(workers) as pool:
        for folder in map(Path, folders):
            images = list_images(folder)
            if not images:
                raise DatasetError(f"no images to exclude in {folder}", "give a folder of images")
            found = pool.map(lambda path: perceptual_hashes(read_image(path)), images)
            for path, (phash, _) in zip(images, found, strict=True):
                hashes.setdefault(phash, f"{folder.name}/{path.relative_to(folder).as_posix()}")
    return hashes


def settle(
    rows: Sequence[LedgerRow],
    photos: Sequence[Photo],
    shares: Mapping[str, float],
    seed: int,
    benchmark: Mapping[str, str],
    corrected: Mapping[str, str],
) -> list[LedgerRow]:
    """Decide which photos are in the set, and assign them to splits.

    Originals of synthesized photos and near-copies of a benchmark are left out. Groups of
    near-copies are numbered, and each group is assigned to one split.

    Args:
        rows: the rows of all photos, in the same order as `photos`.
        photos: the photos.
        shares: the fraction of each split that is not empty.
        seed: random seed of the splits.
        benchmark: files whose near-copies are left out, by perceptual hash.
        corrected: splits of manually corrected photos, by source; these do not change.

    Returns:
        The rows with their final status, group, image and split.
    """
    origins = {photo.source: photo.origin for photo in photos if photo.origin}
    wanted = {photo.source: photo.split for photo in photos if photo.split} | dict(corrected)
    settled = _set_aside(rows, origins, benchmark)
    settled = _number_groups(settled, origins)
    kept = [place for place, row in enumerate(settled) if row.in_set]
    in_set = [settled[place] for place in kept]
    splits = assign_splits(
        [row.group for row in in_set],
        [(row.class_name, row.size) for row in in_set],
        dict(shares),
        seed,
        [row.source for row in in_set],
        _fixed_groups(in_set, shares, wanted, corrected),
    )
    for place, split in zip(kept, splits, strict=True):
        image = settled[place].image.replace("images/", f"images/{split}/", 1)
        settled[place] = replace(settled[place], split=split, image=image)
    return settled


def _set_aside(
    rows: Sequence[LedgerRow], origins: Mapping[str, Origin], benchmark: Mapping[str, str]
) -> list[LedgerRow]:
    """Mark originals of masked copies, and near-copies of a benchmark, as not in the set."""
    masked = {
        origins[row.source].sha256: row.source
        for row in rows
        if row.in_set and row.source in origins and origins[row.source].left_out
    }
    near = _near_benchmark(rows, benchmark)
    settled = []
    for place, row in enumerate(rows):
        if row.in_set and row.sha256 in masked and row.source not in origins:
            reason = f"{masked[row.sha256]} is the same photo with a drawn mask"
            row = replace(row, status="original", reason=reason, image="")
        elif place in near and (row.in_set or row.status == "duplicate"):
            row = replace(row, status="excluded", reason=f"near-copy of {near[place]}", image="")
        settled.append(row)
    return settled


def _near_benchmark(rows: Sequence[LedgerRow], benchmark: Mapping[str, str]) -> dict[int, str]:
    """Return the indices of rows that are near-copies of a benchmark's file, and that file."""
    hashed = [place for place, row in enumerate(rows) if row.phash]
    pairs = near_copies(
        [rows[place].phash for place in hashed],
        [rows[place].phash_mirrored for place in hashed],
        to=list(benchmark),
    )
    files = list(benchmark.values())
    # reversed, so that the first of several near-copies is named
    return {hashed[one]: files[other] for one, other in reversed(pairs.tolist())}


def _number_groups(rows: Sequence[LedgerRow], origins: Mapping[str, Origin]) -> list[LedgerRow]:
    """Number the groups of near-copies.

    A synthesized photo is in the same group as its original and the original's near-copies, even if
    the original itself is not among the photos.
    """
    hashed = [place for place, row in enumerate(rows) if row.phash]
    originals = {origin.sha256: origin.phash for origin in origins.values()}
    numbers = {sha256: len(hashed) + number for number, sha256 in enumerate(originals)}
    links = [
        (number, numbers[origins[rows[place].source].sha256])
        for number, place in enumerate(hashed)
        if rows[place].source in origins
    ]
    groups = group_near_copies(
        [*(rows[place].phash for place in hashed), *originals.values()],
        [*(rows[place].phash_mirrored for place in hashed), *originals.values()],
        links=links,
    )
    numbered = list(rows)
    for place, group in zip(hashed, groups[: len(hashed)], strict=True):
        numbered[place] = replace(numbered[place], group=int(group))
    return numbered


def _fixed_groups(
    rows: Sequence[LedgerRow],
    shares: Mapping[str, float],
    wanted: Mapping[str, str],
    corrected: Mapping[str, str],
) -> dict[int, str]:
    """Return the split of each group that contains a photo with a given split.

    Corrected photos take precedence; otherwise, the first row decides.
    """
    fixed: dict[int, str] = {}
    for row in sorted(rows, key=lambda row: row.source not in corrected):
        if wanted.get(row.source) in shares:
            fixed.setdefault(row.group, wanted[row.source])
    return fixed
