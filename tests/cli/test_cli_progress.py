"""Without a terminal, a long job prints a line per minute, and a short one prints nothing."""

import pytest

from maskyolo.cli import main, progress


def test_a_line_per_period_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 10.0, 61.0, 70.0, 125.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    with progress.progress_bar("photos") as on_progress:
        on_progress(100, 4000)
        on_progress(610, 4000)
        on_progress(700, 4000)
        on_progress(1250, None)
    assert capsys.readouterr().err.splitlines() == [
        "maskyolo: photos: 610 of 4000, 5:39 left, 10 photos/s",
        "maskyolo: photos: 1250, 10 photos/s",
    ]


@pytest.mark.parametrize(
    ("command", "advice"),
    [("predict", "maskyolo detect --source …"), ("track", "maskyolo detect --track --source …")],
)
def test_commands_of_other_tools_lead_to_ours(
    command: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "x.jpg"])
    assert caught.value.code == 2
    assert advice in capsys.readouterr().err
