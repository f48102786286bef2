"""The repository has the layout that CONTRIBUTING.md describes."""

import ast
import re
import subprocess
from graphlib import CycleError, TopologicalSorter

import pytest
from paths import ROOT

PACKAGE = ROOT / "maskyolo"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def code_block(heading: str) -> str:
    """Return the first code block below a heading of CONTRIBUTING.md."""
    found = re.search(rf"^#+ {heading}\n.*?^```\n(.*?)^```", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    assert found, f"CONTRIBUTING.md has no code block below '## {heading}'"
    return found[1]


def imports() -> dict[str, set[str]]:
    """Return the modules of the package that each one imports, anywhere in its file."""
    files = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
                graph[name] |= {
                    target if target in files else str(node.module) for target in targets
                }
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
        graph[name] = {target for target in graph[name] if target in files} - {name}
    return graph


def test_every_package_and_top_level_module_is_described_and_exists() -> None:
    described = {
        name
        for line in code_block("Inside `maskyolo/`").splitlines()
        for name in line[:37].split()  # the rest of a line says what they are for
    }
    there = {
        path.stem
        for path in PACKAGE.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists())
        and not path.name.startswith("_")
    }
    assert described == there


def test_every_folder_at_the_top_is_described_and_exists() -> None:
    described = {
        line.split("/")[0]
        for line in code_block("Repository layout").splitlines()
        if "/" in line.split()[0]
    }
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    there = {name.split("/")[0] for name in tracked if "/" in name and not name.startswith(".")}
    assert described - {"runs"} == there


def test_every_file_named_in_contributing_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)`", CONTRIBUTING)
    assert len(named) > 20
    assert [
        name for name in named if not (PACKAGE / name).is_file() and not (ROOT / name).is_file()
    ] == []


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = imports()
    assert sum(map(len, graph.values())) > 300
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_module_has_the_name_of_a_public_function_beside_it() -> None:
    """Python sets a submodule as an attribute of its package, and would hide the function."""
    for init in PACKAGE.rglob("__init__.py"):
        offered = re.search(
            r"^__all__ = \[(.*?)\]", init.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        names = set(re.findall(r'"(\w+)"', offered[1])) if offered else set()
        beside = {path.stem for path in init.parent.iterdir()}
        assert not names & beside, init


def test_no_module_is_long() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): number
        for path in PACKAGE.rglob("*.py")
        if (number := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert long == {}


def test_no_function_is_long_or_takes_many_parameters() -> None:
    """Public keyword functions and commands take their options as keywords, see core/options.py."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                given = node.args
                number = len(given.posonlyargs + given.args + given.kwonlyargs)
                if lines > 80 or number > 12:
                    found.append(f"{path.name}:{node.name}: {lines} lines, {number} parameters")
    assert found == []
