"""YAML, JSON and CSV of anyone: what is refused, in one line that names the line of the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from maskyolo.core import parsing
from maskyolo.core.parsing import (
    ParseError,
    load_json,
    load_yaml,
    parse_json,
    parse_yaml,
    read_table,
    read_text,
)
from maskyolo.errors import DatasetError, MaskyoloError

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(
    f"a{n}: &a{n} {{'<<': [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10)
)

CHAIN = "- &a0 [x]\n" + "".join(f"- &a{n} [*a{n - 1}]\n" for n in range(1, 100))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(BOMB, "line 6: more than 200,000 values, aliases included", id="aliases"),
        pytest.param(MERGES, "line 6: more than 200,000 values", id="merges"),
        pytest.param(CHAIN, "line 64: nested deeper than 64 levels", id="chain"),
        pytest.param("a: 1\nb: &b [*b]", r"line 2: \*b refers to a value it is part of", id="loop"),
        pytest.param("[" * 900, "line 1: nested deeper than 64 levels", id="flow"),
        pytest.param("[" * 90_000, "line 1: ", id="deep flow"),
        pytest.param("- " * 90_000, "line 1: nested deeper than 64 levels", id="block"),
        pytest.param(
            "a: 1\nb: !!python/object/apply:os.getcwd []", "line 2: could not determine", id="tag"
        ),
        pytest.param(f"a: {'1:' * 90_000}1", "a number of more than 100 characters", id="base 60"),
        pytest.param("a: 1\nb: 2: 3", "line 2: mapping values are not allowed", id="syntax"),
        pytest.param("a: 2020-13-45", "a wrong value .month must be", id="date"),
        pytest.param("a: !!bool x", "a wrong value", id="boolean"),
        pytest.param("a: \x01", "unacceptable character", id="control"),
        pytest.param('a: "\\ud800"', "line 1: found invalid Unicode", id="surrogate"),
    ],
)
def test_yaml_that_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ParseError, match=reason) as found:
        parse_yaml(text)
    assert "\n" not in str(found.value)


def test_yaml_keeps_aliases_of_ordinary_size() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1},
    }


def test_yaml_keeps_names_that_look_like_booleans_on_request() -> None:
    text = "names: [on, off, yes, 'no', 1]"
    assert parse_yaml(text) == {"names": [True, False, True, "no", 1]}
    assert parse_yaml(text, booleans=False) == {"names": ["on", "off", "yes", "no", 1]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param("[" * 90_000, "nested deeper than 64 levels", id="deep"),
        pytest.param("[" * 66 + "]" * 66, "nested deeper than 64 levels", id="too deep"),
        pytest.param('{"a":' * 66 + "1" + "}" * 66, "nested deeper", id="objects"),
        pytest.param("[1,\n2,]", "line 2: ", id="syntax"),
        pytest.param("[1, NaN]", "NaN is not a number in JSON", id="nan"),
        pytest.param("9" * 5000, "a number of thousands of digits", id="digits"),
        pytest.param(b'[\n"\xff"]', "line 2: not UTF-8 text", id="bytes"),
        pytest.param(b'["\xed\xa0\x80"]', "not UTF-8 text", id="surrogate bytes"),
        pytest.param("", "Expecting value", id="empty"),
    ],
)
def test_json_that_is_refused(data: str | bytes, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        parse_json(data)


def test_json_of_too_many_values_is_refused_before_it_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parsing, "MAX_JSON_NODES", 10)
    assert parse_json("[1, 2, 3]") == [1, 2, 3]
    with pytest.raises(ParseError, match="more than 10 values"):
        parse_json("[[],[],[],[],[],[]]")


def test_json_accepts_nan_on_request_and_brackets_in_text() -> None:
    assert str(parse_json("[NaN, Infinity]", nan=True)) == "[nan, inf]"
    assert parse_json('"' + "[" * 90 + '"') == "[" * 90
    assert parse_json("[" * 64 + "]" * 64)


def test_lone_surrogates_become_replacement_characters() -> None:
    text = r'"\ud800 \ud83d\ude00 \\ud800 \udc00 \\\uD800 \ud83d"'
    assert parse_json(text) == "\ufffd \U0001f600 \\ud800 \ufffd \\\ufffd \ufffd"


def number(values: dict[str, str], line: int) -> tuple[int, int]:
    return int(values["a"]), line


def test_table_with_a_byte_order_mark_and_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfother;a\n;1\n\n;2\n")
    assert read_table(path, ["a"], number) == [(1, 2), (2, 4)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\n1\nx\n", r"x\.csv, line 3: invalid literal for int"),
        (b"b\n1\n", r"x\.csv: missing columns a; say it"),
        (b"a\n1\n\xff\n", "not UTF-8 text"),
        (b"a\n1\n" + b"1" * 1_100_000, "line 3: field larger than"),
        (b"x" * 1_100_000, "line 1: field larger than"),
        (b"", "missing columns a"),
    ],
)
def test_table_that_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(MaskyoloError, match=reason):
        read_table(path, ["a"], number, MaskyoloError, "say it")


def test_table_names_the_line_of_deep_brackets(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a\n1\n" + "[" * 2000 + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="line 3: nested deeper than 64 levels; correct"):
        read_table(path, ["a"], lambda values, _: parse_json(values["a"]))


@pytest.mark.parametrize("load", [load_yaml, load_json, read_text])
def test_files_that_are_too_large_or_no_files(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_YAML", "MAX_JSON"):
        monkeypatch.setattr(parsing, name, 2 << 20)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (large, "larger than (2|10) MB"),
        (tmp_path / "pipe", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
    ):
        with pytest.raises((DatasetError, ParseError), match=reason):
            load(path)
    with pytest.raises((DatasetError, OSError), match=r"(?i)is a directory"):
        load(tmp_path)
