"""The public names: `from maskyolo import X` gives the function X, whatever was imported before.

A module of the same name would replace the function as soon as anything imports that module, so
each name is looked up first in a process of its own, and again after all the others.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from paths import ROOT

NAMES = [
    (package, name)
    for package in ("maskyolo", "maskyolo.batch", "maskyolo.review")
    for name in importlib.import_module(package).__all__
]

PROBE = """
import importlib, inspect, json, sys

package, name = importlib.import_module(sys.argv[1]), sys.argv[2]

def describe():
    value = getattr(package, name)
    kinds = {"function": inspect.isfunction, "class": inspect.isclass, "module": inspect.ismodule}
    return {
        "kind": next((kind for kind, is_kind in kinds.items() if is_kind(value)), "other"),
        "callable": callable(value),
        "module": getattr(value, "__module__", None),
        "qualname": getattr(value, "__qualname__", None),
    }

found = {"dir": dir(package), "first": describe(), "second": describe()}
for other in package.__all__:
    getattr(package, other)
found["last"] = describe()
print(json.dumps(found))
"""


def probe(name: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROBE, *name], check=False, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], subprocess.CompletedProcess[str]]:
    """What a process of its own finds for each name."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(NAMES, pool.map(probe, NAMES), strict=True))


def test_there_are_names_to_check() -> None:
    assert {("maskyolo", "detect"), ("maskyolo.review", "apply_review")} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES, ids=".".join)
@pytest.mark.parametrize("when", ["first", "second", "last"])
def test_a_public_name_is_a_function_or_class(
    name: tuple[str, str],
    when: str,
    found: dict[tuple[str, str], subprocess.CompletedProcess[str]],
) -> None:
    assert found[name].returncode == 0, found[name].stderr
    value: dict[str, Any] = json.loads(found[name].stdout)[when]
    assert value["kind"] in ("function", "class"), value
    assert value["callable"]
    assert value["module"].startswith(f"{name[0]}.")
    assert value["qualname"] == name[1]


@pytest.mark.parametrize("package", ["maskyolo", "maskyolo.batch", "maskyolo.review"])
def test_dir_lists_the_public_names_before_they_are_used(
    package: str, found: dict[tuple[str, str], subprocess.CompletedProcess[str]]
) -> None:
    names = [name for name in NAMES if name[0] == package]
    listed = set(json.loads(found[names[0]].stdout)["dir"])
    assert {name for _, name in names} <= listed
    assert "__name__" in listed


@pytest.mark.parametrize("package", ["maskyolo", "maskyolo.batch", "maskyolo.review"])
def test_no_module_has_the_name_of_a_public_function(package: str) -> None:
    module = importlib.import_module(package)
    modules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    assert sorted(modules & set(module.__all__)) == []


def promised() -> list[str]:
    """Return the functions that the documentation names after "Library:", with their packages.

    A name without a package is in that of the name before it.
    """
    names: list[str] = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for sentence in re.findall(r"Library:((?:[^\n]|\n(?!\n))*)", page.read_text("utf-8")):
            package = ""
            for name in re.findall(r"`([\w.]+)\(\)`", sentence):
                if "." in name:
                    package = name.rpartition(".")[0]
                names.append(name if "." in name else f"{package}.{name}")
    return names


def test_the_documentation_names_functions() -> None:
    assert {"maskyolo.convert_dataset", "maskyolo.review.undo_review"} <= set(promised())


@pytest.mark.parametrize("name", promised())
def test_what_the_documentation_names_can_be_called(name: str) -> None:
    assert callable(pkgutil.resolve_name(name))
