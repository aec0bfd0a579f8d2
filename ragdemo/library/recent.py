"""The values that were used last, a bounded number of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most `limit` values by key; the least recently used one is dropped. Threads may share it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key, made if it is not there; two threads that make it at once get the same one."""
        found = self.find(key)
        return (
            self.keep(key, make()) if found is None else found
        )  # made outside the lock, as it may take long

    def find(self, key: K) -> V | None:
        """The value of a key; None if it is not there."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def drop(self, is_over: Callable[[K], bool]) -> None:
        """Forget the values of keys that are over."""
        with self._lock:
            for key in [key for key in self._values if is_over(key)]:
                del self._values[key]

    def keep(self, key: K, made: V) -> V:
        """The value of a key from now on: the one that is there already, else `made`."""
        with self._lock:
            value = self._values.setdefault(key, made)
            self._values.move_to_end(key)
            while len(self._values) > self._limit:
                self._values.popitem(last=False)
            return value
