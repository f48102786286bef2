"""All backends give the same boxes on real photos, and one-line errors for what they cannot do."""

from __future__ import annotations

import locale
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openvino
import pytest
import supervision as sv
from classifiers import make_classifier
from paths import ROOT, SAMPLES

import maskyolo
from maskyolo.core.boxes import box_iou
from maskyolo.core.choices import Precision
from maskyolo.core.images import read_image
from maskyolo.core.processor import instruction_sets
from maskyolo.errors import DependencyError, MaskyoloError, WeightsError
from maskyolo.models.backends.compile_cache import FILES_KEPT
from maskyolo.models.backends.loading import choose_backend, load_backend
from maskyolo.models.backends.openvino import (
    CORE,
    OpenVinoNetwork,
    native_precision,
    unpinned,
)

PHOTOS = sorted((SAMPLES).glob("*.jpg"))
ONNX = ROOT / "maskyolo" / "weights" / "maskyolo-n.onnx"


def found(model: str = "maskyolo-n", **settings: Any) -> list[sv.Detections]:
    detector = maskyolo.load_detector(model, **{"precision": "fp32", **settings})
    return [detector(read_image(path)) for path in PHOTOS]


@pytest.fixture(scope="module")
def expected() -> list[sv.Detections]:
    return found()


def assert_same(ours: list[sv.Detections], expected: list[sv.Detections], within: float) -> None:
    assert sum(map(len, expected)) > 20
    for one, other in zip(ours, expected, strict=True):
        assert one.confidence is not None
        assert other.confidence is not None
        sure, others_sure = (each.confidence > 0.25 + within for each in (one, other))
        for these, those, chosen in ((one, other, sure), (other, one, others_sure)):
            if chosen.any():
                overlaps = box_iou(these.xyxy[chosen], those.xyxy)
                partner = overlaps.argmax(axis=1)
                assert overlaps.max(axis=1).min() > 0.95
                assert np.abs(these.confidence[chosen] - those.confidence[partner]).max() <= within
                assert (these.class_id[chosen] == those.class_id[partner]).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"backend": "onnxruntime"},
        {"backend": "onnxruntime", "streams": 2},
        {"streams": 2},
        {"backend": "torch"},
    ],
    ids=["ONNX Runtime", "ONNX Runtime, two streams", "OpenVINO, two streams", "PyTorch"],
)
def test_backends_agree_on_real_photos(
    settings: dict[str, Any], expected: list[sv.Detections]
) -> None:
    assert_same(found(**settings), expected, within=0.02)


def test_every_backend_reads_the_size_that_the_weights_say(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    torch = pytest.importorskip("torch")
    from maskyolo.models.onnx_files import set_metadata

    network = onnx.load(ONNX)
    assert load_backend(ONNX).imgsz == 640
    set_metadata(network, imgsz="[416, 416]")
    onnx.save(network, tmp_path / "model.onnx")
    checkpoint = torch.load(ONNX.with_suffix(".pt"), map_location="cpu", weights_only=False)
    checkpoint["train_args"]["imgsz"] = 416
    torch.save(checkpoint, tmp_path / "model.pt")
    openvino.save_model(CORE.read_model(tmp_path / "model.onnx"), tmp_path / "model.xml")
    for backend, suffix in (
        ("openvino", "onnx"),
        ("onnxruntime", "onnx"),
        ("openvino", "xml"),
        ("torch", "pt"),
    ):
        assert load_backend(tmp_path / f"model.{suffix}", backend=backend, trust=True).imgsz == 416
    (tmp_path / "metadata.yaml").write_text(
        "task: detect\nimgsz:\n- 320\n- 320\nnames: {0: with_mask, 1: without_mask}\n"
    )  # Ultralytics'
    assert load_backend(tmp_path / "model.xml").imgsz == 320


def test_shipped_models_name_the_inference_size_of_their_card() -> None:
    for name in ("maskyolo-n", "maskyolo-n-folders"):
        assert load_backend(ONNX.with_name(f"{name}.onnx")).imgsz == 640


def test_threads_may_share_a_backend() -> None:
    detector = maskyolo.load_detector(streams=2)
    images = [read_image(path) for path in PHOTOS] * 2
    alone = [detector(image) for image in images]
    with ThreadPoolExecutor(detector.workers) as pool:  # type: ignore[union-attr]
        together = list(pool.map(detector, images))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.xyxy, other.xyxy)


