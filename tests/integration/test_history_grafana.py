"""What Grafana reads: the views for charts, the panels of `docs/grafana.md`, the roll-up."""

import datetime as dt
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import product
from typing import Any

import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from assets.schemas import DEPLOYMENT_VELOCITY
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.history.database import HistoryDatabase
from tests.integration.history_rows import DAY, MORNING_AFTER, database_name, rows_of
from tests.integration.pipeline import Pipeline
from tests.markdown import Block, blocks

CHARTS = ("grafana_status", "grafana_lead_time", "grafana_currency")
ROLLUP = "deployment_velocity_rollup"

# As PostgreSQL numbers them.
TYPES = {20: "bigint", 25: "text", 701: "double precision", 1184: "timestamptz"}

VARIABLE, STATUS_PANEL, LEAD_TIME_PANEL, CURRENCY_PANEL, ROLLUP_PANEL = blocks("grafana.md")
PANELS = (STATUS_PANEL, LEAD_TIME_PANEL, CURRENCY_PANEL, ROLLUP_PANEL)

CURRENT_SHARES = (
    "up_to_date_share",
    "within_1_commit_share",
    "within_5_commits_share",
    "within_20_commits_share",
    "within_24_hours_share",
    "within_168_hours_share",
)


@pytest.fixture(scope="module")
def grafana(published: Pipeline, postgres_server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """A connection of a role that has what the page says to grant."""
    grants = files("pipelines").joinpath("sql", "history_analyst_grants.sql").read_text("utf-8")
    with psycopg.connect(published.history_url) as owner:
        owner.execute("CREATE ROLE grafana_reader LOGIN")
        owner.execute(grants.replace(':"analyst"', "grafana_reader").encode())
    url = postgres_server.url(database_name(published.history_url), user="grafana_reader")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'America/New_York'")
        yield connection


@pytest.fixture(scope="module")
def velocity(published: Pipeline) -> pd.DataFrame:
    """The rows of the files, for all days."""
    dates = published.reports.published_dates(DEPLOYMENT_VELOCITY)
    assert len(dates) >= 8
    tables = [published.reports.read(DEPLOYMENT_VELOCITY, date) for date in dates]
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def as_grafana_sends(
    panel: Block, first: dt.datetime, last: dt.datetime, flakes: list[str]
) -> bytes:
    """The panel's query, with macro and variable replaced as Grafana does."""
    span = f"time BETWEEN '{first:%Y-%m-%dT%H:%M:%SZ}' AND '{last:%Y-%m-%dT%H:%M:%SZ}'"
    quoted = ",".join("'" + flake.replace("'", "''") + "'" for flake in flakes)
    query = panel.text.replace("$__timeFilter(time)", span).replace("${flake:sqlstring}", quoted)
    assert "$" not in query
    return query.encode()


def ask(connection: psycopg.Connection, query: bytes | sql.Composed) -> list[dict[str, Any]]:
    """The rows of a chart's query, once it has one column of time and else labels and numbers."""
    cursor = connection.cursor(row_factory=dict_row).execute(query)
    columns = {column.name: TYPES[column.type_code] for column in cursor.description or []}
    assert columns.pop("time") == "timestamptz"
    assert columns.pop("flake_name", "text") == "text"
    assert set(columns.values()) <= {"bigint", "double precision"}
    return cursor.fetchall()


def view(name: str) -> sql.Composed:
    return sql.SQL("SELECT * FROM {}").format(sql.Identifier("flakelag", name))


def beginning(date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), dt.UTC)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_has_every_day_of_every_flake(
    grafana: psycopg.Connection, velocity: pd.DataFrame, name: str
) -> None:
    found = {(row["time"], row["flake_name"]) for row in ask(grafana, view(name))}
    days = {beginning(date) for date in velocity["snapshot_date"]}
    assert found == set(product(days, set(velocity["flake_name"])))
    assert len(found) == len(velocity)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.heading)
