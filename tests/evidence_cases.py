"""Random fleets whose history was rewritten, whose flakes are deleted, and whose agents are heard.

Belongs here: what the third generation adds to the cases of `tests.random_fleets` that matters to
deployments, velocity and rollouts. Does not belong here: the fleets themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from random import Random

from hypothesis import strategies as st

from tests.plain_reading.rows import Fleet, Heartbeat, State
from tests.random_fleets import INSTANTS, RandomCase, Sizes, random_cases

# From reading at T itself to just too late for its heartbeats.
LATER = (
    timedelta(0),
    timedelta(0),
    timedelta(minutes=20),
    timedelta(hours=1),
    timedelta(hours=1, microseconds=1),
)


@dataclass(frozen=True)
class EvidenceCase(RandomCase):
    """A case, and when its tables were read: as of the last day's T or a little later."""

    extracted_at: datetime


def evidence_cases(*sizes: Sizes) -> st.SearchStrategy[EvidenceCase]:
    """Cases of fleets of any of the given sizes."""

    def with_evidence(case: RandomCase, seed: int) -> EvidenceCase:
        rng = Random(seed)
        known = {each.name: getattr(case, each.name) for each in fields(case)}
        known["fleet"] = _with_evidence(rng, case.fleet)
        return EvidenceCase(**known, extracted_at=case.days[-1] + rng.choice(LATER))

    return st.builds(with_evidence, random_cases(*sizes), st.integers(0, 2**64 - 1))


def _with_evidence(rng: Random, fleet: Fleet) -> Fleet:
    archived = rng.choice((0.0, 0.2, 0.5))
    return replace(
        fleet,
        commits=tuple(
            replace(c, source_archived=rng.random() < archived or rng.choice((None, False)))
            for c in fleet.commits
        ),
        flakes=tuple(
            replace(f, deleted_at=rng.choice((None, None, None, rng.choice(INSTANTS))))
            for f in fleet.flakes
        ),
        agent_heartbeats=None if rng.random() < 0.1 else _heartbeats(rng, fleet.system_states),
    )


def _heartbeats(rng: Random, states: Sequence[State]) -> tuple[Heartbeat, ...]:
    """Of any state, the last of its host or not; some before it, by a clock that runs slow."""
    beats = {
        Heartbeat(state.id, state.timestamp + timedelta(hours=rng.choice((-1, 0.5, 3, 9, 40, 200))))
        for state in states
        for _ in range(rng.choice((0, 1, 2)))
    }
    return tuple(sorted(beats, key=lambda beat: (beat.system_state_id, beat.timestamp)))
