"""Read a Keras model from HDF5: its layers as JSON, and its weights.

Such a file may come from anyone. HDF5 can refer to other files in several ways, and declare arrays
of any size without storing them, so that every part is checked before it is read. In a damaged
file, the HDF5 library may also crash or never return, so it runs in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.core.children import python_command
from maskyolo.core.installation import install_command
from maskyolo.core.parsing import ParseError, load_json, parse_json
from maskyolo.errors import DependencyError, WeightsError
from maskyolo.models.limits import limited_memory

__all__ = ["missing_package", "read_keras"]

#: Maximum size of all weights in bytes, as float32; those of ResNet50 take 100 MB.
MAX_WEIGHTS = 1 << 30
#: Maximum length of the layers' JSON in bytes; that of ResNet50 takes 70 kB.
_MAX_CONFIG = 20_000_000

#: How long reading may take, in seconds; ResNet50 takes two.
_SECONDS = 60
#: Names of the files through which the other process returns what it reads.
_FOUND, _WEIGHTS = "found.json", "weights.npz"

Weights = dict[str, dict[str, npt.NDArray[np.float32]]]


def read_keras(path: Path) -> tuple[dict[str, Any], Weights]:
    """Return the model's settings, and the weights by layer and path, such as `Conv1/kernel:0`.

    Raises:
        DependencyError: h5py is not installed.
        WeightsError: not an HDF5 file of a Keras model, or one that refers to other files.
    """
    try:
        import h5py  # noqa: F401  # used in the other process
    except ImportError as error:
        raise missing_package("h5py") from error
    if path.is_dir():
        raise WeightsError(
            f"cannot convert {path}: a folder is TensorFlow's SavedModel",
            "save it as HDF5 where TensorFlow is installed: "
            f"tf.keras.models.load_model('{path.name}').save('{path.stem}.h5')",
        )
    if not path.is_file():
        raise WeightsError(f"cannot convert {path}: no such file", "give a .model or .h5 file")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _extract_elsewhere(path, folder)
        found = load_json(folder / _FOUND)
        if "problem" in found:
            raise WeightsError(str(found["problem"]), str(found["remedy"]))
        try:
            config = parse_json(found["config"])
        except ParseError as error:
            raise _unreadable(path, f"its layers cannot be read ({error})") from error
        weights: Weights = {str(name): {} for name in found["layers"]}
        with np.load(folder / _WEIGHTS, allow_pickle=False) as arrays:
            for number, (name, key) in enumerate(found["keys"]):
                weights[name][key] = arrays[str(number)]
    if not isinstance(config, dict):
        raise _unreadable(path, "its layers are not a JSON object")
    return config, weights


def _extract_elsewhere(path: Path, folder: Path) -> None:
    """Call `_extract` in a process of its own, which is killed if it takes too long."""
    code = f"from {__name__} import extract_in_child; extract_in_child()"
    try:
        done = subprocess.run(
            [*python_command(code), str(path.absolute()), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unreadable(path, f"not read after {_SECONDS} s, so it is damaged") from error
    if done.returncode:
        raise _unreadable(path, "not HDF5, or damaged")


def extract_in_child() -> None:
    """Extract a file as the arguments of this process say, with limited memory."""
    with limited_memory():
        _extract(Path(sys.argv[1]), Path(sys.argv[2]))


def _extract(path: Path, folder: Path) -> None:
    """Write what a file contains, or what is wrong with it, to a folder as JSON and arrays."""
    import h5py

    found: dict[str, Any]
    try:
        with h5py.File(path) as file:
            config, weights = _read_config(file), _read_weights(file, path)
        keys = [(name, key) for name, arrays in weights.items() for key in arrays]
        found = {"config": config, "layers": list(weights), "keys": keys}
        numbered: dict[str, Any] = {
            str(number): weights[name][key] for number, (name, key) in enumerate(keys)
        }
        np.savez(folder / _WEIGHTS, **numbered)
    except WeightsError as error:
        found = {"problem": error.problem, "remedy": error.remedy}
    except Exception as error:  # noqa: BLE001  # h5py's errors have no common base class
        what = "it has only weights" if isinstance(error, KeyError) else "not HDF5, or damaged"
        reason = _unreadable(path, what)
        found = {"problem": reason.problem, "remedy": reason.remedy}
    (folder / _FOUND).write_text(json.dumps(found), encoding="ascii")


def missing_package(package: str) -> DependencyError:
    """Return the error for a package that is not installed."""
    return DependencyError(
        f"converting a Keras model needs the package {package}, which is not installed",
        f"run: {install_command('keras')}",
    )


def _unreadable(path: Path, found: str) -> WeightsError:
    return WeightsError(
        f"cannot convert {path}: {found}",
        "give a model that Keras saved with its layers (model.save('x.h5'))",
    )


def _read_config(file: Any) -> str:
    text = file.attrs["model_config"]
    if not isinstance(text, (str, bytes)) or len(text) > _MAX_CONFIG:
        raise ValueError("not JSON")
    return _text(text)


def _read_weights(file: Any, path: Path) -> Weights:
    import h5py

    weights: Weights = {}
    left = MAX_WEIGHTS
    layers = _member(file, "model_weights", path)
    for name in layers:
        group = _member(layers, name, path)
        if not isinstance(group, h5py.Group):
            continue
        weights[name] = {}
        for key in map(_text, group.attrs.get("weight_names", ())):
            stored = _member(group, key, path)
            left -= stored.size * max(stored.dtype.itemsize, np.dtype(np.float32).itemsize)
            if left < 0:
                raise _unreadable(path, f"its weights take more than {MAX_WEIGHTS >> 20} MB")
            if stored.is_virtual or stored.external:
                raise _unreadable(path, f"its weights '{key}' are in another file")
            weights[name][key] = np.asarray(stored, np.float32)
    return weights


def _member(group: Any, path: str, model: Path) -> Any:
    """Return a group or array inside a group, without following links, which may leave the file."""
    import h5py

    for name in path.split("/"):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            if name in group.keys():  # noqa: SIM118  # `in group` is also false for a broken link
                raise _unreadable(model, f"'{name}' in it is a link")
            raise KeyError(name)
        group = group[name]
    return group


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
