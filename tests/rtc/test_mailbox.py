"""One slot, newest wins, across threads."""

from __future__ import annotations

import asyncio
import threading

from telepresence.rtc.mailbox import LoopMailbox, Mailbox


def test_newest_wins_and_what_it_replaced_is_counted() -> None:
    box: Mailbox[int] = Mailbox()
    assert [box.put(n) for n in (1, 2, 3)] == [False, True, True]
    assert box.take(0) == 3
    assert box.take(0) is None
    assert box.replaced == 2


def test_falsy_items_are_items() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(0)
    assert box.take(0) == 0


def test_take_waits_for_another_thread() -> None:
    box: Mailbox[str] = Mailbox()
    threading.Timer(0.02, box.put, ("late",)).start()
    assert box.take(5) == "late"


def test_close_wakes_the_worker_and_drops_what_is_left() -> None:
    box: Mailbox[int] = Mailbox()
    got: list[int | None] = []
    worker = threading.Thread(target=lambda: got.append(box.take()))
    worker.start()
    box.close()
    worker.join(5)
    assert got == [None]
    assert box.put(1) is False
    assert box.take() is None
    assert box.closed


def test_a_busy_loop_gets_only_the_newest_in_one_call() -> None:
    async def test() -> None:
        got: list[int] = []
        box = LoopMailbox(asyncio.get_running_loop(), got.append)
        worker = threading.Thread(target=lambda: [box.put(n) for n in range(100)])
        worker.start()
        worker.join()  # the loop is held up meanwhile
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert got == [99]
        assert box.replaced == 99
        box.put(100)
        await asyncio.sleep(0.01)
        assert got == [99, 100]

    asyncio.run(test())


def test_a_closed_loop_is_no_error() -> None:
    loop = asyncio.new_event_loop()
    box: LoopMailbox[int] = LoopMailbox(loop, lambda item: None)
    loop.close()
    box.put(1)
    assert box.put(2) is False
