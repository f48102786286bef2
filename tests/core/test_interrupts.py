"""Ctrl-C waits for what is being written, and for nothing else."""

from __future__ import annotations

import signal
import threading

import pytest

from maskyolo.core.interrupts import uninterrupted


def test_ctrl_c_comes_after_the_block_and_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    done = []

    def write() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is before


def test_nothing_comes_where_nothing_was_sent_and_errors_pass() -> None:
    with uninterrupted():
        pass
    with pytest.raises(ZeroDivisionError), uninterrupted():
        raise ZeroDivisionError


def test_other_threads_are_left_alone() -> None:
    handlers = []

    def look() -> None:
        with uninterrupted():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_a_signal_without_a_handler_of_ours_keeps_its_own() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with uninterrupted():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
