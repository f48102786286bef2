"""Decide which PyTorch checkpoints to load: a `.pt` is a Python pickle, which can run any code.

Trusted checkpoints are those known to this version (`weights/SHA256SUMS` in the package,
`manifest.yaml`) and those from the user's own trainings. The latter are recorded in the user's data
folder, not in a run's folder, because a run's folder may come from anyone.
"""

from __future__ import annotations

import os
from pathlib import Path

from maskyolo.core.files import package_folder, sha256_of
from maskyolo.errors import WeightsError, output_errors
from maskyolo.models.weights import load_manifest

__all__ = ["check_trust", "is_own", "is_trusted", "record_own", "record_path"]


def is_own(path: Path) -> bool:
    """Return whether a model's file is one that came with the package."""
    return path.absolute().parent == (package_folder() / "weights").absolute()


def record_path() -> Path:
    """Return the file with the SHA-256 of every checkpoint that this user trained.

    It may not exist yet.
    """
    import platformdirs

    return platformdirs.user_data_path("maskyolo") / "own-weights.txt"


#: The SHA-256 of every checkpoint that this process trained.
_made_here: set[str] = set()


def record_own(path: Path) -> None:
    """Record that this user trained the checkpoint `path`, so that it is trusted.

    Raises:
        OutputError: the record cannot be written; only this process will trust the checkpoint.
    """
    record = record_path()
    digest = sha256_of(path)
    _made_here.add(digest)
    with output_errors(record):
        record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # A single write, so that lines from concurrent trainings do not mix.
            os.write(place, f"{digest}\n".encode())
        finally:
            os.close(place)


def is_trusted(path: Path, content: bytes | None = None) -> bool:
    """Return whether the checkpoint `path` is known to this version, or trained by this user.

    Args:
        path: the file.
        content: its content, if it has been read already.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        digest = sha256_of(path if content is None else content)
    except OSError as error:
        raise WeightsError(
            f"cannot read weights {path}: {(error.strerror or str(error)).lower()}",
            "check the file",
        ) from error
    if digest in _made_here or any(
        digest in weights.sha256 for weights in load_manifest().values()
    ):
        return True
    sums = package_folder() / "weights" / "SHA256SUMS"
    return any(digest in _first_words(record) for record in (sums, record_path()))


def check_trust(path: Path, trust: bool = False, content: bytes | None = None) -> None:
    """Refuse a checkpoint of unknown origin, unless the user trusts it.

    Args:
        path: the file to unpickle.
        trust: whether the user trusts its author.
        content: the file's content, if it has been read already.

    Raises:
        WeightsError: it is of unknown origin, or cannot be read.
    """
    if not trust and not is_trusted(path, content):
        raise WeightsError(
            f"did not load {path}: a .pt file is a Python pickle, which can run any code, and this "
            "one comes neither with maskyolo nor from your own training",
            "add --trust if you trust its author, or use its .onnx file",
        )


def _first_words(record: Path) -> set[str]:
    try:
        return {
            line.split()[0]
            for line in record.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.strip()
        }
    except OSError:
        return set()