def test_a_panel_shows_the_days_of_the_dashboards_range(
    grafana: psycopg.Connection, velocity: pd.DataFrame, panel: Block
) -> None:
    dates = sorted(set(velocity["snapshot_date"]))[2:6]
    flakes = labels(grafana)
    query = as_grafana_sends(panel, beginning(dates[0]), beginning(dates[-1]), flakes)
    times = [row["time"] for row in ask(grafana, query)]
    assert times == sorted(times)
    assert set(times) == {beginning(date) for date in dates}


def test_status_over_time_adds_up_the_chosen_flakes(
    grafana: psycopg.Connection, velocity: pd.DataFrame
) -> None:
    chosen = ["infrastructure", "workstations"]
    rows = ask(grafana, as_grafana_sends(STATUS_PANEL, *whole_span(velocity), chosen))
    columns = {
        "up to date": "systems_up_to_date",
        "behind": "systems_behind",
        "ahead": "systems_ahead",
        "unknown": "systems_unknown",
        "no deployment": "systems_no_deployment",
    }
    expected = (
        velocity[velocity["flake_name"].isin(chosen)]
        .groupby("snapshot_date", as_index=False)[list(columns.values())]
        .sum()
    )
    assert rows == [
        {"time": beginning(counts["snapshot_date"])}
        | {name: counts[column] for name, column in columns.items()}
        for counts in expected.to_dict("records")
    ]
    assert sum(row["behind"] for row in rows) > 0


@pytest.mark.parametrize(
    ("panel", "columns", "factor"),
    [
        (
            LEAD_TIME_PANEL,
            {"p50": "change_lead_time_p50_seconds", "p90": "change_lead_time_p90_seconds"},
            1 / 3600,
        ),
        (
            CURRENCY_PANEL,
            {
                "at most 24 h behind": "within_24_hours_share",
                "at most a week behind": "within_168_hours_share",
            },
            100,
        ),
    ],
    ids=["lead time", "currency"],
)
def test_a_panel_shows_what_was_published_of_each_flake(
    grafana: psycopg.Connection,
    velocity: pd.DataFrame,
    panel: Block,
    columns: dict[str, str],
    factor: float,
) -> None:
    rows = ask(grafana, as_grafana_sends(panel, *whole_span(velocity), labels(grafana)))
    found = {(row["time"], row["flake_name"]): row for row in rows}
    assert len(found) == len(velocity)
    for published_row in velocity.to_dict("records"):
        shown = found[beginning(published_row["snapshot_date"]), published_row["flake_name"]]
        for name, column in columns.items():
            value = published_row[column]
            expected = None if pd.isna(value) else pytest.approx(value * factor)
            assert shown[name] == expected
    for name in columns:
        assert {row[name] is None for row in rows} == {True, False}


