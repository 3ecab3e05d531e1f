"""What the newest generation of a demo fleet has seen of its hosts and caches.

Belongs here: heartbeats, and pushes to a binary cache. Does not belong here: states.
"""

import numpy as np
import pyarrow as pa

from pipelines.demo.commits import ragged
from pipelines.demo.hosts import Hosts
from pipelines.demo.source_schema import DERIVATION_STATUSES
from pipelines.demo.spec import DemoFleet, HostKind, Policy
from pipelines.demo.stories import Stories, Story
from pipelines.demo.tables import instants, seconds
from pipelines.demo.text import Integers, take
from pipelines.units import HOUR, MICROSECONDS

_STATUS_ID = {name: number for number, name, _, _ in DERIVATION_STATUSES}
_MINUTE = 60
_EVERY = 5 * _MINUTE
_HEARTBEATS_PER_HOST = 6
# Seconds before the present at which hosts of these kinds were last seen.
_LATE = (20 * _MINUTE, 50 * _MINUTE)
_MISSING = (70 * _MINUTE, 220 * _MINUTE)
_ONE_OF_SO_MANY_IS = 100

_PUSHES = ("pending", "in_progress", "completed", "failed")
_COMPLETED, _FAILED = 2, 3
_SHARE_PUSHED_TWICE = 0.02


def heartbeats_table(
    spec: DemoFleet, hosts: Hosts, stories: Stories, host: Integers, arrived: Integers
) -> pa.Table:
    """The table `agent_heartbeats`: some beats after the last state of each host.

    Args:
        spec: the fleet's.
        hosts: all.
        stories: theirs.
        host: by state, in the order of arrival.
        arrived: by state, microseconds.
    """
    rng = np.random.default_rng([spec.seed, 12])
    _, from_end = np.unique(host[::-1], return_index=True)
    state = len(host) - 1 - from_end
    reporting, reported = host[state], arrived[state]
    until = spec.until_us
    last = until - rng.integers(5, _EVERY, len(state)) * MICROSECONDS
    ended = (hosts.kind[reporting] == HostKind.DEACTIVATED) | (
        stories.story[reporting] == Story.SILENT
    )
    quiet = reported < until - 5 * HOUR * MICROSECONDS
    untold = stories.story[reporting] == Story.NONE
    ended |= quiet & untold & (hosts.policy[reporting] == Policy.STRAGGLER)
    last[ended] = reported[ended] + rng.integers(1, 15 * _MINUTE, ended.sum()) * MICROSECONDS
    # What was reported lately was seen lately, so only of others it can be told.
    can_be = quiet & ~ended & untold
    candidates = np.flatnonzero(can_be & (hosts.kind[reporting] != HostKind.UNREGISTERED))
    candidates = rng.permutation(candidates)
    count = 1 + spec.systems // _ONE_OF_SO_MANY_IS
    for number, (least, most) in enumerate((_LATE, _MISSING)):
        chosen = candidates[number * count : (number + 1) * count]
        last[chosen] = until - rng.integers(least, most, len(chosen)) * MICROSECONDS
    last = np.minimum(last, until - 1)

    row, back = ragged(np.full(len(state), _HEARTBEATS_PER_HOST))
    at = last[row] - back * _EVERY * MICROSECONDS
    during = (at >= reported[row]) | (back == 0)
    state, at = state[row][during], np.maximum(at, reported[row])[during]
    order = np.argsort(at, kind="stable")
    return pa.table(
        {
            "id": pa.array(np.arange(1, len(order) + 1)),
            "system_state_id": pa.array(state[order] + 1),
            "timestamp": instants(at[order]),
        }
    )


def cache_pushes_table(spec: DemoFleet, derivations: pa.Table) -> pa.Table:
    """The table `cache_push_jobs`: what became of the outputs of the systems that were built."""
    rng = np.random.default_rng([spec.seed, 13])
    status = derivations["status_id"].to_numpy()
    is_nixos = np.asarray(derivations["derivation_type"].to_numpy() == "nixos")
    pushed = np.flatnonzero(is_nixos & (status == _STATUS_ID["cache-pushed"]))
    waiting = np.flatnonzero(is_nixos & (status == _STATUS_ID["build-complete"]))
    tried_before = pushed[rng.random(len(pushed)) < _SHARE_PUSHED_TWICE]
    row = np.concatenate([tried_before, pushed, waiting])
    outcome = np.concatenate(
        [
            np.full(len(tried_before), _FAILED),
            np.full(len(pushed), _COMPLETED),
            np.resize(np.array([_FAILED, 0, 1]), len(waiting)),
        ]
    )
    built = derivations["completed_at"].cast(pa.timestamp("us")).to_numpy().astype(np.int64)
    completed = built[row] // MICROSECONDS + rng.integers(_MINUTE, 8 * _MINUTE, len(row))
    return pa.table(
        {
            "id": pa.array(np.arange(1, len(row) + 1)),
            "derivation_id": derivations["id"].to_numpy()[row],
            "status": take(_PUSHES, outcome),
            "completed_at": seconds(completed, known=outcome == _COMPLETED),
            "attempts": pa.array(np.where(outcome == _FAILED, 3, 1)),
        }
    )
