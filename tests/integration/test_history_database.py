"""What replacing days and current rows leaves in the history database."""

import datetime as dt
import math

import pandas as pd
import pyarrow as pa
import pytest

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.publishing.replacement import Outcome
from assets.schemas import (
    DEPLOYMENT_HISTORY,
    SYSTEM_DEPLOYMENT_STATUS,
)
from pipelines.history.connection import HistoryDataError
from pipelines.history.database import HistoryDatabase
from tests.integration.history_rows import (
    DAY,
    HOUR,
    MORNING_AFTER,
    NOON,
    database_name,
    event,
    events,
    execute,
    replace_day,
    statuses,
    stored,
    stored_keys,
    values,
)

NEXT_DAY = DAY + dt.timedelta(days=1)


class TestReplaceDay:
    def test_a_repeated_load_leaves_each_event_once(
        self, history: HistoryDatabase, url: str
    ) -> None:
        rows = events(event("web", 1, 1), event("db", 2, 2))
        first = replace_day(history, DEPLOYMENT_HISTORY, DAY, rows, extracted_at=NOON)
        again = replace_day(history, DEPLOYMENT_HISTORY, DAY, rows, extracted_at=NOON)
        later = replace_day(history, DEPLOYMENT_HISTORY, DAY, rows, extracted_at=MORNING_AFTER)
        assert stored(url, DEPLOYMENT_HISTORY).equals(rows)
        assert (first.rows, first.added, first.removed) == (2, 2, 0)
        assert (again.rows, again.added, again.removed) == (2, 0, 0)
        assert later == again
        assert again.decision is Outcome.KEPT_UNCHANGED

    def test_only_the_day_itself_is_replaced(self, history: HistoryDatabase, url: str) -> None:
        neighbours = events(
            event("first", 0, 1),
            event("last", 24 - 1e-9 / 3.6, 2),
            event("next", 24, 3),
        )
        assert neighbours["deployed_at"][1].as_py().microsecond == 999_999
        history.replace_days(
            DEPLOYMENT_HISTORY, [DAY, NEXT_DAY], neighbours, extracted_at=NOON + 24 * HOUR
        )
        outcome = replace_day(
            history, DEPLOYMENT_HISTORY, NEXT_DAY, events(), extracted_at=NOON + 25 * HOUR
        )
        assert outcome.removed == 1
        assert stored_keys(url) == [("first", 1), ("last", 2)]

    def test_days_are_utc_whatever_the_database_thinks(
        self, history: HistoryDatabase, url: str
    ) -> None:
        execute(url, f"ALTER DATABASE {database_name(url)} SET timezone = 'Pacific/Auckland'")
        rows = events(event("early", 0.5, 1), event("late", 23.5, 2))
        for hours in range(2):
            replace_day(history, DEPLOYMENT_HISTORY, DAY, rows, extracted_at=NOON + hours * HOUR)
        replace_day(history, DEPLOYMENT_HISTORY, NEXT_DAY, events(), extracted_at=MORNING_AFTER)
        assert stored(url, DEPLOYMENT_HISTORY).equals(rows)

    def test_an_event_that_changed_is_written_anew(
        self, history: HistoryDatabase, url: str
    ) -> None:
        before = events(event("web", 1, 1, deployment_kind="untraced"), event("db", 2, 2))
        after = events(
            event("web", 1, 1, deployment_kind="initial", commit_id=7), event("db", 2, 2)
        )
        replace_day(history, DEPLOYMENT_HISTORY, DAY, before, extracted_at=MORNING_AFTER)
        outcome = replace_day(
            history, DEPLOYMENT_HISTORY, DAY, after, extracted_at=MORNING_AFTER + HOUR
        )
        assert (outcome.added, outcome.removed) == (1, 1)
        assert stored(url, DEPLOYMENT_HISTORY).equals(after)

    def test_an_older_extract_never_replaces_a_newer_one(
        self, history: HistoryDatabase, url: str
    ) -> None:
        newer, older = events(event("web", 1, 1)), events(event("web", 1, 1), event("db", 2, 2))
        replace_day(history, DEPLOYMENT_HISTORY, DAY, newer, extracted_at=NOON + HOUR)
        outcome = replace_day(history, DEPLOYMENT_HISTORY, DAY, older, extracted_at=NOON)
        assert outcome.decision is Outcome.KEPT_NEWER
        assert outcome.rows == 1
        assert stored(url, DEPLOYMENT_HISTORY).equals(newer)

    def test_while_the_day_lasts_a_late_state_may_take_an_event_back(
        self, history: HistoryDatabase, url: str
    ) -> None:
        replace_day(history, DEPLOYMENT_HISTORY, DAY, events(event("web", 3, 1)), extracted_at=NOON)
        outcome = replace_day(
            history, DEPLOYMENT_HISTORY, DAY, events(event("web", 2, 9)), extracted_at=NOON + HOUR
        )
        assert outcome.decision is Outcome.PUBLISHED
        assert stored_keys(url) == [("web", 9)]

    def test_a_pruned_source_takes_nothing_from_a_closed_day(
        self, history: HistoryDatabase, url: str
    ) -> None:
        whole = events(event("web", 1, 1), event("db", 2, 2))
        # As many events as before, but one that was there is missing.
        pruned = events(event("db", 2, 2), event("new", 3, 3))
        replace_day(history, DEPLOYMENT_HISTORY, DAY, whole, extracted_at=MORNING_AFTER)
        outcome = replace_day(
            history, DEPLOYMENT_HISTORY, DAY, pruned, extracted_at=MORNING_AFTER + 24 * HOUR
        )
        assert outcome.decision is Outcome.KEPT_RICHER
        assert outcome.rows == 2
        assert "that it had: 1 row" in outcome.reason
        assert stored(url, DEPLOYMENT_HISTORY).equals(whole)

    def test_a_closed_day_takes_what_was_missing(self, history: HistoryDatabase, url: str) -> None:
        more = events(event("web", 1, 1), event("db", 2, 2))
        replace_day(history, DEPLOYMENT_HISTORY, DAY, more.slice(1), extracted_at=MORNING_AFTER)
        replace_day(history, DEPLOYMENT_HISTORY, DAY, more, extracted_at=MORNING_AFTER + HOUR)
        assert stored(url, DEPLOYMENT_HISTORY).equals(more)

    def test_without_its_record_a_closed_day_is_replaced(
        self, history: HistoryDatabase, url: str
    ) -> None:
        replace_day(
            history, DEPLOYMENT_HISTORY, DAY, events(event("web", 1, 1)), extracted_at=MORNING_AFTER
        )
        execute(url, f"DELETE FROM flakelag.loads WHERE partition_key = '{DAY}'")
        outcome = replace_day(history, DEPLOYMENT_HISTORY, DAY, events(), extracted_at=NOON)
        assert outcome.removed == 1
        assert stored_keys(url) == []

    def test_every_value_comes_back_as_it_went(self, history: HistoryDatabase, url: str) -> None:
        hostile = [
            "",
            " ",
            "NULL",
            "\\N",
            "\\.",
            "a\n\\.\nb",
            'quo"te',
            "com,ma",
            "tab\t",
            "cr\rlf\r\n",
            "<script>",
            "\u202emark",
            "\U0001f600",
            "ß",
            "x" * 5000,
        ]
        lead_times = [0.1 + 0.2, -0.0, 1e-300, 1.7976931348623157e308, -math.inf, math.inf, None]
        rows = events(
            *(
                event(f"host-{number:02}", 1, 2**62 + number, derivation_path=text, flake_name=text)
                for number, text in enumerate(hostile)
            ),
            *(
                event(f"time-{number}", 2, -number, lead_time_seconds=seconds)
                for number, seconds in enumerate(lead_times)
            ),
        )
        replace_day(history, DEPLOYMENT_HISTORY, DAY, rows, extracted_at=NOON)
        assert stored(url, DEPLOYMENT_HISTORY).to_pylist() == rows.to_pylist()
        again = replace_day(history, DEPLOYMENT_HISTORY, DAY, rows, extracted_at=NOON)
        assert (again.added, again.removed) == (0, 0)

    def test_instants_of_pandas_are_instants(self, history: HistoryDatabase) -> None:
        """The assets hold T as pandas does."""
        newer = pd.Timestamp(MORNING_AFTER).as_unit("us")
        replace_day(history, DEPLOYMENT_HISTORY, DAY, events(), extracted_at=newer)
        outcome = replace_day(history, DEPLOYMENT_HISTORY, DAY, events(), extracted_at=NOON)
        assert outcome.decision is Outcome.KEPT_NEWER