class TestRollUp:
    @pytest.fixture(scope="module")
    @staticmethod
    def rolled_up(grafana: psycopg.Connection) -> pd.DataFrame:
        return pd.DataFrame(ask(grafana, view(ROLLUP))).set_index("time").sort_index()

    def test_is_labelled_as_one(self, grafana: psycopg.Connection) -> None:
        described = grafana.execute(
            "SELECT obj_description('flakelag.deployment_velocity_rollup'::regclass)"
        ).fetchone()
        assert described is not None
        assert described[0].startswith("ROLL-UP over all flakes")

    def test_adds_counts(self, rolled_up: pd.DataFrame, velocity: pd.DataFrame) -> None:
        days = velocity.groupby("snapshot_date")
        counts = [
            column.name
            for column in DEPLOYMENT_VELOCITY.columns
            if column.name in rolled_up.columns and not column.nullable
        ]
        assert {"new_commits", "host_deployments", "systems_total", "host_hours"} < set(counts)
        for name in counts:
            assert list(rolled_up[name]) == pytest.approx(list(days[name].sum())), name
        assert list(rolled_up["flakes_rolled_up"]) == list(days.size())
        assert list(rolled_up["commits_behind_max"]) == list(days["commits_behind_max"].max())

    @pytest.mark.parametrize("share", CURRENT_SHARES)
    def test_weights_currency_by_host_hours(
        self, rolled_up: pd.DataFrame, velocity: pd.DataFrame, share: str
    ) -> None:
        current = (velocity[share] * velocity["host_hours"]).groupby(velocity["snapshot_date"])
        hours = velocity.groupby("snapshot_date")["host_hours"].sum()
        assert list(rolled_up[share]) == pytest.approx(list(current.sum() / hours))

    def test_weights_the_change_fail_rate_by_deployments(
        self, rolled_up: pd.DataFrame, velocity: pd.DataFrame
    ) -> None:
        rate, weight = velocity["change_fail_rate_rollback_proxy"], velocity["host_deployments"]
        failed = (rate * weight).groupby(velocity["snapshot_date"]).sum()
        expected = failed / weight.groupby(velocity["snapshot_date"]).sum()
        assert list(rolled_up["change_fail_rate_rollback_proxy"]) == pytest.approx(
            list(expected), nan_ok=True
        )

    def test_has_nothing_that_does_not_add_up(self, rolled_up: pd.DataFrame) -> None:
        left_out = set(DEPLOYMENT_VELOCITY.column_names) - set(rolled_up.columns)
        assert left_out == {
            "snapshot_date",
            "snapshot_at",
            "flake_id",
            "flake_name",
            "hosts_deployed",
            *(name for name in DEPLOYMENT_VELOCITY.column_names if "_p" in name and "0" in name),
            "change_lead_time_p75_seconds",
        }


def test_flakes_that_share_a_name_have_labels_of_their_own(
    new_database: Callable[..., str],
) -> None:
    """A flake that was renamed has one label over all days, too."""
    url = new_database()
    history = HistoryDatabase(SecretStr(url))
    history.migrate()
    day_before = DAY - dt.timedelta(days=1)
    rows = [
        {"snapshot_date": day_before, "flake_id": 1, "flake_name": "before"},
        {"snapshot_date": day_before, "flake_id": 2, "flake_name": "shared"},
        {"snapshot_date": DAY, "flake_id": 1, "flake_name": "after"},
        {"snapshot_date": DAY, "flake_id": 2, "flake_name": "shared"},
        {"snapshot_date": DAY, "flake_id": 3, "flake_name": "shared"},
    ]
    history.replace_days(
        DEPLOYMENT_VELOCITY,
        [day_before, DAY],
        rows_of(DEPLOYMENT_VELOCITY, rows),
        extracted_at=MORNING_AFTER,
    )
    with psycopg.connect(url) as connection:
        assert labels(connection) == ["after", "shared #2", "shared #3"]
        for name in CHARTS:
            shown = [(row["time"].date(), row["flake_name"]) for row in ask(connection, view(name))]
            assert sorted(shown) == [
                (day_before, "after"),
                (day_before, "shared #2"),
                (DAY, "after"),
                (DAY, "shared #2"),
                (DAY, "shared #3"),
            ]


@pytest.mark.parametrize("name", [*CHARTS, "grafana_flakes"])
def test_the_columns_of_charts_say_what_they_are(grafana: psycopg.Connection, name: str) -> None:
    undescribed = grafana.execute(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = %s::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
        """,
        [f"flakelag.{name}"],
    ).fetchall()
    assert undescribed == []


def labels(connection: psycopg.Connection) -> list[str]:
    """What the dashboard's variable offers."""
    return [label for (label,) in connection.execute(VARIABLE.text.encode())]


def whole_span(velocity: pd.DataFrame) -> tuple[dt.datetime, dt.datetime]:
    dates = velocity["snapshot_date"]
    return beginning(dates.min()), beginning(dates.max())
