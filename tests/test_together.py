"""What comes at once is done at once, and each gets what is theirs."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from prefs.database import Unavailable
from webhooks.together import MOST, Together

CALLERS = 32
SOON = 30
"""Seconds within which everybody has an answer, or never gets one."""


class Store:
    """Notes what it is asked to do together; stays shut until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.batches: list[list[int]] = []
        self.busy = threading.Lock()
        self.refuses: Callable[[int], Exception | None] = lambda item: None

    def __call__(self, items: Sequence[int]) -> list[str]:
        assert self.busy.acquire(blocking=False), "two batches at one time"
        try:
            self.batches.append(list(items))
            assert self.open.wait(SOON)
            for item in items:
                if error := self.refuses(item):
                    raise error
            return [f"done {item}" for item in items]
        finally:
            self.busy.release()


@pytest.fixture
def store() -> Store:
    return Store()


@contextmanager
def waiting(store: Store, items: Sequence[int]) -> Iterator[list["Future[str]"]]:
    """All of ``items`` brought in this order: the first is at work, and the rest wait for it."""
    together = Together(store)
    store.open.clear()
    asked: list[Future[str]] = []
    with ThreadPoolExecutor(len(items)) as threads:
        for number, item in enumerate(items):
            asked.append(threads.submit(together, item))
            _until(lambda n=number: len(together._waiting) == n if n else bool(store.batches))
        store.open.set()
        yield asked


def _until(happens: Callable[[], bool]) -> None:
    for _ in range(SOON * 1000):
        if happens():
            return
        threading.Event().wait(0.001)
    raise AssertionError("did not happen")


def told(asked: "Future[str]") -> str:
    try:
        return asked.result(SOON)
    except (ValueError, Unavailable) as error:
        return f"{type(error).__name__} {error}"


def test_who_comes_alone_waits_for_nobody(store: Store) -> None:
    together = Together(store)
    assert [together(1), together(2)] == ["done 1", "done 2"]
    assert store.batches == [[1], [2]]


def test_who_comes_meanwhile_is_taken_together_in_the_order_of_coming(store: Store) -> None:
    items = [7, 3, 9, 1, 8, 1]
    with waiting(store, items) as asked:
        assert [told(one) for one in asked] == [f"done {item}" for item in items]
    assert store.batches == [[7], [3, 9, 1, 8, 1]]


def test_no_more_than_so_many_are_taken_at_once(store: Store) -> None:
    items = list(range(2 * MOST + 20))
    with waiting(store, items) as asked:
        assert [told(one) for one in asked] == [f"done {item}" for item in items]
    assert [len(batch) for batch in store.batches] == [1, MOST, MOST, 19]
    assert [item for batch in store.batches for item in batch] == items


def test_what_fails_for_one_fails_for_nobody_else(store: Store) -> None:
    store.refuses = lambda item: ValueError(item) if item in (3, 8) else None
    with waiting(store, [1, 2, 3, 4, 8]) as asked:
        said = [told(one) for one in asked]
    assert said == ["done 1", "done 2", "ValueError 3", "done 4", "ValueError 8"]
    # Together first, and then each alone, in their order.
    assert store.batches == [[1], [2, 3, 4, 8], [2], [3], [4], [8]]


def test_while_the_store_is_away_all_are_told_at_once(store: Store) -> None:
    store.refuses = lambda item: Unavailable("away")
    with waiting(store, [1, 2, 3]) as asked:
        assert {told(one) for one in asked} == {"Unavailable away"}
    # Nobody waits while it is asked for each of them whether it is still away.
    assert store.batches == [[1], [2, 3]]


def test_the_store_that_goes_between_one_and_the_next_is_away_for_those_that_follow(
    store: Store,
) -> None:
    def refuses(item: int) -> Exception | None:
        alone = len(store.batches[-1]) == 1
        if item == 3 and not alone:
            return ValueError(item)
        return Unavailable("away") if item >= 3 else None

    store.refuses = refuses
    with waiting(store, [1, 2, 3, 4]) as asked:
        said = [told(one) for one in asked]
    assert said == ["done 1", "done 2", "Unavailable away", "Unavailable away"]


def test_an_answer_too_few_is_nobodys_answer(store: Store) -> None:
    def forgets(items: Sequence[int]) -> list[str]:
        return store(items)[: 2 if len(items) > 2 else None]

    together = Together(forgets)
    store.open.clear()
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(together, 0)
        _until(lambda: bool(store.batches))
        rest = [threads.submit(together, item) for item in (1, 2, 3)]
        _until(lambda: len(together._waiting) == 3)
        store.open.set()
        assert told(first) == "done 0"
        assert [told(one) for one in rest] == ["done 1", "done 2", "done 3"]


def test_a_thread_that_is_ended_leaves_nobody_waiting(store: Store) -> None:
    ends = [True]

    def act(items: Sequence[int]) -> list[str]:
        done = store(items)
        if len(items) > 1 and ends.pop():
            raise SystemExit
        return done

    together = Together(act)
    store.open.clear()
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(together, 0)]
        _until(lambda: bool(store.batches))
        asked += [threads.submit(together, item) for item in (1, 2)]
        _until(lambda: len(together._waiting) == 2)
        store.open.set()
        assert told(asked[0]) == "done 0"
        with pytest.raises(SystemExit):
            asked[1].result(SOON)
        # Of theirs nothing is known to be done.
        assert told(asked[2]) == "Unavailable SystemExit"
    assert together(5) == "done 5"


def test_of_many_threads_everybody_gets_their_own_and_nobody_waits_for_ever(store: Store) -> None:
    store.refuses = lambda item: ValueError(item) if item % 97 == 0 else None
    together = Together(store)
    rounds = 200

    def ask(caller: int) -> list[str]:
        said = []
        for number in range(rounds):
            item = caller * rounds + number + 1
            try:
                said.append(together(item))
            except ValueError as error:
                said.append(f"refused {error}")
        return said

    with ThreadPoolExecutor(CALLERS) as threads:
        asked = [threads.submit(ask, caller) for caller in range(CALLERS)]
        said = [line for one in asked for line in one.result(SOON)]
    items = range(1, CALLERS * rounds + 1)
    assert said == [f"refused {i}" if i % 97 == 0 else f"done {i}" for i in items]
    alone = [item for batch in store.batches if len(batch) == 1 for item in batch]
    assert len(alone) >= len([i for i in items if i % 97 == 0])
    assert max(map(len, store.batches)) <= CALLERS


def test_whoever_has_an_answer_does_not_wait_for_the_next_batch(store: Store) -> None:
    last = -1
    opens = threading.Event()

    def act(items: Sequence[int]) -> list[str]:
        if last in items:
            assert opens.wait(SOON)
        elif len(items) > 1:
            _until(lambda: len(together._waiting) == 1)
        return store(items)

    together = Together(act)
    store.open.clear()
    with ThreadPoolExecutor(CALLERS) as threads:
        asked = [threads.submit(together, 0)]
        _until(lambda: bool(store.batches))
        asked += [threads.submit(together, item) for item in range(1, CALLERS - 1)]
        _until(lambda: len(together._waiting) == CALLERS - 2)
        store.open.set()
        _until(lambda: not together._waiting)
        slow = threads.submit(together, last)
        try:
            assert {told(one) for one in asked} == {f"done {n}" for n in range(CALLERS - 1)}
            assert not slow.done()
        finally:
            opens.set()
        assert told(slow) == f"done {last}"
