"""Read YAML, JSON and CSV that may come from anyone, with limits on size, depth and expansion.

A file of a few hundred bytes can otherwise expand to gigabytes (YAML aliases), overflow the stack
(nested brackets), or construct Python objects (YAML tags).
"""

from __future__ import annotations

import csv
import json
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from maskyolo.errors import DatasetError, MaskyoloError

__all__ = [
    "MAX_CSV",
    "MAX_JSON",
    "ParseError",
    "load_json",
    "load_yaml",
    "parse_json",
    "parse_yaml",
    "read_limited",
    "read_table",
    "read_text",
]

#: Largest files that are read, in bytes.
MAX_YAML = 10 << 20
MAX_JSON = 256 << 20
MAX_CSV = 256 << 20
MAX_TEXT = 10 << 20
#: Maximum number of values in a YAML file after aliases are replaced by what they refer to, and in
#: a JSON file. A value takes up to about 90 bytes in memory.
MAX_YAML_NODES = 200_000
MAX_JSON_NODES = 10_000_000
#: Maximum nesting. Data sets, recipes and annotations need less than ten levels.
MAX_DEPTH = 64
#: Maximum length of a CSV field: the boxes of a photo with 10,000 faces fit.
MAX_FIELD = 1 << 20

_SURROGATE = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
#: An escaped backslash, a pair of surrogates, or a surrogate on its own (group 1).
_ESCAPES = re.compile(
    rf"\\\\|{_SURROGATE}\\u[dD][c-fC-F][0-9a-fA-F]{{2}}|(\\u[dD][89a-fA-F][0-9a-fA-F]{{2}})"
)
_Parsed = TypeVar("_Parsed")


class ParseError(ValueError):
    """Text that does not parse, or exceeds a limit; the message is one line."""


def load_yaml(
    path: Path | str,
    error: type[MaskyoloError] = DatasetError,
    remedy: str = "correct the file",
    booleans: bool = True,
) -> Any:
    """Return the content of a YAML file; see `parse_yaml`.

    Args:
        path: UTF-8 text, with or without a byte order mark.
        error: the class of error to raise.
        remedy: the remedy of the error.
        booleans: see `parse_yaml`.

    Raises:
        MaskyoloError: of class `error`; the file cannot be read, or as for `parse_yaml`.
    """
    try:
        return parse_yaml(read_text(path, MAX_YAML), booleans)
    except (OSError, ValueError) as reason:
        _fail(path, reason, error, remedy)


def load_json(
    path: Path | str,
    error: type[MaskyoloError] = DatasetError,
    remedy: str = "correct the file",
    nan: bool = False,
) -> Any:
    """Return the content of a JSON file; see `parse_json`.

    Args:
        path: UTF-8, UTF-16 or UTF-32 text.
        error: the class of error to raise.
        remedy: the remedy of the error.
        nan: see `parse_json`.

    Raises:
        MaskyoloError: of class `error`; the file cannot be read, or as for `parse_json`.
    """
    try:
        return parse_json(read_limited(path, MAX_JSON), nan)
    except (OSError, ValueError) as reason:
        _fail(path, reason, error, remedy)


def read_table(
    path: Path | str,
    columns: Sequence[str],
    parse: Callable[[dict[str, str], int], _Parsed],
    error: type[MaskyoloError] = DatasetError,
    remedy: str = "correct the line",
    optional: Sequence[str] = (),
) -> list[_Parsed]:
    """Return the rows of a CSV file, each parsed by `parse`.

    Args:
        path: UTF-8 text with a header, with or without a byte order mark. As spreadsheets write
            it, columns may be separated by semicolons.
        columns: the columns to read; others are ignored, missing values are empty.
        parse: called with the values of a row by column, and the number of its line.
        error: the class of error to raise.
        remedy: the remedy of the error.
        optional: further columns to read, which the file may lack; they are then empty.

    Raises:
        MaskyoloError: of class `error`; the file cannot be read, lacks columns, or a row does not
            parse (`parse` raised `ValueError`, `TypeError`, `OverflowError` or `RecursionError`);
            the message includes the line.
    """
    try:
        size = _size_of(path, MAX_CSV)
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            header = file.readline(size + 1)
            file.seek(0)
            separator = ";" if header.count(";") > header.count(",") else ","
            csv.field_size_limit(MAX_FIELD)
            lines = csv.DictReader(file, delimiter=separator)
            return _rows(lines, columns, parse, optional)
    except (OSError, ValueError) as reason:
        _fail(path, reason, error, remedy)


