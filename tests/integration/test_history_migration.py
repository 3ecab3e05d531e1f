"""What the migration makes of an empty, an outdated or a foreign schema `flakelag`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import psycopg
import pytest
from pydantic import SecretStr

from assets.schemas import DEPLOYMENT_HISTORY, DEPLOYMENT_VELOCITY, SYSTEM_DEPLOYMENT_STATUS
from assets.schemas.dictionary import INTEGER
from pipelines.history.connection import HistorySchemaError
from pipelines.history.database import HistoryDatabase
from pipelines.history.schema import HISTORY, LOADS, HistorySchema, HistoryTable
from tests.integration.history_rows import (
    DAY,
    NOON,
    event,
    events,
    execute,
    replace_day,
    stored,
    values,
)


def migrate(url: str, schema: HistorySchema = HISTORY) -> list[str]:
    return HistoryDatabase(SecretStr(url), schema).migrate()


def load_an_event(url: str) -> None:
    replace_day(
        HistoryDatabase(SecretStr(url)),
        DEPLOYMENT_HISTORY,
        DAY,
        events(event("web", 1, 1)),
        extracted_at=NOON,
    )


class TestEmptyDatabase:
    def test_gets_the_columns_of_the_datasets(self, url: str) -> None:
        migrate(url)
        for dataset in (DEPLOYMENT_HISTORY, SYSTEM_DEPLOYMENT_STATUS, LOADS):
            found = values(
                url,
                "SELECT column_name, data_type, is_nullable = 'YES',"
                " col_description(format('%I.%I', table_schema, table_name)::regclass,"
                " ordinal_position) FROM information_schema.columns"
                f" WHERE table_schema = 'flakelag' AND table_name = '{dataset.name}'"
                " ORDER BY ordinal_position",
            )
            assert [row[:3] for row in found] == [
                (column.name, column.sql_type, column.nullable) for column in dataset.columns
            ]
            for column, (_, _, _, comment) in zip(dataset.columns, found, strict=True):
                assert column.description in str(comment)
                assert column.unit is None or f"({column.unit})" in str(comment)

    def test_gets_one_row_an_event_as_primary_key(self, url: str) -> None:
        migrate(url)
        keys = values(
            url,
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE contype = 'p' AND connamespace = 'flakelag'::regnamespace ORDER BY 1",
        )
        assert keys == [
            ("flakelag.deployment_history", "PRIMARY KEY (deployed_at, hostname, system_state_id)"),
            ("flakelag.deployment_velocity", "PRIMARY KEY (snapshot_date, flake_id)"),
            ("flakelag.loads", "PRIMARY KEY (dataset, partition_key)"),
            ("flakelag.system_deployment_status", "PRIMARY KEY (hostname)"),
        ]

    def test_views_describe_themselves(self, url: str) -> None:
        migrate(url)
        [(view, status)] = values(
            url,
            "SELECT obj_description('flakelag.deployment_history_with_end'::regclass),"
            " col_description('flakelag.view_system_deployment_status'::regclass, 2)",
        )
        assert "`ended_at`" in str(view)
        assert status == SYSTEM_DEPLOYMENT_STATUS["deployment_status"].description

    def test_is_migrated_once_however_many_try(self, url: str) -> None:
        together = Barrier(4)

        def start(_: int) -> list[str]:
            together.wait()
            return migrate(url)

        with ThreadPoolExecutor(4) as threads:
            ran = list(threads.map(start, range(4)))
        assert sum(bool(statements) for statements in ran) == 1
        assert migrate(url) == []


class TestOutdatedSchema:
    def test_missing_columns_are_added_and_views_follow(self, url: str) -> None:
        """The new column stands last in the table, and before `ended_at` in the view."""
        migrate(url)
        load_an_event(url)
        execute(
            url,
            "ALTER TABLE flakelag.deployment_history DROP COLUMN flake_name CASCADE,"
            " DROP COLUMN derivation_path CASCADE",
        )
        execute(
            url,
            "CREATE VIEW flakelag.deployment_history_with_end AS"
            " SELECT *, now() AS ended_at FROM flakelag.deployment_history",
        )
        migrate(url)
        assert migrate(url) == []
        # The row that was there has no path: NOT NULL would have to invent one.
        [row] = values(
            url,
            "SELECT hostname, flake_name, derivation_path, ended_at"
            " FROM flakelag.deployment_history_with_end",
        )
        assert row == ("web", None, None, None)
        load_an_event(url)
        assert stored(url, DEPLOYMENT_HISTORY).equals(events(event("web", 1, 1)))

    def test_velocity_of_before_heartbeats_were_read_keeps_its_rows(self, url: str) -> None:
        migrate(url)
        seen = [name for name in DEPLOYMENT_VELOCITY.column_names if name.startswith("seen_")]
        dropped = ", ".join(f"DROP COLUMN {name} CASCADE" for name in seen)
        execute(url, f"ALTER TABLE flakelag.deployment_velocity {dropped}")
        counts = [c.name for c in DEPLOYMENT_VELOCITY.columns if c.type == INTEGER and c.unit]
        execute(
            url,
            "INSERT INTO flakelag.deployment_velocity (snapshot_date, snapshot_at, flake_id,"
            f" flake_name, host_hours, up_to_date_share, {', '.join(counts)})"
            " VALUES ('2026-03-01', '2026-03-02Z', 1, 'infra', 24, 0.5,"
            f" {', '.join('0' for _ in counts)})",
        )
        migrate(url)
        assert migrate(url) == []
        told = "SELECT up_to_date_share, seen_up_to_date_share FROM flakelag."
        assert values(url, f"{told}deployment_velocity") == [(0.5, None)]
        assert values(url, f"{told}deployment_velocity_rollup") == [(0.5, None)]
        charted = "SELECT up_to_date_percent, seen_up_to_date_percent FROM flakelag."
        assert values(url, f"{charted}grafana_currency") == [(50.0, None)]

    def test_an_empty_table_gets_a_new_column_not_null(self, url: str) -> None:
        migrate(url)
        execute(url, "ALTER TABLE flakelag.deployment_history DROP COLUMN derivation_path CASCADE")
        migrate(url)
        with pytest.raises(psycopg.errors.NotNullViolation, match="derivation_path"):
            execute(
                url,
                "INSERT INTO flakelag.deployment_history"
                " (deployed_at, hostname, system_state_id, deployment_kind)"
                " VALUES (now(), 'web', 1, 'initial')",
            )

    @pytest.mark.parametrize(
        "damage",
        [
            "DROP TABLE flakelag.deployment_history CASCADE",
            "DROP TABLE flakelag.system_deployment_status CASCADE; DROP TABLE flakelag.loads",
            "DROP VIEW flakelag.view_system_deployment_status",
            "CREATE OR REPLACE VIEW flakelag.deployment_history_with_end AS"
            " SELECT *, deployed_at AS ended_at FROM flakelag.deployment_history",
            "DROP INDEX flakelag.deployment_history_by_hostname",
            "ALTER TABLE flakelag.loads DROP CONSTRAINT loads_pkey",
            "COMMENT ON COLUMN flakelag.deployment_history.hostname IS 'something else'",
            "COMMENT ON VIEW flakelag.view_system_deployment_status IS NULL",
            "ALTER TABLE flakelag.deployment_history ALTER COLUMN commit_id SET NOT NULL",
        ],
    )
    def test_what_was_lost_or_changed_is_restored(self, url: str, damage: str) -> None:
        migrate(url)
        execute(url, damage)
        assert migrate(url) != []
        assert migrate(url) == []
        load_an_event(url)

    def test_what_others_added_is_left_alone(self, url: str) -> None:
        migrate(url)
        execute(
            url,
            "ALTER TABLE flakelag.deployment_history ADD COLUMN ticket text,"
            " ADD COLUMN row_number bigint GENERATED ALWAYS AS IDENTITY,"
            " ADD COLUMN noticed_at timestamptz NOT NULL DEFAULT now()",
        )
        migrate(url)
        load_an_event(url)
        assert values(url, "SELECT ticket, row_number FROM flakelag.deployment_history") == [
            (None, 1)
        ]

    def test_a_further_dataset_is_one_further_line(self, url: str) -> None:
        migrate(url)
        further = HistoryTable(replace(SYSTEM_DEPLOYMENT_STATUS, name="further"))
        more = replace(HISTORY, tables=(*HISTORY.tables, further))
        assert any('CREATE TABLE "flakelag"."further"' in ran for ran in migrate(url, more))
        assert migrate(url, more) == []
        # And an older version does not mind it.
        assert migrate(url) == []


class TestForeignSchema:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                "ALTER TABLE flakelag.system_deployment_status ALTER COLUMN flake_id TYPE text",
                "flakelag.system_deployment_status.flake_id is of type text, flakelag needs bigint",
            ),
            (
                "ALTER TABLE flakelag.loads ADD COLUMN owner text NOT NULL",
                "flakelag.loads.owner is NOT NULL but unknown",
            ),
            (
                "ALTER TABLE flakelag.deployment_history"
                " DROP CONSTRAINT deployment_history_pkey, ADD PRIMARY KEY (system_state_id)",
                "flakelag.deployment_history has the primary key (system_state_id), flakelag needs"
                " (deployed_at, hostname, system_state_id)",
            ),
            (
                "DROP TABLE flakelag.loads; CREATE VIEW flakelag.loads AS SELECT 1 AS dataset",
                "flakelag.loads is there but is no table",
            ),
            (
                "DROP VIEW flakelag.view_system_deployment_status;"
                " CREATE TABLE flakelag.view_system_deployment_status ()",
                "flakelag.view_system_deployment_status is there but is no view",
            ),
            (
                "DROP VIEW flakelag.view_system_deployment_status;"
                " CREATE VIEW flakelag.view_system_deployment_status AS SELECT 1 AS hostname;"
                " CREATE VIEW public.mine AS SELECT * FROM flakelag.view_system_deployment_status",
                "view public.mine depends on view flakelag.view_system_deployment_status",
            ),
        ],
        ids=["type", "not null", "primary key", "no table", "no view", "dependent view"],
    )
    def test_is_refused_by_name_and_left_as_it_is(
        self, url: str, change: str, message: str
    ) -> None:
        migrate(url)
        execute(url, change)
        # Would be restored if the migration went through.
        execute(url, "COMMENT ON TABLE flakelag.deployment_history IS 'untouched'")
        with pytest.raises(HistorySchemaError) as refusal:
            migrate(url)
        assert message in str(refusal.value)
        assert values(url, "SELECT obj_description('flakelag.deployment_history'::regclass)") == [
            ("untouched",)
        ]

    def test_a_database_that_cannot_hold_every_name_is_refused(
        self, new_database: Callable[..., str]
    ) -> None:
        with pytest.raises(HistorySchemaError, match=r"encoded in LATIN1.*createdb"):
            migrate(new_database("LATIN1"))
