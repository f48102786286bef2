"""Training over several hosts is refused."""

import pytest

from maskyolo.errors import MaskyoloError
from maskyolo.training.checks import find_device


def test_torchrun_over_two_hosts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    with pytest.raises(MaskyoloError, match="several hosts: torchrun started 2"):
        find_device("cpu")


def test_torchrun_on_one_host_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUP_WORLD_SIZE", "1")
    assert find_device("cpu") == "cpu"
