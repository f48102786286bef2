"""Every command and option is documented in its help and in the reference, and these are true."""

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from paths import ROOT

import maskyolo
import maskyolo.batch
import maskyolo.review
from maskyolo.cli import main

README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "docs" / "reference"
SITE = (ROOT / "zensical.toml").read_text(encoding="utf-8")


def load_tool(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMANDS: dict[str, Any] = load_tool("update_reference").commands()
SETTINGS = [(name, parameter) for name, command in COMMANDS.items() for parameter in command.params]


def page(command: str) -> str:
    """Return the page of the reference about a command."""
    return (REFERENCE / f"{command.replace(' ', '-')}.md").read_text(encoding="utf-8")


def examples(text: str) -> Iterator[list[str]]:
    """Return the arguments of each line of `text` that calls maskyolo; comments are cut off."""
    for line in text.splitlines():
        words = (
            shlex.split(line.strip().removeprefix("$ "), comments=True)
            if line.strip().removeprefix("$ ").startswith("maskyolo ")
            else []
        )
        if words:
            yield words[1:]


def code_blocks(text: str) -> str:
    return "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


HELP_EXAMPLES = [
    (name, words) for name, command in COMMANDS.items() for words in examples(command.epilog or "")
]
README_EXAMPLES = list(examples(code_blocks(README)))
REFERENCE_EXAMPLES = [words for name in COMMANDS for words in examples(code_blocks(page(name)))]
DOCS_EXAMPLES = [
    words
    for path in sorted((ROOT / "docs").rglob("*.md"))
    for words in examples(code_blocks(path.read_text(encoding="utf-8")).replace("\\\n", " "))
]

FROM_2020 = (ROOT / "docs" / "from-2020-projects.md").read_text(encoding="utf-8")
#: The commands of its tables and blocks, and not the mere names of commands in its text.
FROM_2020_EXAMPLES = [
    words
    for words in examples(
        code_blocks(FROM_2020) + "\n".join(re.findall(r"`(maskyolo [^`]+)`", FROM_2020))
    )
    if len(words) > 1
]


def command_of(words: list[str]) -> str:
    """Return the command that is called, the group before it: `maskyolo review open`."""
    return words[0] if words[0] in COMMANDS else " ".join(words[:2])


def parse(words: list[str]) -> None:
    """Parse as the command line does, types and choices included, without running the command."""
    if words == ["--version"]:
        return
    name = command_of(words)
    COMMANDS[name].make_context(name, words[len(name.split()) :])


def test_the_commands_of_this_version_are_there() -> None:
    assert {"convert", "train", "detect", "models", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example_of_itself(name: str) -> None:
    assert COMMANDS[name].help
    own = [words for command, words in HELP_EXAMPLES if command == name]
    assert own, f"maskyolo {name} has no examples; give it epilog=examples(...)"
    assert all(command_of(words) == name for words in own)


@pytest.mark.parametrize(
    ("name", "parameter"),
    SETTINGS,
    ids=[f"{name}-{parameter.name}" for name, parameter in SETTINGS],
)
def test_every_setting_has_help_and_stands_in_the_reference(name: str, parameter: Any) -> None:
    assert parameter.help, f"maskyolo {name}: {parameter.name} has no help"
    shown = (
        parameter.name.upper()
        if parameter.param_type_name == "argument"
        else max(parameter.opts, key=len)
    )
    assert f"`{shown}`" in page(name), f"docs/reference: {name} has no `{shown}`; run `make docs`"


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.md")), ids=lambda path: path.stem)
def test_the_tables_of_the_reference_are_those_of_the_help(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert load_tool("update_reference").render(text) == text, "run `make docs`"


def test_the_readme_is_short_and_names_every_command() -> None:
    assert len(README.splitlines()) <= 200
    assert [name for name in COMMANDS if f"[`maskyolo {name}`](docs/reference/" not in README] == []


@pytest.mark.parametrize(
    "module", [maskyolo, maskyolo.batch, maskyolo.review], ids=lambda module: module.__name__
)
def test_every_public_function_is_in_the_reference(module: ModuleType) -> None:
    text = (REFERENCE / "python.md").read_text(encoding="utf-8")
    block = text.partition(f"::: {module.__name__}\n")[2].partition(":::")[0]
    assert sorted(re.findall(r"^ +- (\w+)$", block, re.MULTILINE)) == sorted(module.__all__)


def test_every_page_is_in_the_sites_navigation() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    listed = set(re.findall(r'"((?:docs|benchmarks|maskyolo)/[^"]+\.md)"', SITE))
    assert pages - listed == set()
    converted = {"docs/notebook/tutorial.md"}  # from docs/tutorial.ipynb
    assert [path for path in listed - converted if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "words",
    [words for _, words in HELP_EXAMPLES] + README_EXAMPLES + DOCS_EXAMPLES + FROM_2020_EXAMPLES,
    ids=" ".join,
)
def test_every_example_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskyolo.cli.options.load_args", lambda _: {})  # of --args
    parse(words)


def test_examples_were_found() -> None:
    """The two tests above would hold for an empty list as well."""
    assert len(HELP_EXAMPLES) >= len(COMMANDS)
    assert {command_of(words) for words in REFERENCE_EXAMPLES} >= set(COMMANDS)
    assert len(README_EXAMPLES) >= 10


def test_every_option_of_the_projects_of_2020_has_a_line_of_its_own() -> None:
    lines = [
        line for line in FROM_2020.splitlines() if line.startswith("| ") and "`maskyolo " in line
    ]
    assert len(FROM_2020_EXAMPLES) >= len(lines) > 10
    for option in ("--dataset", "--image", "--face ", "--model ", "--confidence "):
        assert any(option in line.split("|")[1] for line in lines), option


def test_an_example_with_an_unknown_option_does_not_parse() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["doctor", "--jsno"])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_prints_the_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*name.split(), "--help"])
    assert caught.value.code == 0
    assert f"  maskyolo {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["review"]], ids=" ".join)
def test_the_list_of_commands_says_of_each_in_a_whole_line_what_it_does(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    lines = capsys.readouterr().out.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(lines) >= 3
    assert [
        line
        for line in lines
        if not re.fullmatch(r"  \w+ +[A-Z].{10,60}\.", line) or line.endswith("..")
    ] == []


@pytest.mark.parametrize(
    "path",
    [
        path
        for pattern in load_tool("build_docs").PAGES
        for path in sorted(ROOT.glob(pattern))
        if path.suffix == ".md"
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if not link.startswith("http")]
    links += re.findall(r'src="([^"]+)"', text)
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_help_needs_none_of_the_heavy_packages() -> None:
    """`maskyolo --help` is quick because commands import the library when they run."""
    code = (
        "import sys, maskyolo.cli; "
        "heavy = {'cv2', 'torch', 'ultralytics', 'openvino', 'supervision', 'fiftyone'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert told.strip() == "[]"