class TestReplaceCurrent:
    def test_systems_come_go_and_change(self, history: HistoryDatabase, url: str) -> None:
        first = statuses({"hostname": "goes"}, {"hostname": "stays"})
        then = statuses({"hostname": "comes"}, {"hostname": "stays", "commits_behind": 3})
        history.replace_current(
            SYSTEM_DEPLOYMENT_STATUS, first, snapshot_at=NOON, extracted_at=NOON
        )
        outcome = history.replace_current(
            SYSTEM_DEPLOYMENT_STATUS, then, snapshot_at=NOON + HOUR, extracted_at=NOON + HOUR
        )
        assert (outcome.rows, outcome.added, outcome.removed) == (2, 2, 2)
        assert stored(url, SYSTEM_DEPLOYMENT_STATUS).equals(then)

    @pytest.mark.parametrize(
        ("snapshot_at", "extracted_at", "decision"),
        [
            # A past day that was filled in afterwards is not the present.
            (NOON - HOUR, NOON + HOUR, Outcome.KEPT_NEWER),
            (NOON, NOON - HOUR, Outcome.KEPT_NEWER),
            (NOON, NOON, Outcome.PUBLISHED),
            (NOON, NOON + HOUR, Outcome.PUBLISHED),
            (NOON + HOUR, NOON + HOUR, Outcome.PUBLISHED),
        ],
    )
    def test_an_earlier_instant_never_replaces_a_later_one(
        self,
        history: HistoryDatabase,
        url: str,
        snapshot_at: dt.datetime,
        extracted_at: dt.datetime,
        decision: Outcome,
    ) -> None:
        kept, given = statuses({"hostname": "kept"}), statuses({"hostname": "given"})
        history.replace_current(SYSTEM_DEPLOYMENT_STATUS, kept, snapshot_at=NOON, extracted_at=NOON)
        outcome = history.replace_current(
            SYSTEM_DEPLOYMENT_STATUS, given, snapshot_at=snapshot_at, extracted_at=extracted_at
        )
        assert outcome.decision is decision
        expected = given if decision is Outcome.PUBLISHED else kept
        assert stored(url, SYSTEM_DEPLOYMENT_STATUS).equals(expected)