def _rows(
    lines: csv.DictReader[str],
    columns: Sequence[str],
    parse: Callable[[dict[str, str], int], _Parsed],
    optional: Sequence[str],
) -> list[_Parsed]:
    try:
        missing = [name for name in columns if name not in (lines.fieldnames or [])]
        rows = [
            parse(
                {name: line.get(name) or "" for name in (*columns, *optional)},
                lines.reader.line_num,
            )
            for line in ([] if missing else lines)
        ]
    except (csv.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ParseError(f"line {lines.reader.line_num}: {_one_line(error)}") from error
    if missing:
        raise ParseError(f"missing columns {', '.join(missing)}")
    return rows


def read_text(path: Path | str, limit: int = MAX_TEXT) -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Raises:
        OSError: the file cannot be read.
        ParseError: it is larger than `limit` bytes, not a file, or not UTF-8.
    """
    return _decoded(read_limited(path, limit), "utf-8-sig")


def read_limited(path: Path | str, limit: int = MAX_TEXT) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Raises:
        OSError: the file cannot be read.
        ParseError: it is larger, or not a regular file but, for example, a pipe.
    """
    _size_of(path, limit)
    with Path(path).open("rb") as file:
        return file.read()


def parse_yaml(text: str, booleans: bool = True) -> Any:
    """Return the content of YAML text: dicts, lists, strings, numbers, dates and None.

    Args:
        text: the YAML; tags that construct Python objects are errors.
        booleans: whether `yes`, `no`, `on`, `off`, `true` and `false` become booleans instead of
            remaining strings. They are also names of classes.

    Raises:
        ParseError: not YAML, deeper than `MAX_DEPTH`, or more than `MAX_YAML_NODES` values after
            aliases are replaced. The message includes the line.
    """
    try:
        _check_yaml(text)
        return yaml.load(text, Loader=_Loader if booleans else _TextLoader)  # noqa: S506 - safe
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        problem = str(error.problem or error.context)
        if "hexdecimal" in problem:  # libyaml's word for "C:\\Users" in double quotes
            problem = "a backslash in double quotes that starts no escape sequence"
        raise ParseError(f"{where}{problem}") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise ParseError(_one_line(error)) from error
    except ParseError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ParseError(f"a wrong value ({_one_line(error)})") from error  # such as a date


def parse_json(data: str | bytes, nan: bool = False) -> Any:
    """Return the content of JSON text.

    Surrogates that are not a pair, which could not be written to a file, become U+FFFD.

    Args:
        data: the JSON; bytes may be UTF-8, UTF-16 or UTF-32.
        nan: whether to accept NaN and Infinity, which are not JSON, but which other tools write.
            Numbers such as 1e999 are infinite in either case.

    Raises:
        ParseError: not JSON, deeper than `MAX_DEPTH`, or more than `MAX_JSON_NODES` values.
    """
    text = data if isinstance(data, str) else _decoded(data, json.detect_encoding(data))
    opened = text.count("[") + text.count("{")
    if opened + text.count(",") > MAX_JSON_NODES:
        raise ParseError(f"more than {MAX_JSON_NODES:,} values")
    if "\\ud" in text or "\\uD" in text:
        text = _ESCAPES.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    try:
        content = json.loads(text, parse_constant=None if nan else _refuse_constant)
    except RecursionError:
        raise ParseError(f"nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}: " if "\n" in text else ""
        raise ParseError(f"{where}{error.msg}") from error
    except ParseError:
        raise
    except ValueError as error:  # Python's limit on the digits of a number
        raise ParseError("a number of thousands of digits") from error
    if opened > MAX_DEPTH:
        _check_depth(content)
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ParseError(f"{name} is not a number in JSON")


def _check_depth(content: Any) -> None:
    level: list[Any] = [[content]]
    for _ in range(MAX_DEPTH + 1):
        level = [
            value
            for node in level
            for value in (node.values() if isinstance(node, dict) else node)
            if isinstance(value, (dict, list))
        ]
    if level:
        raise ParseError(f"nested deeper than {MAX_DEPTH} levels")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, with a limit on the length of numbers.

    Numbers in base 60 take time that grows with the square of their length.
    """


class _TextLoader(_Loader):
    """`_Loader` without booleans."""


def _number_of(convert: Callable[[Any, yaml.ScalarNode], Any]) -> Callable[..., Any]:
    def construct(loader: Any, node: yaml.ScalarNode) -> Any:
        if len(node.value) > 100:
            raise yaml.constructor.ConstructorError(
                None, None, "a number of more than 100 characters", node.start_mark
            )
        return convert(loader, node)

    return construct


for _kind in ("int", "float"):
    _Loader.add_constructor(
        f"tag:yaml.org,2002:{_kind}",
        _number_of(getattr(yaml.constructor.SafeConstructor, f"construct_yaml_{_kind}")),
    )
_TextLoader.yaml_implicit_resolvers = {
    first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:bool"]
    for first, entries in _Loader.yaml_implicit_resolvers.items()
}


def _check_yaml(text: str) -> None:
    """Check depth and number of values from the parser's events, before anything is built.

    Aliases count as what they refer to; `<<` merges copy it.
    """
    nodes = 0
    anchored: dict[str | None, _Extent] = {}
    opened: list[_Extent] = []
    for event in yaml.parse(text, Loader=_Loader):
        mark = event.start_mark
        where = f"line {mark.line + 1}: " if mark else ""
        depth = len(opened)
        if isinstance(event, yaml.AliasEvent):
            extent = anchored.get(event.anchor, _Extent(nodes))
            if extent in opened:
                raise ParseError(f"{where}*{event.anchor} refers to a value it is part of")
            nodes += extent.nodes
            depth += extent.height
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            extent = anchored[event.anchor] = _Extent(nodes - 1)
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append(extent)
                depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            opened[-1].nodes = nodes - opened[-1].before
            opened.pop()
        for place, extent in enumerate(opened):
            extent.height = max(extent.height, depth - place)
        if depth > MAX_DEPTH:
            raise ParseError(f"{where}nested deeper than {MAX_DEPTH} levels")
        if nodes > MAX_YAML_NODES:
            raise ParseError(f"{where}more than {MAX_YAML_NODES:,} values, aliases included")


@dataclass(eq=False)
class _Extent:
    """A value in YAML: the number of values before it, in it, and its nesting."""

    before: int
    nodes: int = 1
    height: int = 0


def _size_of(path: Path | str, limit: int) -> int:
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ParseError("not a regular file")
    if status.st_size > limit:
        raise ParseError(f"larger than {limit >> 20} MB")
    return status.st_size


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ParseError(f"line {line}: not {encoding[:5].rstrip('-').upper()} text") from error


def _fail(path: Path | str, reason: Exception, error: type[MaskyoloError], remedy: str) -> NoReturn:
    found = _one_line(reason)
    separator = ", " if found.startswith("line ") else ": "
    raise error(f"cannot read {path}{separator}{found}", remedy) from reason


def _one_line(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__
