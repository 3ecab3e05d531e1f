"""The example of `docs/architecture.md` that shows how the computations group by flake."""

from typing import Any

from tests.fleets import flake, nixos
from tests.markdown import blocks, run_as_notebook
from tests.plain_reading.rows import Commit, Fleet, State
from tests.plain_reading.status import system_deployment_status

EXAMPLE, SHOWN = (
    block for block in blocks("architecture.md") if block.heading == "Grouped by flake"
)


def test_the_example_gives_what_is_shown() -> None:
    answer = run_as_notebook(EXAMPLE.text, {})

    assert answer.to_string(index=False).split() == SHOWN.text.split()


def test_the_example_is_right() -> None:
    names: dict[str, Any] = {}
    answer = run_as_notebook(EXAMPLE.text, names)
    commits = [
        Commit(row.id, row.flake_id, f"c{row.id}", row.commit_timestamp.to_pydatetime())
        for row in names["commits"].itertuples()
    ]
    fleet = Fleet(
        flakes=tuple(flake(number) for number in {c.flake_id for c in commits}),
        commits=tuple(commits),
        derivations=tuple(nixos(c.id, c.id, f"/nix/store/{c.id}") for c in commits),
        system_states=tuple(
            State(number, row.hostname, f"/nix/store/{row.commit_id}", row.timestamp)
            for number, row in enumerate(names["states"].itertuples())
        ),
    )

    status = system_deployment_status(fleet, names["snapshot_at"], names["snapshot_at"])

    assert dict(zip(answer["hostname"], answer["commits_behind"], strict=True)) == {
        row["hostname"]: row["commits_behind"] for row in status
    }