class TestUnusableRows:
    """Nothing of what doesn't fit is written, and what was there stays."""

    @pytest.fixture(autouse=True)
    def _something_is_there(self, history: HistoryDatabase) -> None:
        replace_day(history, DEPLOYMENT_HISTORY, DAY, events(event("web", 1, 1)), extracted_at=NOON)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (events(event("web", 25, 1)), "deployment_history.deployed_at has rows of 2026-11-21"),
            (
                events(event("web", 2, 2), event("web", 2, 2, commit_id=5)),
                "same key: Key (deployed_at, hostname, system_state_id)=",
            ),
            (events(event("web", 2, 2)).drop_columns(["commit_id"]), "columns and types"),
            (
                events({**event("web", 2, 2), "derivation_path": None}),
                "flakelag.deployment_history.derivation_path must not be null",
            ),
        ],
        ids=["another day", "one key twice", "a column is missing", "null"],
    )
    def test_is_refused(
        self, history: HistoryDatabase, url: str, rows: pa.Table, message: str
    ) -> None:
        with pytest.raises(HistoryDataError) as refusal:
            replace_day(history, DEPLOYMENT_HISTORY, DAY, rows, extracted_at=NOON + HOUR)
        assert message in str(refusal.value)
        assert stored_keys(url) == [("web", 1)]
        assert values(url, "SELECT extracted_at FROM flakelag.loads") == [(NOON,)]


class TestViews:
    def test_a_deployment_ends_when_the_hosts_next_one_begins(
        self, history: HistoryDatabase, url: str
    ) -> None:
        """Over days, and by the state's id where two share an instant."""
        rows = events(
            event("web", 1, 1),
            event("db", 2, 2),
            event("web", 3, 4),
            event("web", 3, 5),
            event("web", 26, 9),
        )
        history.replace_days(
            DEPLOYMENT_HISTORY, [DAY, NEXT_DAY], rows, extracted_at=NOON + 24 * HOUR
        )
        ended = values(
            url,
            "SELECT system_state_id, ended_at FROM flakelag.deployment_history_with_end"
            " ORDER BY system_state_id",
        )
        midnight = dt.datetime.combine(DAY, dt.time(), dt.UTC)
        assert ended == [
            (1, midnight + 3 * HOUR),
            (2, None),
            (4, midnight + 3 * HOUR),
            (5, midnight + 26 * HOUR),
            (9, None),
        ]

    def test_the_status_view_is_in_triage_order(self, history: HistoryDatabase, url: str) -> None:
        in_order = [
            {
                "hostname": f"{status}-{number}",
                "deployment_status": status,
                "commits_behind": behind,
            }
            for status in DEPLOYMENT_STATUSES
            for number, behind in enumerate([9, 2, 2] if status == "behind" else [None, None, None])
        ]
        # By code point: capitals first.
        in_order[0]["hostname"] = "Zeta"
        history.replace_current(
            SYSTEM_DEPLOYMENT_STATUS, statuses(*in_order[::-1]), snapshot_at=NOON, extracted_at=NOON
        )
        found = values(url, "SELECT hostname FROM flakelag.view_system_deployment_status")
        assert [hostname for (hostname,) in found] == [row["hostname"] for row in in_order]