@pytest.mark.parametrize(
    ("sets", "capabilities", "has_int8", "precision"),
    [
        ({"amx_bf16", "avx512_bf16", "avx512_vnni"}, ["FP32", "BF16"], True, "bf16"),
        ({"avx512_bf16", "avx512_vnni", "avx2"}, ["FP32", "BF16"], True, "int8"),
        ({"avx512_bf16", "avx512_vnni", "avx2"}, ["FP32", "BF16"], False, "bf16"),
        ({"avx512_vnni", "avx2"}, ["FP32", "BF16"], True, "int8"),
        ({"avx512_vnni", "avx2"}, ["FP32", "BF16"], False, "fp32"),
        ({"avx2", "avx_vnni"}, ["FP32"], True, "int8"),
        ({"avx2"}, ["FP32"], True, "int8"),
        ({"sse4_1"}, ["FP32"], True, "fp32"),
        (set(), ["FP32", "BF16"], True, "bf16"),
        (set(), ["FP32", "INT8"], True, "fp32"),
    ],
)
def test_the_fastest_precision_of_the_cpu_is_chosen(
    sets: set[str],
    capabilities: list[str],
    has_int8: bool,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core = SimpleNamespace(get_property=lambda *_: capabilities)
    monkeypatch.setattr("maskyolo.models.backends.openvino.CORE", core)
    monkeypatch.setattr("maskyolo.models.backends.openvino.instruction_sets", lambda: sets)
    assert native_precision(has_int8) == precision


def test_other_devices_than_the_cpu_compute_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    core = SimpleNamespace(
        available_devices=["CPU", "GPU"],
        read_model=CORE.read_model,
        get_property=lambda *_: ["FP32", "BF16"],
    )
    monkeypatch.setattr("maskyolo.models.backends.openvino.CORE", core)
    assert OpenVinoNetwork(ONNX, "GPU").native_precision() == "fp32"


def test_without_bf16_our_network_runs_in_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = "maskyolo.models.backends.openvino.instruction_sets"
    monkeypatch.setattr(sets, lambda: {"avx512_vnni", "avx2"})
    network = load_backend(ONNX, backend="openvino")
    assert (network.precision, network.title) == ("int8", "OpenVINO CPU int8")
    assert load_backend(ONNX, backend="openvino", precision="fp32").precision == "fp32"
    folders = load_backend(ONNX.with_name("maskyolo-n-folders.onnx"), backend="openvino")
    assert folders.precision == "fp32"


@pytest.mark.parametrize(
    ("sets", "capabilities", "file", "hint"),
    [
        ({"avx512_vnni", "avx512_bf16"}, ["FP32", "BF16"], "maskyolo-n-int8.xml", "bf16"),
        ({"avx512_vnni", "avx2"}, ["FP32", "BF16"], "maskyolo-n-int8.xml", "f32"),
        ({"avx2"}, ["FP32"], "maskyolo-n-int8.xml", "f32"),
        ({"avx512_vnni", "avx512_bf16"}, ["FP32", "BF16"], "maskyolo-n.onnx", "f32"),
    ],
)
def test_the_layers_of_int8_that_stay_in_float_are_in_bf16_where_the_cpu_has_it(
    sets: set[str],
    capabilities: list[str],
    file: str,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[dict[str, str]] = []
    core = SimpleNamespace(
        available_devices=["CPU"],
        read_model=CORE.read_model,
        get_property=lambda *_: capabilities,
        compile_model=lambda _model, _device, settings: compiled.append(settings),
    )
    monkeypatch.setattr("maskyolo.models.backends.openvino.CORE", core)
    monkeypatch.setattr("maskyolo.models.backends.openvino.instruction_sets", lambda: sets)
    OpenVinoNetwork(ONNX.with_name(file)).compile((1, 3, 64, 64), precision=Precision.INT8)
    assert [settings["INFERENCE_PRECISION_HINT"] for settings in compiled] == [hint]


def test_int8_finds_the_same_faces(expected: list[sv.Detections]) -> None:
    ours = found(backend="openvino", precision="int8")
    for one, other in zip(ours, expected, strict=True):
        sure = other[other.confidence > 0.5]
        overlap = box_iou(sure.xyxy, one.xyxy)
        assert len(sure) == 0 or overlap.max(axis=1).min() > 0.7
        assert (one.class_id[overlap.argmax(axis=1)] == sure.class_id).all()
    assert sum(map(len, ours)) > 10


def test_a_network_that_is_not_in_int8_says_how_to_export_it() -> None:
    with pytest.raises(MaskyoloError, match="is not in int8") as failed:
        load_backend(
            ONNX.with_name("maskyolo-n-folders.onnx"), backend="openvino", precision="int8"
        )
    assert "maskyolo export --format openvino --precision int8" in failed.value.remedy


def test_a_processor_that_is_imitated_hides_instruction_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "avx_vnni"}
    monkeypatch.setattr("maskyolo.core.processor.describe_processor", lambda: ("", flags))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx512_core_vnni")
    assert instruction_sets() == flags - {"avx512_bf16", "amx_bf16"}
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert instruction_sets() == {"avx2"}
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert instruction_sets() == flags


def test_the_precision_reaches_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    hints: list[str] = []
    compile_network = OpenVinoNetwork.compile

    def compile_and_note(self: OpenVinoNetwork, *settings: Any) -> Any:
        compiled = compile_network(self, *settings)
        hints.append(str(compiled.get_property("INFERENCE_PRECISION_HINT")))
        return compiled

    monkeypatch.setattr(OpenVinoNetwork, "compile", compile_and_note)
    native = OpenVinoNetwork(ONNX).native_precision()
    for precision, hint in {
        "fp32": "float32",
        native: {"fp32": "float32", "bf16": "bfloat16"}[native],
    }.items():
        network = load_backend(ONNX, precision=precision)
        assert network.precision == precision
        network(np.zeros((1, 64, 64, 3), np.uint8))
        assert hint in hints.pop()


@pytest.mark.parametrize(
    ("suffix", "device", "machine", "absent", "backend", "why"),
    [
        (".onnx", "auto", "x86_64", "", "openvino", "the fastest on x86_64"),
        (".onnx", "cpu", "AMD64", "", "openvino", "the fastest on amd64"),
        (".onnx", "auto", "aarch64", "", "onnxruntime", "the fastest on aarch64"),
        (".onnx", "auto", "arm64", "onnxruntime", "openvino", "it is installed"),
        (".onnx", "auto", "x86_64", "openvino", "onnxruntime", "OpenVINO is not installed"),
        (".onnx", "0", "x86_64", "", "onnxruntime", "it computes .onnx on a CUDA GPU"),
        (".xml", "auto", "aarch64", "", "openvino", "nothing else reads .xml"),
        (".pt", "0", "x86_64", "", "torch", "nothing else reads .pt"),
    ],
)
def test_the_backend_is_chosen_by_file_and_machine(
    suffix: str,
    device: str,
    machine: str,
    absent: str,
    backend: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == absent else object()
    )
    assert choose_backend(suffix, device) == (backend, why)


def test_the_description_names_runtime_device_precision_and_reason() -> None:
    assert load_backend(ONNX, backend="onnxruntime").description == "ONNX Runtime on the CPU, fp32"
    assert (
        load_backend(ONNX, backend="openvino", precision="bf16").description
        == "OpenVINO on the CPU, bf16"
    )
    assert load_backend(ONNX, precision="fp32").description.startswith(
        "OpenVINO on the CPU, fp32: the fastest on "
    )


def test_the_title_names_runtime_device_and_precision() -> None:
    assert load_backend(ONNX, backend="onnxruntime").title == "ONNX Runtime CPU fp32"
    assert load_backend(ONNX, backend="openvino", precision="bf16").title == "OpenVINO CPU bf16"


def test_the_first_compiled_network_is_kept_for_the_next_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "maskyolo" / "compiled"

    def run() -> tuple[bool, Any]:
        network = OpenVinoNetwork(ONNX)
        compiled = network.compile((1, 3, 64, 64))
        network.compile((1, 3, 64, 96))
        return compiled.get_property("LOADED_FROM_CACHE"), compiled(
            np.full((1, 3, 64, 64), 0.5, np.float32)
        )[0]

    (cached, first), (again, second) = run(), run()
    assert (cached, again) == (False, True)
    assert np.array_equal(first, second)
    (kept,) = folder.glob("*.blob")
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes()[:1000])
    damaged, third = run()
    assert not damaged
    assert np.array_equal(first, third)
    for age in range(12):
        (folder / f"{age}.blob").write_bytes(b"")
        os.utime(folder / f"{age}.blob", (age, age))
    run()
    assert len(list(folder.glob("*.blob"))) <= FILES_KEPT
    assert not (folder / "0.blob").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no lock there")
