"""What a run is made with: versions, commit, model, data, machine and command; and what differs.

`args.yaml` records it under the key `provenance`, and the reports of `val` and `compare` show it.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from maskyolo.core.files import package_folder, sha256_if_readable
from maskyolo.core.installation import installed_commit
from maskyolo.core.parallel import usable_cpus
from maskyolo.core.processor import describe_processor
from maskyolo.core.repeating import PROVENANCE, args_file, load_args
from maskyolo.core.text import counted
from maskyolo.runtime.addresses import display_name

__all__ = ["describe_data", "describe_model", "made_with", "report_differences", "shown_command"]

#: Packages that figures depend on, by module; those that a run has imported are recorded.
_PACKAGES = {
    "numpy": "numpy",
    "cv2": "opencv",
    "PIL": "pillow",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "torch": "torch",
    "torchvision": "torchvision",
    "ultralytics": "ultralytics",
    "nncf": "nncf",
    "sklearn": "scikit-learn",
}
#: What differs between any two runs.
_ALWAYS_NEW = ("date", "command")
#: Maximum number of differences that are listed.
_SHOWN = 8
#: Options whose values may be secrets in ways that `display_name` does not know.
_SECRET = re.compile(r"--[\w-]*(?:alert-cmd|alert-url|password|secret|token|key)[\w-]*")


def made_with(threads: int | None = None, seed: int | None = None, **facts: Any) -> dict[str, Any]:
    """Return what a run is made with, as plain values.

    Call it when everything that the run needs has been imported, because it records the versions
    of imported packages.

    Args:
        threads: maximum number of CPU threads. Default: one per core.
        seed: the random seed, if there is one.
        facts: more, such as `model` (`describe_model`) and `data` (`describe_data`); empty ones
            are left out.

    Returns:
        `maskyolo` (version), `commit` (if it runs from a checkout or was installed from one),
        `python`, `packages`, the facts, `seed`, `threads`, `cpu`, `date` and `command`.

    Examples:
        >>> list(made_with(seed=0, device="cpu"))  # doctest: +SKIP
        ['maskyolo', 'commit', 'python', 'packages', 'device', 'seed', 'threads', 'cpu', 'date',
         'command']
    """
    found = {
        "maskyolo": sys.modules["maskyolo"].__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {
            name: str(getattr(sys.modules[module], "__version__", "unknown"))
            for module, name in _PACKAGES.items()
            if sys.modules.get(module) is not None
        },
        **facts,
        "seed": seed,
        "threads": threads or usable_cpus(),
        "cpu": describe_processor()[0],
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": shown_command(sys.argv),
    }
    return {name: value for name, value in found.items() if value not in (None, "", {})}


def describe_model(path: Path | None, backend: str = "") -> dict[str, str]:
    """Return a model's file and its SHA-256, and what it runs on.

    Args:
        path: the file; None for a detector that was passed in loaded. Of OpenVINO's `.xml`, the
            weights are in a `.bin` of the same name, whose checksum is recorded too.
        backend: runtime, device and precision, as in `loading.describe_detector`.

    Examples:
        >>> describe_model(Path("best.onnx"), "OpenVINO CPU bf16, 640 px")  # doctest: +SKIP
        {'file': 'best.onnx', 'sha256': '0a8e…', 'backend': 'OpenVINO CPU bf16, 640 px'}
    """
    found = {"backend": backend} if backend else {}
    if path is None:
        return found
    sums = {"sha256": sha256_if_readable(path)}
    weights = path.with_suffix(".bin")
    if path.suffix.lower() == ".xml" and weights.is_file():
        sums["bin_sha256"] = sha256_if_readable(weights)
    return {"file": str(path), **sums, **found}


def describe_data(
    images: Iterable[tuple[Path, bytes]], boxes: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return a checksum of labeled images that does not depend on where they are, and counts.

    Args:
        images: each image file with its labels as bytes, in order.
        boxes: the number of boxes by class.

    Examples:
        >>> describe_data([], {"with_mask": 0})["images"]
        0
    """
    digest, count = hashlib.sha256(), 0
    for path, labels in images:
        digest.update(bytes.fromhex(sha256_if_readable(path)))
        digest.update(hashlib.sha256(labels).digest())
        count += 1
    return {"sha256": digest.hexdigest(), "images": count, **(boxes or {})}


def report_differences(
    run: Path | str | None,
    made: Mapping[str, Any],
    on_warning: Callable[[str], None] | None = None,
) -> None:
    """Report in one line how a run that repeats another differs from it, if it does.

    Args:
        run: the other run's `args.yaml`, or its folder; None if no run is repeated.
        made: what this run is made with; see `made_with`.
        on_warning: called with the line. Default: log a warning.

    Raises:
        MaskyoloError: the file cannot be read.
    """
    if run is None:
        return
    warn = on_warning or logging.getLogger("maskyolo").warning
    file, before = args_file(run), load_args(run).get(PROVENANCE)
    if not isinstance(before, Mapping):
        warn(f"{file} does not say what its run was made with, so figures may differ")
        return
    old, new = dict(_flat(before)), dict(_flat(made))
    changed = [
        f"{name} {_short(new[name])} instead of {_short(old[name])}"
        for name in new
        if name in old and name.split()[0] not in _ALWAYS_NEW and new[name] != old[name]
    ]
    if changed:
        more = len(changed) - _SHOWN
        rest = [counted(more, "more difference")] if more > 0 else []
        listed = ", ".join([*changed[:_SHOWN], *rest])
        warn(f"figures may differ from those of {file}: {listed}")


def shown_command(words: Sequence[str]) -> str:
    """Return a command line without passwords, as one line for a shell.

    Examples:
        >>> shown_command(["/usr/bin/maskyolo", "detect", "--source", "rtsp://me:pw@cam/live"])
        "maskyolo detect --source 'rtsp://***@cam/live'"
    """
    shown, hiding = [], False
    for number, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if hiding:
            shown.append("***")
        elif number == 0:
            name = Path(word).name
            shown.append("maskyolo" if name == "__main__.py" else name)
        elif not word.startswith("--") or not equals:
            shown.append(display_name(word))
        else:
            shown.append(f"{flag}={'***' if _SECRET.fullmatch(flag) else display_name(value)}")
        hiding = not hiding and bool(_SECRET.fullmatch(word))
    return " ".join(shlex.quote(word).replace("'***'", "***") for word in shown)


def _commit() -> str:
    """Return the commit of the checkout that the package runs from, or was installed from."""
    root = package_folder().parent
    if not (root / ".git").exists():
        return installed_commit()
    git = ["git", "--no-optional-locks", "-C", str(root)]
    try:
        commit, changes = (
            subprocess.run(
                [*git, *words], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for words in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no", "--", "maskyolo", "configs"],
            )
        )
    except (OSError, subprocess.SubprocessError):  # no git, or not its repository
        return ""
    return f"{commit} with changes" if changes else commit


def _flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values as text, by name, such as "packages numpy"."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}".replace("packages ", ""), str(value)


def _short(text: str) -> str:
    """Return a value in one short line; a checksum's first digits identify it."""
    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b", r"\1…", " ".join(text.split()))
    return text if len(text) <= 60 else f"{text[:60]}…"
