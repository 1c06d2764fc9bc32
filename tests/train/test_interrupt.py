"""A Ctrl-C waits for the end of a block, a second one does not."""

import os
import signal
import threading

import pytest

from certvq.train._interrupt import interrupts_held


def _press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_first_one_waits_for_the_end_of_the_block() -> None:
    done = []

    def pressed_once() -> None:
        with interrupts_held():
            _press()
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        pressed_once()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_does_not_wait() -> None:
    done = []

    def pressed_twice() -> None:
        with interrupts_held():
            _press()
            _press()
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        pressed_twice()
    assert done == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_one_nothing_happens() -> None:
    with interrupts_held():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_else_is_left_alone() -> None:
    came: list[int] = []

    def own(number: int, frame: object) -> None:
        came.append(number)

    before = signal.signal(signal.SIGINT, own)
    try:
        with interrupts_held():
            assert signal.getsignal(signal.SIGINT) is own
            _press()
            assert came == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_may_use_it() -> None:
    done = []

    def work() -> None:
        with interrupts_held():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
