"""The command that installs more of this package, for the way in which it is installed here."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["install_command", "installed_commit"]


def install_command(extra: str = "", *flags: str) -> str:
    """Return the `pip install` command for this package, or for one of its extras.

    It names the folder, file or address that this package was installed from
    (`direct_url.json`, PEP 610), because the package may be on no index.

    Args:
        extra: extra to install, such as "train"; empty: the package itself.
        flags: flags for pip, such as "--no-deps".

    Examples:
        >>> install_command("train")  # doctest: +SKIP
        "pip install -e '/home/ann/maskyolo[train]'"
    """
    suffix = f"[{extra}]" if extra else ""
    record = _direct_url()
    address, commit = record.get("url", ""), record.get("vcs_info", {})
    editable = record.get("dir_info", {}).get("editable", False)
    if commit:
        target = f"maskyolo{suffix} @ {commit.get('vcs', 'git')}+{address}"
    elif address.startswith("file:"):
        target = f"{unquote(urlsplit(address).path)}{suffix}"
    elif address:
        target = f"maskyolo{suffix} @ {address}"
    elif record:
        target = f"maskyolo{suffix}"
    else:
        target = f"{Path(__file__).resolve().parents[2]}{suffix}"  # run from a folder
        editable = True
    words = ["pip", "install", *flags, *(["-e"] if editable else []), target]
    return shlex.join(words)


def installed_commit() -> str:
    """Return the commit that this package was installed from; empty if it was not from git."""
    return str(_direct_url().get("vcs_info", {}).get("commit_id", ""))


def _direct_url() -> dict[str, Any]:
    """Return the record of where this package came from.

    Without a record it came from an index. Without the package it runs from a folder: empty.
    """
    try:
        text = importlib.metadata.distribution("maskyolo").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return {}
    return dict(json.loads(text)) if text else {"url": ""}
