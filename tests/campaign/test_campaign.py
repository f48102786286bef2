"""The small campaign of hostile inputs, with one seed (`make campaign` is the large one)."""

import pytest
from harness import Outcome, Size, areas, maskyolo, run_area, untouched


@pytest.mark.parametrize("area", areas())
def test_hostile_inputs_keep_every_promise(area):
    tried, failures = run_area(area, seed=1, size=Size.SMALL)
    assert tried
    assert not failures, "\n".join(f"{failure.name}: {failure.reason}" for failure in failures)


def test_the_harness_sees_what_a_command_prints_and_how_it_ends(tmp_path):
    shown = maskyolo("--version", cwd=tmp_path).check(codes=(0,))
    assert shown.stdout.startswith("maskyolo ")
    maskyolo("detect", "--source", "none.jpg", cwd=tmp_path).check(codes=(1,), says="none.jpg")


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(3, "", "", 0.1, 1.0), "exit code 3"),
        (Outcome(1, "", "Traceback (most recent call last):", 0.1, 1.0), "traceback"),
        (Outcome(0, "a\x1b[2Jb", "", 0.1, 1.0), "control character"),
        (Outcome(1, "done", "", 0.1, 1.0), "without a line"),
        (Outcome(0, "done", "", 0.1, 1.0), "does not say"),
    ],
)
def test_the_harness_sees_a_broken_promise(outcome, reason):
    with pytest.raises(AssertionError, match=reason):
        outcome.check(says="" if outcome.code else "this")


def test_the_harness_ends_what_takes_too_long_or_too_much(tmp_path):
    with pytest.raises(AssertionError, match="still runs after 0 s"):
        maskyolo("detect", "--source", "0", "--reconnect", "9", cwd=tmp_path, seconds=0.0)
    with pytest.raises(AssertionError, match="more than 1"):
        maskyolo("doctor", cwd=tmp_path, memory_mb=1)


def test_the_harness_sees_a_changed_file(tmp_path):
    with pytest.raises(AssertionError, match="changed in"), untouched(tmp_path):
        (tmp_path / "new.txt").touch()
