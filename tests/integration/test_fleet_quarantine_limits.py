"""How much may be unusable: too much of a table stops the report, too much of one host nobody."""

from collections.abc import Callable

import pytest

from assets.schemas import QUARANTINE
from pipelines.fleet.errors import TooManyUnusableRows
from tests.integration.fleet_support import (
    MemorySink,
    create_fleet,
    extract,
    run_sql,
)

NewDatabase = Callable[..., str]

STATE = "INSERT INTO system_states (id, hostname, change_reason, timestamp, store_path) VALUES "


def insert_commits(url: str, good: int, bad: int) -> None:
    run_sql(
        url,
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        " SELECT 10000 + i, 1, md5(i::text), timestamptz '2026-01-01 11:00:00+00'"
        f" FROM generate_series(1, {good}) AS i",
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        f" SELECT 20000 + i, 1, md5('bad' || i), 'infinity' FROM generate_series(1, {bad}) AS i",
    )


@pytest.mark.parametrize(
    ("good", "bad", "is_refused"),
    [
        # One flake, one bad commit of two; up to ten are never too many.
        (0, 1, False),
        (0, 10, False),
        (0, 11, True),
        # One commit is there already: 1 % of 1,200 is 12.
        (1_187, 12, False),
        (1_186, 13, True),
    ],
)
def test_more_than_one_in_a_hundred_and_more_than_ten_are_too_many(
    new_database: NewDatabase, good: int, bad: int, *, is_refused: bool
) -> None:
    url = create_fleet(new_database())
    insert_commits(url, good, bad)
    sink = MemorySink()

    if not is_refused:
        assert extract(url, sink)[0].rows_quarantined["commits"] == bad
        return
    with pytest.raises(TooManyUnusableRows) as caught:
        extract(url, sink)

    text = str(caught.value)
    assert not caught.value.retryable
    assert f"public.commits: {bad} of {good + bad + 1:,} rows" in text
    assert f"public.commits.commit_timestamp: {bad} infinite_timestamp" in text
    assert "'infinity'; " in text
    assert "Correct or delete" in text
    # Nothing that somebody chose can drive the reader's terminal.
    assert text.replace("\n", "").isprintable()
    assert QUARANTINE.name not in sink.tables


@pytest.mark.parametrize(
    "hostname",
    ["repeat('x', 1000000)", "i || repeat('x', 254)", "'web'", "E' \t'"],
    ids=["one too long", "many too long", "usable", "blank"],
)
def test_one_host_stops_nobody_however_much_it_reports(
    new_database: NewDatabase, hostname: str
) -> None:
    url = create_fleet(new_database(), states=20)
    run_sql(
        url,
        "INSERT INTO system_states (hostname, change_reason, timestamp, store_path)"
        f" SELECT {hostname}, 'startup', 'infinity', '/p' FROM generate_series(1, 100) AS i",
    )

    summary, sink = extract(url)

    assert summary.rows_staged["system_states"] == 21
    assert summary.rows_quarantined["system_states"] == 100
    assert sink.tables[QUARANTINE.name].num_rows == 100


def test_states_of_too_many_hosts_stop_the_report(new_database: NewDatabase) -> None:
    url = create_fleet(new_database(), states=10_000)
    run_sql(
        url,
        "INSERT INTO system_states (hostname, change_reason, timestamp, store_path)"
        " SELECT 'host-' || i, 'startup', 'infinity', '/p' FROM generate_series(1, 11) AS i",
    )

    with pytest.raises(TooManyUnusableRows, match=r"11 of 12 hosts \(91\.7%\)"):
        extract(url, batch_bytes=100_000)


def test_no_text_is_read_that_is_too_long_to_be_used(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        STATE + "(10001, repeat('ü', 1000000), 'startup', now(), '/p'),"
        "(10002, 'web', 'startup', now(), repeat('/ü', 1000000)),"
        "(10003, 'web', 'startup', now(), repeat('p', 4097)),"
        "(10004, 'web', 'startup', now(), repeat('p', 4096)),"
        "(10005, repeat(chr(128512), 253), 'startup', now(), '/p')",
        "INSERT INTO derivations (id, commit_id, derivation_type, derivation_name,"
        " derivation_path, status_id)"
        " VALUES (2, 1, 'nixos', 'web', repeat('d', 100000), 10)",
    )

    _, sink = extract(url)

    states, derivations = "public.system_states", "public.derivations"
    assert [row[:-1] for row in sink.quarantined] == [
        (derivations, "2", "derivation_path", "path_too_long"),
        (states, "10001", "hostname", "hostname_too_long"),
        (states, "10002", "store_path", "path_too_long"),
        (states, "10003", "store_path", "path_too_long"),
    ]
    assert {len(row[-1]) for row in sink.quarantined} == {1000}
    assert sink.column("system_states", "id")[-2:] == [10004, 10005]
    assert sink.column("quarantine", "hostname") == [None, None, "web", "web"]
    assert sum(batch.nbytes for batches in sink.batches.values() for batch in batches) < 100_000
