"""The weights that come with the package: found by name and verified."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.files import package_folder
from maskyolo.core.installation import install_command
from maskyolo.errors import WeightsError

__all__ = [
    "ModelCard",
    "check_own_weights",
    "find_model",
    "model_card",
    "own_weights",
]


def own_weights() -> list[Path]:
    """Return the model files that come with the package (`maskyolo/weights/`), sorted by name."""
    folder = package_folder() / "weights"
    return sorted(path for path in folder.glob("*") if path.suffix in (".onnx", ".pt"))


@dataclass(frozen=True)
class ModelCard:
    """The metadata in a model card's first lines, in the format of Hugging Face's cards.

    Attributes:
        name: the model's name, as for `--model`.
        description: what it is for, in a few words.
        figures: its results, such as "mAP@0.5 0.885, mAP@0.5:0.95 0.560".
        measured_on: the data of these results.
    """

    name: str
    description: str
    figures: str
    measured_on: str


def model_card(name: str) -> ModelCard:
    """Return the card of one of this project's models (`maskyolo/weights/NAME.md`)."""
    import yaml

    text = (package_folder() / "weights" / f"{name}.md").read_text(encoding="utf-8")
    content = yaml.safe_load(text.split("---\n")[1])
    result = content["model-index"][0]["results"][0]
    figures = ", ".join(f"{metric['type']} {metric['value']:.3f}" for metric in result["metrics"])
    return ModelCard(name, content["description"], figures, result["dataset"]["name"])


def check_own_weights(path: Path) -> None:
    """Check that a model file in `own_weights` loads.

    OpenVINO reads an ONNX file; for a PyTorch checkpoint, only the zip archive is checked.

    Raises:
        WeightsError: the file does not load.
    """
    reason = _onnx_error(path) if path.suffix == ".onnx" else _archive_error(path)
    if reason:
        raise WeightsError(
            f"cannot load {path}: {reason}",
            "git checkout maskyolo/weights, or reinstall: "
            + install_command("", "--force-reinstall", "--no-deps"),
        )


def _onnx_error(path: Path) -> str:
    from maskyolo.models.backends.openvino import CORE

    try:
        CORE.read_model(path)
    except RuntimeError as error:
        lines = (line.strip() for line in str(error).splitlines() if line.strip())
        return next(lines, "OpenVINO cannot read it")[:120]
    return ""


def _archive_error(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        return str(error).lower()
    return f"{damaged} in it is damaged" if damaged else ""


def find_model(model: Path | str, suffix: str = ".onnx") -> Path:
    """Return a model's file: an existing file, the only `.xml` in a folder, or a packaged model.

    Args:
        model: a file, a folder that contains a model for OpenVINO, or a name.
        suffix: suffix of the packaged file that a name stands for, `.onnx` or `.pt`.

    Raises:
        WeightsError: `model` is none of these; the message lists the known names.
    """
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        found = sorted(path.glob("*.xml"))
        if len(found) == 1:
            return found[0]
        raise WeightsError(
            f"no model in {path}: it must contain one .xml file, but has {len(found)}",
            "give the model's file",
        )
    folder = package_folder() / "weights"
    named = folder / f"{model}{suffix}"
    if path.name == str(model) and named.is_file():
        return named
    names = ", ".join(sorted(file.stem for file in folder.glob(f"*{suffix}"))) or "none"
    raise WeightsError(
        f"no model '{model}': neither a file nor a known name (names: {names})",
        "give a .onnx, .xml or .pt file, or a name",
    )
