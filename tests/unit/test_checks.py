"""What each check says, and of what."""

from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.publishing.checks import (
    COUNTS_SUM,
    EXAMPLES,
    NO_JUMP_OF_UNKNOWN,
    NO_QUIET_FLAKE,
    NOT_EMPTY_OR_SHRUNK,
    NOTHING_QUARANTINED,
    SAME_FLEET,
    Check,
    FlakeCounts,
    FleetRead,
    JudgedCheck,
    RowsRead,
    UnknownShares,
    conformity_checks,
    first_failures,
    judge_quarantined,
    judge_quiet_flakes,
    judge_rows_read,
    share_of_unknown,
)
from assets.publishing.conformity import find_problems
from assets.publishing.unusable import UnusableRows
from assets.schemas import DEPLOYMENTS, SYSTEM_DEPLOYMENT_STATUS
from tests.snapshots import status_row


@pytest.mark.parametrize(
    ("check", "name", "blocks"),
    [
        (NOT_EMPTY_OR_SHRUNK, "not_empty_or_sharply_shrunk", True),
        (SAME_FLEET, "same_fleet_as_before", True),
        (NOTHING_QUARANTINED, "nothing_quarantined", False),
        (conformity_checks(SYSTEM_DEPLOYMENT_STATUS)[0], "one_row_per_hostname", True),
        (conformity_checks(SYSTEM_DEPLOYMENT_STATUS)[1], "statuses_in_closed_set", True),
        (
            conformity_checks(DEPLOYMENTS)[0],
            "one_row_per_deployed_at_and_hostname_and_system_state_id",
            True,
        ),
        (COUNTS_SUM, "counts_sum", True),
        (NO_JUMP_OF_UNKNOWN, "no_jump_of_unknown", False),
        (NO_QUIET_FLAKE, "newest_commits_recent", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_dagster_knows_each_check_by_name_and_by_whether_it_blocks(
    check: Check[Any], name: str, blocks: bool
) -> None:
    spec = check.spec("systems")
    assert spec.key == dg.AssetCheckKey(dg.AssetKey("systems"), name)
    assert spec.description == check.description
    assert spec.blocking == blocks


def test_a_verdict_is_recorded_with_its_figures_and_its_weight() -> None:
    passed = NOT_EMPTY_OR_SHRUNK.on(_rows(50, 100))
    assert not passed.forbids_publishing
    assert passed.result("systems") == dg.AssetCheckResult(
        passed=True,
        asset_key="systems",
        check_name="not_empty_or_sharply_shrunk",
        severity=dg.AssetCheckSeverity.ERROR,
        description="50 rows of public.systems",
        metadata={"rows": 50, "rows_before": 100},
    )

    failed = NOTHING_QUARANTINED.on(
        [UnusableRows("public.systems", 2, "web"), UnusableRows("public.commits", 1, flake_id=7)]
    )
    assert not failed.forbids_publishing
    assert failed.result("quarantine").severity is dg.AssetCheckSeverity.WARN
    assert not failed.result("quarantine").passed
    assert failed.verdict.measured == {"rows": 3}


def _rows(
    rows: int, before: int | None, *, accept: bool = False, may_be_empty: bool = False
) -> RowsRead:
    return RowsRead("systems", rows, before, may_be_empty, accept)


@pytest.mark.parametrize("accept", [False, True])
def test_what_every_fleet_has_is_never_empty(*, accept: bool) -> None:
    verdict = judge_rows_read(_rows(0, None, accept=accept))
    assert not verdict.passed
    assert "public.systems has no row." in verdict.description
    assert verdict.measured == {"rows": 0}


@pytest.mark.parametrize("accept", [False, True])
def test_a_table_that_had_rows_is_never_empty(*, accept: bool) -> None:
    verdict = judge_rows_read(_rows(0, 1, accept=accept, may_be_empty=True))
    assert not verdict.passed
    assert "It had 1 at the last reading." in verdict.description


@pytest.mark.parametrize("before", [None, 0])
def test_a_new_fleet_has_empty_tables(before: int | None) -> None:
    assert judge_rows_read(_rows(0, before, may_be_empty=True)).passed


def test_a_table_may_halve_but_not_shrink_more() -> None:
    assert judge_rows_read(_rows(50, 100)).passed
    verdict = judge_rows_read(_rows(49, 100))
    assert not verdict.passed
    assert verdict.measured == {"rows": 49, "rows_before": 100}
    assert "shrank from 100 to 49" in verdict.description
    assert "--accept-shrunk" in verdict.description


def test_an_operator_can_say_that_the_loss_is_meant() -> None:
    assert judge_rows_read(_rows(49, 100, accept=True)).passed


def test_the_first_reading_has_nothing_to_compare_with() -> None:
    verdict = judge_rows_read(_rows(1, None))
    assert verdict.passed
    assert verdict.measured == {"rows": 1}


def test_another_fleet_is_not_published_over_the_one_before() -> None:
    mine, other = frozenset({"a", "b"}), frozenset({"b", "c"})
    stranger = frozenset({"x"})
    assert SAME_FLEET.on(FleetRead(mine, frozenset(), accept_change=False)).verdict.passed
    assert SAME_FLEET.on(FleetRead(mine, other, accept_change=False)).verdict.passed
    assert SAME_FLEET.on(FleetRead(stranger, mine, accept_change=True)).verdict.passed
    # That no flake was read at all is another check's matter.
    assert SAME_FLEET.on(FleetRead(frozenset(), mine, accept_change=False)).verdict.passed
    judged = SAME_FLEET.on(FleetRead(stranger, mine, accept_change=False))
    assert judged.forbids_publishing
    assert "another fleet" in judged.verdict.description
    assert "REPORTS_DIR" in judged.verdict.description


def test_quarantined_rows_are_told_with_whom_they_are_about_and_what_they_do() -> None:
    nothing = judge_quarantined([])
    assert nothing.passed
    assert nothing.measured == {"rows": 0}
    commits = UnusableRows("public.commits", 2, flake_id=7, flake_name="infra")
    verdict = judge_quarantined([commits])
    assert not verdict.passed
    assert verdict.description == (
        "2 rows of public.commits of flake infra can't be used. Its systems may be behind, even "
        "where they are shown as up_to_date. The quarantine dataset has each row, with its reason."
    )
    many = judge_quarantined([UnusableRows("public.system_states", 9, "x" * 300)] * 1_000)
    assert many.measured == {"rows": 9_000}
    assert "And 995 more flakes or hosts" in many.description
    assert len(many.description) < 2_000


def _judged(*rows: dict[str, object]) -> dict[str, JudgedCheck]:
    table = pa.Table.from_pylist(list(rows), SYSTEM_DEPLOYMENT_STATUS.arrow_schema)
    problems = find_problems(SYSTEM_DEPLOYMENT_STATUS, table)
    return {c.name: c.on(problems) for c in conformity_checks(SYSTEM_DEPLOYMENT_STATUS)}


def test_a_check_fails_where_its_rule_is_broken_and_only_there() -> None:
    key, statuses = "one_row_per_hostname", "statuses_in_closed_set"
    web, lost = status_row("web"), status_row("db") | {"deployment_status": "lost"}
    for rows, broken, named in (
        ((web,), set(), ""),
        ((web, web), {key}, "hostname=web"),
        ((web, lost), {statuses}, "'lost'"),
        ((web, lost, lost), {key, statuses}, "hostname=db"),
    ):
        judged = _judged(*rows)
        assert judged.keys() == {key, statuses}
        assert {name for name, check in judged.items() if check.forbids_publishing} == broken
        assert all(named in judged[name].verdict.description for name in broken)


def test_a_rule_that_could_not_be_judged_does_not_pass() -> None:
    table = pa.table({"hostname": ["web"]})
    problems = find_problems(SYSTEM_DEPLOYMENT_STATUS, table)
    for check in conformity_checks(SYSTEM_DEPLOYMENT_STATUS):
        assert check.on(problems).forbids_publishing


def test_of_many_faults_a_few_are_named() -> None:
    many = [f"host-{number}" for number in range(2 * EXAMPLES)]
    judged = [
        COUNTS_SUM.on(
            FlakeCounts(
                pd.DataFrame({"flake_id": [1]}),
                pd.concat([_counts(2, 1).assign(flake_name=name) for name in many]),
            )
        ),
        NO_QUIET_FLAKE.on(pd.DataFrame({"flake_name": many, "age_hours": 24.0})),
    ]
    for check in judged:
        assert check.verdict.description.count("host-") == 5, check


def _counts(total: int, behind: int) -> pd.DataFrame:
    by_status = {f"systems_{status}": [0] for status in DEPLOYMENT_STATUSES}
    return pd.DataFrame(
        {"flake_id": [1], "flake_name": ["web"], "systems_total": [total]}
        | by_status
        | {"systems_behind": [behind]}
    )


def test_counts_must_add_up_within_a_flake() -> None:
    status = pd.DataFrame({"flake_id": pd.array([1, 1], "Int64")})
    verdict = COUNTS_SUM.on(FlakeCounts(status, _counts(2, 2))).verdict
    assert verdict.passed
    assert verdict.measured == {"systems_in_a_flake": 2, "systems_counted": 2}
    judged = COUNTS_SUM.on(FlakeCounts(status, _counts(2, 1)))
    assert judged.forbids_publishing
    assert "web" in judged.verdict.description


def test_counts_must_add_up_to_the_snapshot() -> None:
    status = pd.DataFrame({"flake_id": pd.array([1, 1, 1, None], "Int64")})
    judged = COUNTS_SUM.on(FlakeCounts(status, _counts(2, 2)))
    assert judged.forbids_publishing
    assert "2 systems counted by flake, 3 in the snapshot" in judged.verdict.description
    assert judged.verdict.measured == {"systems_in_a_flake": 3, "systems_counted": 2}


def test_a_jump_of_unknown_warns_and_does_not_block() -> None:
    assert NO_JUMP_OF_UNKNOWN.on(UnknownShares(0.9, None)).verdict.passed
    assert NO_JUMP_OF_UNKNOWN.on(UnknownShares(0.15, 0.10)).verdict.passed
    judged = NO_JUMP_OF_UNKNOWN.on(UnknownShares(0.25, 0.10))
    assert not judged.verdict.passed
    assert not judged.forbids_publishing


def test_ten_points_more_are_no_jump_and_eleven_are() -> None:
    for before in range(90):
        ten = UnknownShares((before + 10) / 100, before / 100)
        eleven = UnknownShares((before + 11) / 100, before / 100)

        assert NO_JUMP_OF_UNKNOWN.on(ten).verdict.passed, ten
        verdict = NO_JUMP_OF_UNKNOWN.on(eleven).verdict
        assert not verdict.passed, eleven
        assert verdict.measured == {
            "share_unknown": eleven.now,
            "share_unknown_before": eleven.before,
        }


def test_the_share_of_unknown_of_an_empty_fleet_is_zero() -> None:
    assert share_of_unknown([]) == 0.0
    assert share_of_unknown(["unknown", "behind", "behind", "ahead"]) == 0.25


def test_a_quiet_flake_is_named_with_its_age() -> None:
    quiet = pd.DataFrame(
        {"flake_id": [1], "flake_name": ["web"], "age_hours": [240.0], "usual_gap_hours": [5.0]}
    )
    nothing = judge_quiet_flakes(quiet.head(0))
    assert nothing.passed
    assert nothing.measured == {"flakes": 0}
    verdict = judge_quiet_flakes(quiet)
    assert not verdict.passed
    assert "web (10 days)" in verdict.description
    assert verdict.measured == {"flakes": 1}


def test_of_many_days_the_first_failure_is_told() -> None:
    verdicts = [UnknownShares(0.0, 0.0), UnknownShares(0.5, 0.0), UnknownShares(0.9, 0.5)]
    [told] = first_failures(NO_JUMP_OF_UNKNOWN.on(shares) for shares in verdicts)
    assert not told.verdict.passed
    assert told.verdict.measured["share_unknown"] == 0.5
