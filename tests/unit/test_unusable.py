"""In which words rows that can't be used are told, and of whom."""

import pyarrow as pa
import pytest

from assets.publishing.unusable import UnusableRows, unusable_rows
from assets.schemas import QUARANTINE, REQUIRED_TABLES


def _quarantine(*rows: tuple[str, str | None, int | None]) -> pa.Table:
    columns = ("source_table", "hostname", "flake_id")
    schema = pa.schema([QUARANTINE.arrow_schema.field(column) for column in columns])
    return pa.Table.from_pylist(
        [dict(zip(columns, row, strict=True)) for row in rows], schema=schema
    )


def test_rows_are_summed_up_by_whom_they_are_about() -> None:
    found = unusable_rows(
        _quarantine(
            ("public.derivations", None, None),
            ("public.systems", "web", 1),
            ("public.systems", "web", 2),
            ("public.system_states", "web", None),
            ("public.commits", None, 1),
            ("public.commits", None, 0),
            ("public.commits", None, 0),
            ("public.commits", None, None),
        ),
        {0: "zero"},
    )

    # Those that make a system look better than it is come first.
    assert found == (
        UnusableRows("public.commits", 2, flake_id=0, flake_name="zero"),
        UnusableRows("public.commits", 1),
        UnusableRows("public.commits", 1, flake_id=1),
        UnusableRows("public.system_states", 1, hostname="web"),
        UnusableRows("public.systems", 2, hostname="web"),
        UnusableRows("public.derivations", 1),
    )
    assert [str(each).partition(" can't")[0] for each in found] == [
        "2 rows of public.commits of flake zero",
        "1 row of public.commits of an unknown flake",
        "1 row of public.commits of flake 1",
        "1 row of public.system_states of host web",
        "2 rows of public.systems of host web",
        "1 row of public.derivations",
    ]


@pytest.mark.parametrize("table", [table.name for table in REQUIRED_TABLES])
def test_each_table_has_an_effect_of_its_own(table: str) -> None:
    others = UnusableRows("public.environments", 1).effect
    known = UnusableRows(f"public.{table}", 1, hostname="web", flake_id=1)
    assert known.effect != others
    assert UnusableRows(f"public.{table}", 1).effect != others


def test_a_name_that_somebody_chose_neither_acts_nor_goes_on_for_ever() -> None:
    told = str(UnusableRows("public.system_states", 1, hostname="\x1b[2J" + "x" * 100_000))
    assert told.isprintable()
    assert len(told) < 300
