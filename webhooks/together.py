"""What several requests bring at once, done in one transaction.

A commit waits for the disk, and one for fifty STOPs waits as long as one for a single one. Whoever
comes while a transaction runs waits for the next, which takes all who wait by then.
"""

from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Generic, TypeVar, cast

from prefs.database import Unavailable

Item = TypeVar("Item")
Done = TypeVar("Done")

MOST = 100
"""In one transaction: every address in it stays locked until it ends."""


class _Waiting(Generic[Item, Done]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.done: Done | None = None
        self.error: Exception | None = None
        self.is_over = False
        self.woken = Event()


class Together(Generic[Item, Done]):
    """Calls ``act`` with what its callers bring, in the order in which they come, so many at once.

    ``act`` returns what each of them gets, in their order. Where it raises for several, it is
    asked about one by one, so that nobody suffers for another's; but not while the store is away.
    """

    def __init__(self, act: Callable[[Sequence[Item]], Sequence[Done]]) -> None:
        self._act = act
        self._coming = Lock()
        self._waiting: list[_Waiting[Item, Done]] = []
        self._at_work = False

    def __call__(self, item: Item) -> Done:
        mine: _Waiting[Item, Done] = _Waiting(item)
        with self._coming:
            self._waiting.append(mine)
            waits, self._at_work = self._at_work, True
        if waits:
            # Each for itself: whoever waited for a lock would wait behind the next transaction
            # too, with an answer in hand.
            mine.woken.wait()
        if not mine.is_over:
            self._next()
        if mine.error is not None:
            raise mine.error
        return cast(Done, mine.done)

    def _next(self) -> None:
        """Does what waits, the first of which is the caller's, and wakes the first of the next."""
        with self._coming:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            self._try(batch)
        except BaseException as error:
            # This thread is to end; those that wait for it are not.
            for one in batch:
                one.error = Unavailable(type(error).__name__)
            raise
        finally:
            for one in batch:
                one.is_over = True
            with self._coming:
                following = self._waiting[:1]
                self._at_work = bool(following)
            for one in (*batch, *following):
                one.woken.set()

    def _try(self, batch: list[_Waiting[Item, Done]]) -> None:
        try:
            self._do(batch)
        except Unavailable as error:
            for one in batch:
                one.error = error
        except Exception:
            for one in batch:
                try:
                    self._do([one])
                except Exception as error:
                    one.error = error

    def _do(self, batch: list[_Waiting[Item, Done]]) -> None:
        for one, done in zip(batch, self._act([one.item for one in batch]), strict=True):
            one.done = done