def test_while_another_process_compiles_the_cache_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "maskyolo" / "compiled"
    folder.mkdir(parents=True)
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, folder / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        assert OpenVinoNetwork(ONNX).compile((1, 3, 64, 64)) is not None
        assert not list(folder.glob("*.blob"))
        other.communicate("")
    OpenVinoNetwork(ONNX).compile((1, 3, 64, 64))
    assert len(list(folder.glob("*.blob"))) == 1


def test_without_a_cache_it_is_compiled_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert OpenVinoNetwork(ONNX).compile((1, 3, 64, 64)) is not None


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        (
            {"backend": "tensorrt"},
            MaskyoloError,
            "unknown backend 'tensorrt'; choose one of auto, openvino",
        ),
        ({"precision": "int4"}, MaskyoloError, "precision 'int4'; choose one of auto, fp32"),
        (
            {"backend": "torch"},
            WeightsError,
            "read by openvino or onnxruntime; use --backend openvino",
        ),
        (
            {"backend": "onnxruntime", "precision": "bf16"},
            MaskyoloError,
            "onnxruntime does not support bf16",
        ),
        (
            {"backend": "onnxruntime", "device": "mps"},
            MaskyoloError,
            "device 'mps' is not available to ONNX Runtime, which offers",
        ),
    ],
)
def test_what_a_backend_cannot_do_is_an_error_with_a_remedy(
    settings: dict[str, Any], error: type[MaskyoloError], told: str
) -> None:
    with pytest.raises(error, match=told.replace(".", r"\.")):
        load_backend(ONNX, **settings)


