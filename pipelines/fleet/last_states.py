"""The last state of each host, as of the instants that heartbeats are read for.

Heartbeats outnumber everything else and stay in the database, but for the newest of each host's
last state, which is looked up by the state. So the last states are remembered while the states are
read.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.schemas.dictionary import Dataset
from assets.schemas.source import SYSTEM_STATES

_EVIDENCE_FOR_A_CLOSED_DAY = timedelta(hours=1)
"""How long after midnight a day that is closed can still be told what was seen at its end."""

_NEVER = np.iinfo(np.int64).min
_GROWTH = 2


class LastStates:
    """Of each host the last state before each of a few instants, by timestamp and then id.

    Memory: the names of the hosts, and sixteen bytes a host and instant.
    """

    def __init__(self, extracted_at: datetime) -> None:
        self.instants = _instants(extracted_at)
        self._slots: dict[str, int] = {}
        self._last = [_Last(_microseconds(instant)) for instant in self.instants]

    def note(self, dataset: Dataset, batch: pa.RecordBatch) -> None:
        """Takes a batch of staged rows; of states, by ascending id."""
        if dataset != SYSTEM_STATES or not len(batch):
            return
        hosts = batch["hostname"].dictionary_encode()
        known = self._slots
        slots = [known.setdefault(name, len(known)) for name in hosts.dictionary.to_pylist()]
        host = np.asarray(slots, np.int64)[hosts.indices.to_numpy()]
        at = pc.cast(batch["timestamp"], pa.int64()).to_numpy()
        ids = batch["id"].to_numpy()
        for last in self._last:
            last.note(host, at, ids, hosts=len(known))

    def look_ups(self, at_once: int) -> Iterator[list[tuple[int, datetime]]]:
        """The ids of the states with the instants, once all states are noted.

        Those of one host stay together, and there are about so many at once at most.
        """
        hosts = len(self._slots)
        for start in range(0, hosts, at_once):
            pairs = {
                (state_id, instant)
                for instant, last in zip(self.instants, self._last, strict=True)
                for state_id in last.ids(start, start + at_once)
            }
            if pairs:
                yield sorted(pairs)


class _Last:
    """The last state of each host before one instant."""

    def __init__(self, before: int) -> None:
        self._before = before
        self._at: NDArray[np.int64] = np.empty(0, np.int64)
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._is_known: NDArray[np.bool_] = np.empty(0, np.bool_)

    def note(
        self,
        host: NDArray[np.int64],
        at: NDArray[np.int64],
        ids: NDArray[np.int64],
        *,
        hosts: int,
    ) -> None:
        self._make_room(hosts)
        if at.max() >= self._before:
            visible = at < self._before
            host, at, ids = host[visible], at[visible], ids[visible]
        np.maximum.at(self._at, host, at)
        # Of equal instants the greatest id counts, which comes last and so is what remains.
        newest = at == self._at[host]
        self._ids[host[newest]] = ids[newest]
        self._is_known[host[newest]] = True

    def ids(self, start: int, stop: int) -> list[int]:
        chosen = slice(start, stop)
        found: list[int] = self._ids[chosen][self._is_known[chosen]].tolist()
        return found

    def _make_room(self, hosts: int) -> None:
        missing = hosts - len(self._at)
        if missing > 0:
            more = max(missing, len(self._at) * (_GROWTH - 1))
            self._at = np.append(self._at, np.full(more, _NEVER))
            self._ids = np.append(self._ids, np.zeros(more, np.int64))
            self._is_known = np.append(self._is_known, np.zeros(more, np.bool_))


def _instants(extracted_at: datetime) -> tuple[datetime, ...]:
    now = extracted_at.astimezone(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if midnight < now <= midnight + _EVIDENCE_FOR_A_CLOSED_DAY:
        return midnight, now
    return (now,)


def _microseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
