from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from maskyolo.core.parallel import map_ahead, usable_cpus


def test_results_come_in_order_and_the_items_are_taken_no_more_than_the_bound_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(20):
            taken = number + 1
            yield number

    with ThreadPoolExecutor(3) as pool:
        for place, result in enumerate(map_ahead(pool, lambda item: item * item, items(), ahead=4)):
            assert result == place * place
            assert taken <= place + 4
    assert taken == 20


def test_what_has_not_started_is_cancelled_when_the_caller_stops() -> None:
    started, gate = [], Event()

    def work(item: int) -> int:
        started.append(item)
        if item:
            gate.wait(10)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = map_ahead(pool, work, range(10), ahead=6)
        assert next(results) == 0
        del results  # as when a loop is left early
        gate.set()
    assert len(started) <= 2


def test_an_error_in_the_work_reaches_the_caller() -> None:
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        list(map_ahead(pool, lambda item: 1 // item, [1, 0, 1], ahead=2))


def test_there_is_a_core_to_use() -> None:
    assert usable_cpus() >= 1
