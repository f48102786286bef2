"""`--config`: cameras with names, zones and addresses, and errors that name line and key."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from live import Mjpeg, until
from paths import ROOT
from serving import running

import maskyolo
from maskyolo.cli import main
from maskyolo.configuration.loading import load_config
from maskyolo.configuration.schema import json_schema
from maskyolo.errors import MaskyoloError
from maskyolo.live.options import ServeOptions
from maskyolo.runtime.named_cameras import NamedCamera
from maskyolo.runtime.options import DetectOptions
from maskyolo.runtime.run import Summary

WRONG = {
    "cameras: []": (1, "cameras", "must not be empty"),
    "blurr: true": (1, "blurr", "did you mean blur?"),
    "conf: 1.5": (1, "conf", "must be at most 1.0, got 1.5"),
    "events: e.csv\nconf: high": (2, "conf", "must be a number, got 'high'"),
    "blur: 1": (1, "blur", "must be true or false"),
    "pipeline: three-stage": (1, "pipeline", "must be one of yolo or two-stage"),
    "conf: 0.3\nimgsz: 640\nconf: 0.4": (3, "conf", "occurs twice"),
    "cameras:\n- name: a\n  source: 0\n- name: a\n  source: 1": (
        4,
        "cameras[1].name",
        "two cameras are called 'a'",
    ),
    "cameras:\n- name: door\n  url: rtsp://me:secret@x/": (2, "cameras[0].source", "is missing"),
    "cameras:\n- name: door\n  source: gopher://me:secret@x/": (
        3,
        "cameras[0].source",
        "'gopher://' are not supported",
    ),
    "cameras:\n- name: door\n  source: {env: NOT_SET}": (
        3,
        "cameras[0].source",
        "variable NOT_SET is not set",
    ),
    "cameras:\n- name: door\n  source: {file: none.txt}": (
        3,
        "cameras[0].source",
        "none.txt: no such file",
    ),
    "cameras:\n- name: door\n  source: rtsp://***@x/live": (3, "cameras[0].source", "is hidden"),
    "cameras:\n- name: door\n  source: {url: rtsp://me:secret@x/}": (
        3,
        "cameras[0].source",
        "got the keys url",
    ),
    "cameras:\n- name: a/b\n  source: 0": (2, "cameras[0].name", "without slashes"),
    "cameras:\n- name: door\n  source: 0\n  zone: 0,0,1": (4, "cameras[0].zone", "got 3 numbers"),
    "cameras:\n- name: door\n  source: 0\n  line: [[0, 0], [1]]": (
        4,
        "cameras[0].line",
        "each point must be [x, y]",
    ),
    "cameras:\n- name: door\n  source: 0\n  alert_after: -1": (
        4,
        "cameras[0].alert_after",
        "must be at least 0",
    ),
    "cameras:\n- rtsp://me:secret@x/": (2, "cameras[0]", "must be 'key: value' lines"),
    "cameras:\n- name: door\n  source: 0\nsource: 1": (4, "source", "cannot be used with cameras"),
    "- conf: 0.3": (1, "", "does not consist of 'key: value' lines"),
}


@pytest.mark.parametrize("text", WRONG)
def test_an_error_is_one_line_that_names_line_and_key(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, key, problem = WRONG[text]
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit) as end:
        main(["detect", "--config", str(file)])
    assert end.value.code == 1
    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.startswith(f"maskyolo: {file}, line {line}: {key}")
    assert problem in shown
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &a [1, 2, 3]\n" * 1 + "".join(f"b{n}: &b{n} [{'*a,' * 99}*a]\n" for n in range(999)),
         "more than 200,000 values"),
        ("model: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("conf: [", "line 2: did not find"),
        ("x" * (1 << 20) + "x", "larger than 1 MB"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_a_line(text: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(MaskyoloError, match=re.escape(problem)):
        load_config(file)


def test_addresses_come_from_variables_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOOR", "rtsp://me:secret@10.0.0.5/live")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "gate.txt").write_text("# the gate\nrtsp://me:other@10.0.0.6/live\n")
    file = tmp_path / "c.yaml"
    sources = ("{env: DOOR}", "{file: gate.txt}", "{file: '$CREDENTIALS_DIRECTORY/gate.txt'}", "0")
    cameras = (f"- {{name: c{n}, source: {source}}}\n" for n, source in enumerate(sources))
    file.write_text("cameras:\n" + "".join(cameras))
    config = load_config(file)
    found = [one.source for one in config.cameras if isinstance(one, NamedCamera)]
    gate = "rtsp://me:other@10.0.0.6/live"
    assert found == ["rtsp://me:secret@10.0.0.5/live", gate, gate, "0"]
    assert "secret" not in repr(config)


def test_options_on_the_command_line_win(samples: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    out, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    camera = {"name": "street", "source": str(samples / "street.mp4"), "zone": "0,0,1,0,1,1"}
    content = {"cameras": [camera], "conf": 0.6, "vid_stride": 25, "save_json": str(out)}
    file.write_text(yaml.safe_dump({**content, "stats_only": True, "project": str(tmp_path)}))
    with pytest.raises(SystemExit) as end:
        main(["detect", "--config", str(file)])
    assert not end.value.code
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["source"] for line in lines} == {"street"}
    assert len(lines) == 3
    args = yaml.safe_load((tmp_path / "predict" / "args.yaml").read_text())
    assert (args["cameras"], args["conf"], args["track"]) == ([camera], 0.6, True)

    words = ["--source", camera["source"], "--save-json", str(other), "--vid-stride", "50"]
    with pytest.raises(SystemExit):
        main(["detect", "--config", str(file), *words])
    lines = [json.loads(line) for line in other.read_text().splitlines()]
    assert [line["source"] for line in lines] == [camera["source"]] * 2

    found = load_config(file).without({"zone"})
    assert [one.zone for one in found.cameras if isinstance(one, NamedCamera)] == [None]


def test_nothing_is_saved_that_the_file_does_not_mention(samples: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"source: {samples / 'portrait.jpg'}\nproject: {tmp_path / 'runs'}\n")
    with pytest.raises(SystemExit) as end:
        main(["detect", "--config", str(file)])
    assert not end.value.code
    assert not (tmp_path / "runs").exists()


def test_args_yaml_of_a_run_is_a_configuration(samples: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.jsonl", tmp_path / "again.jsonl"
    source = samples / "street.mp4"
    settings: dict[str, Any] = {"vid_stride": 30, "conf": 0.5, "classes": ["without_mask"]}
    settings |= {"save_json": first, "save_txt": True, "project": tmp_path}
    list(maskyolo.detect(source, options=DetectOptions(**settings)))
    config = load_config(tmp_path / "predict")
    list(
        maskyolo.detect(
            config.cameras, options=DetectOptions(**config.settings(DetectOptions)),
            save_json=again, save_txt=False,
        )
    )  # fmt: skip
    assert again.read_text() == first.read_text()


def test_cameras_have_their_own_zones_lines_and_alerts(samples: Path) -> None:
    clip = str(samples / "street.mp4")
    cameras = [
        NamedCamera("all", clip, alert_after=1.0),
        NamedCamera("left", clip, zone="0,0,0.35,0,0.35,1,0,1"),
        NamedCamera("line", clip, line="0.5,0,0.5,1", zone="0,0,1,0,1,1,0,1"),
    ]
    summary = Summary()
    events = []
    frames = maskyolo.detect(cameras, track=True, alert_after=float("inf"), summary=summary)
    for _ in frames:
        if summary.people and events.append not in summary.people.listeners:
            summary.people.listeners.append(events.append)
    assert summary.people
    counts = {one.source: one for one in summary.people.counts}
    people = {name: sum(one.people.values()) for name, one in counts.items()}
    assert 0 < people["left"] < people["all"] == people["line"]
    assert {event.source for event in events if event.event == "alert"} == {"all"}
    entered = Counter(event.source for event in events if event.event == "enters")
    assert entered.keys() == {"left", "line"}


def test_a_named_camera_may_be_away_at_the_start(samples: Path) -> None:
    camera = Mjpeg(samples / "office.jpg")
    camera.die()
    here = Mjpeg(samples / "office.jpg")
    errors: list[str] = []
    found: set[str] = set()
    stop = threading.Event()

    def note(source: str, error: MaskyoloError) -> None:
        errors.append(source)
        if len(errors) == 1:
            camera.start()

    named = [NamedCamera("door", camera.url), NamedCamera("gate", here.url)]
    for _, detections in maskyolo.detect(named, reconnect=60, on_error=note, stop=stop):
        found.add(detections.metadata["source"])
        if len(found) == 2:
            break
        here.send(1)
    assert errors[0] == "door"
    assert found == {"door", "gate"}
    camera.die()
    here.die()


def test_serve_has_the_cameras_of_the_file(samples: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    camera = Mjpeg(samples / "office.jpg")
    file.write_text(
        f"cameras:\n- name: front door\n  source: {camera.url}\n  zone: 0,0,1,0,1,1\n"
        "- name: gate\n  source: http://me:secret@127.0.0.1:9/x.mjpg\nblur: true\nconf: 0.4\n"
    )
    config = load_config(file)
    settings = config.settings(ServeOptions)
    assert settings == {"blur": True, "conf": 0.4}
    with running(config.cameras, **settings) as server:
        until(lambda: server.camera(1)["status"] == "live")
        assert [server.camera(n)["name"] for n in (1, 2)] == ["front door", "gate"]
        assert [bool(server.camera(n)["zone"]) for n in (1, 2)] == [True, False]
        until(lambda: server.camera(2)["status"] == "interrupted")
        assert "secret" not in server.ask("/cameras").body.decode()
    camera.die()


def test_the_schema_accepts_the_documented_files_and_rejects_wrong_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--config-schema"])
    schema = json.loads(capsys.readouterr().out)
    assert schema == json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    monkeypatch.setenv("GATE_ADDRESS", "rtsp://10.0.0.6/live")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "door.txt").write_text("rtsp://10.0.0.5/live\n")
    page = (ROOT / "docs" / "live.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    documented = [text for text in blocks if "cameras:" in text]
    assert documented
    for number, text in enumerate(documented):
        validator.validate(yaml.safe_load(text))
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        config = load_config(file)
        DetectOptions(**config.settings(DetectOptions))
        ServeOptions(**config.settings(ServeOptions))
        assert config.cameras
    unseen = ("two cameras", "occurs twice", "cannot be used", "is not set", "no such file")
    unseen += ("hidden", "not supported", "got 3 numbers", "slashes")
    for text, (_, _, problem) in WRONG.items():
        if not any(word in problem for word in unseen):
            assert not validator.is_valid(yaml.safe_load(text)), text


def test_every_option_is_a_key_except_what_only_the_command_line_may_say() -> None:
    keys = set(json_schema()["properties"])
    for kind in (DetectOptions, ServeOptions):
        missing = set(kind.__dataclass_fields__) - keys
        assert missing == {"trust", "args"} & set(kind.__dataclass_fields__)
