"""The status of random fleets, beside a plain reading of the contract."""

from dataclasses import replace

import pandas as pd
import pyarrow as pa
from hypothesis import given, settings

from assets.compute.feeds import FeedRule
from assets.compute.flake_status import flake_deployment_status
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.schemas import FLAKE_DEPLOYMENT_STATUS, SYSTEM_DEPLOYMENT_STATUS
from tests.fleets import assert_rows, fleet_tables, plain_rows
from tests.plain_reading import status as plain_reading
from tests.plain_reading.rows import Fleet
from tests.plain_reading.words import Row
from tests.random_fleets import ANY_SIZES, PROFILE, RandomCase, hold, random_cases


def check_status(case: RandomCase) -> None:
    timeline = index_fleet(fleet_tables(case.fleet, case.staging))
    for snapshot_at in case.instants:
        read_at = snapshot_at + case.delay
        stamps = (pd.Timestamp(snapshot_at), pd.Timestamp(read_at))
        rule = FeedRule(case.feed_stale_hours)
        status = system_deployment_status(timeline, *stamps, rule)
        expected = plain_reading.system_deployment_status(
            case.fleet, snapshot_at, read_at, case.feed_stale_hours
        )
        assert_rows(SYSTEM_DEPLOYMENT_STATUS, status, expected)

        flakes = flake_deployment_status(timeline, status, *stamps, rule)
        expected = plain_reading.flake_deployment_status(
            case.fleet, snapshot_at, read_at, case.feed_stale_hours
        )
        assert_rows(FLAKE_DEPLOYMENT_STATUS, flakes, expected)


def check_order_and_staging(case: RandomCase) -> None:
    fleet = case.fleet
    reordered = replace(
        fleet,
        flakes=fleet.flakes[::-1],
        commits=fleet.commits[::-1],
        derivations=fleet.derivations[::-1],
        systems=fleet.systems[::-1],
        system_states=fleet.system_states[::-1],
    )
    instant = pd.Timestamp(case.instants[0])
    frames = [
        system_deployment_status(index_fleet(tables), instant, instant)
        for tables in (fleet_tables(fleet), fleet_tables(reordered, case.staging))
    ]
    first, second = (
        pa.Table.from_pandas(frame, SYSTEM_DEPLOYMENT_STATUS.arrow_schema) for frame in frames
    )
    assert first.equals(second)


def check_each_flake_alone(case: RandomCase) -> None:
    instant = pd.Timestamp(case.instants[0])

    def known_rows(tables: Fleet) -> list[Row]:
        # What a path matches elsewhere, and so which reason makes a system unknown, is told by the
        # other flakes' rows; so is the flake of a system that is registered to none.
        frame = system_deployment_status(index_fleet(fleet_tables(tables)), instant, instant)
        rows = plain_rows(SYSTEM_DEPLOYMENT_STATUS, frame)
        return [
            {name: value for name, value in row.items() if name != "matching_commit_count"}
            for row in rows
            if row["is_registered"] and row["deployment_status"] != "unknown"
        ]

    fleet = case.fleet
    registered = {each.hostname: each.flake_id for each in fleet.systems}
    whole = known_rows(fleet)
    for flake in fleet.flakes:
        commits = tuple(each for each in fleet.commits if each.flake_id == flake.id)
        commit_ids = {each.id for each in commits}
        hostnames = {name for name, flake_id in registered.items() if flake_id == flake.id}
        alone = replace(
            fleet,
            flakes=(flake,),
            commits=commits,
            derivations=tuple(d for d in fleet.derivations if d.commit_id in commit_ids),
            systems=tuple(s for s in fleet.systems if s.hostname in hostnames),
            system_states=tuple(s for s in fleet.system_states if s.hostname in hostnames),
        )
        assert known_rows(alone) == [row for row in whole if row["hostname"] in hostnames]


@settings(PROFILE, max_examples=PROFILE.max_examples * 2)
@given(random_cases(ANY_SIZES))
def test_every_status_is_what_the_contract_says(case: RandomCase) -> None:
    hold(case, check_status)


@settings(PROFILE, max_examples=PROFILE.max_examples // 3)
@given(random_cases(ANY_SIZES))
def test_the_order_and_the_staging_of_the_source_rows_change_nothing(case: RandomCase) -> None:
    hold(case, check_order_and_staging)


@settings(PROFILE, max_examples=PROFILE.max_examples // 3)
@given(random_cases(ANY_SIZES))
def test_a_flake_s_systems_need_no_other_flake_s_rows(case: RandomCase) -> None:
    hold(case, check_each_flake_alone)