def test_missing_onnx_runtime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match=r"pip install .*\[onnxruntime\]"):
        load_backend(ONNX, backend="onnxruntime")


def test_without_openvino_an_onnx_file_runs_in_onnx_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert type(load_backend(ONNX)).__name__ == "OnnxRuntimeBackend"


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_files_that_are_not_detectors_are_refused(backend: str, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match=r"wrong weights .*text\.onnx"):
        load_backend(tmp_path / "text.onnx", backend=backend)
    with pytest.raises(WeightsError, match="a classifier of face crops"):
        load_backend(make_classifier(tmp_path / "classifier.onnx"), backend=backend)


def test_first_inferences_at_once_do_not_wait_for_each_other() -> None:
    """Loading the backend prevents a deadlock.

    OpenVINO 2026.4 deadlocks in two of three tries if threads first ask for a type at once.
    """
    code = """
import sys, threading
import maskyolo.models.backends.openvino
from openvino import Type
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)
def ask():
    together.wait()
    Type.f32.to_dtype()
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_networks_that_threads_compile_at_once_leave_the_locale_as_it_was() -> None:
    def work(place: int) -> None:
        for side in (32, 64, 96):
            OpenVinoNetwork(ONNX).compile((1, 3, 32 * place, side))

    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(1, 7)))
        assert locale.setlocale(locale.LC_CTYPE) == "C.UTF-8"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal stacks")
def test_ctrl_c_after_a_thread_let_go_of_the_last_network() -> None:
    """The next signal does not crash.

    OpenVINO 2026.4 frees the main thread's signal stack if another thread frees its plugin.
    """
    code = """
import gc, signal, sys, threading
from pathlib import Path
from maskyolo.models.backends.openvino import OpenVinoNetwork
held = [OpenVinoNetwork(Path(sys.argv[1]))]
held.append(held[0].compile((1, 3, 64, 64)))
def let_go():
    held.clear()
    gc.collect()
thread = threading.Thread(target=let_go)
thread.start()
thread.join()
signal.raise_signal(signal.SIGINT)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, str(ONNX)],
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in ended.stderr


def test_networks_compiled_unpinned_are_bound_to_no_core_and_those_afterwards_are() -> None:
    network = OpenVinoNetwork(ONNX)

    def is_pinned() -> bool:
        return bool(network.compile((1, 3, 64, 64), streams=2).get_property("ENABLE_CPU_PINNING"))

    pinned = is_pinned()
    with unpinned():
        assert not is_pinned()
    assert is_pinned() == pinned
    assert network.compile((1, 3, 64, 64), threads=1).get_property("INFERENCE_NUM_THREADS") == 1
