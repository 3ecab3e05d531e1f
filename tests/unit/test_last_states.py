"""The last states of hosts, whose heartbeats are looked up: beside a plain reading of the rule."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from assets.schemas.source import FLAKES, SYSTEM_STATES
from pipelines.fleet.last_states import LastStates

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
State = tuple[int, str, datetime]


def look_ups(
    states: list[State], extracted_at: datetime, *, batch_rows: int = 3, at_once: int = 1000
) -> list[list[tuple[int, datetime]]]:
    last_states = LastStates(extracted_at)
    for start in range(0, len(states), batch_rows):
        ids, hostnames, timestamps = zip(*states[start : start + batch_rows], strict=True)
        columns = [ids, hostnames, ["/p"] * len(ids), timestamps]
        arrays = [
            pa.array(c, f.type) for c, f in zip(columns, SYSTEM_STATES.arrow_schema, strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(arrays, schema=SYSTEM_STATES.arrow_schema)
        last_states.note(SYSTEM_STATES, batch)
    return list(last_states.look_ups(at_once))


def plain_look_ups(states: list[State], instants: list[datetime]) -> set[tuple[int, datetime]]:
    found = set()
    for instant in instants:
        for hostname in {name for _, name, _ in states}:
            seen = [(t, i) for i, name, t in states if name == hostname and t < instant]
            if seen:
                found.add((max(seen)[1], instant))
    return found


def at(minutes: float) -> datetime:
    return MIDNIGHT + timedelta(minutes=minutes)


some_states = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(-3, 70).map(at)), max_size=40
).map(lambda rows: [(number, *row) for number, row in enumerate(rows, -2)])


@given(some_states, st.integers(0, 90), st.integers(1, 12), st.integers(1, 4))
def test_they_are_those_of_the_reading_and_for_an_hour_those_of_midnight(
    states: list[State], minutes: int, batch_rows: int, at_once: int
) -> None:
    now = at(minutes)
    batches = look_ups(states, now, batch_rows=batch_rows, at_once=at_once)

    instants = [MIDNIGHT, now] if minutes <= 60 else [now]
    pairs = [pair for batch in batches for pair in batch]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == plain_look_ups(states, instants)
    # No two statements give the same heartbeat.
    ids = [{state for state, _ in batch} for batch in batches]
    assert len(set().union(*ids)) == sum(map(len, ids))
    assert all(0 < len(batch) <= 2 * at_once for batch in batches)


def test_an_instant_is_one_whatever_its_zone() -> None:
    tokyo = (MIDNIGHT + timedelta(minutes=5)).astimezone(None)
    assert look_ups([(1, "a", at(-1))], tokyo) == [[(1, MIDNIGHT), (1, at(5))]]


def test_no_ids_are_special() -> None:
    lowest, highest = -(2**63), 2**63 - 1
    states = [(lowest, "a", at(-5)), (-1, "b", at(-5)), (0, "c", at(-5)), (highest, "d", at(-5))]
    [pairs] = look_ups(states, at(120))
    assert [state for state, _ in pairs] == [lowest, -1, 0, highest]


def test_other_tables_and_no_rows_are_nothing_to_look_up() -> None:
    last_states = LastStates(MIDNIGHT)
    last_states.note(FLAKES, pa.RecordBatch.from_pylist([], FLAKES.arrow_schema))
    last_states.note(SYSTEM_STATES, pa.RecordBatch.from_pylist([], SYSTEM_STATES.arrow_schema))
    assert list(last_states.look_ups(10)) == []
