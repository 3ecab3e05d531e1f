"""What the agents of a demo fleet reported: states and heartbeats.

Belongs here: reboots, repeated reports and the wide columns that nobody reads. Does not belong
here: deployments.
"""

import numpy as np
import pyarrow as pa

from pipelines.demo.commits import Commits, ragged
from pipelines.demo.deployments import Build, Events
from pipelines.demo.derivation_rows import deployed_paths
from pipelines.demo.evidence import heartbeats_table
from pipelines.demo.hosts import Hosts
from pipelines.demo.source_schema import deployed_path_column
from pipelines.demo.spec import DemoFleet, HostKind, Policy
from pipelines.demo.stories import Stories, Story
from pipelines.demo.tables import instants
from pipelines.demo.text import Integers, hex_text, join, mix, take, uuids
from pipelines.units import DAY, MICROSECONDS

_REASONS = ("startup", "config_change", "state_delta", "cf_deployment")
# Processor, cores, memory in GB.
_MACHINES = (
    ("AMD EPYC 9354P", 32, 256.0),
    ("Intel(R) Xeon(R) E-2388G", 8, 64.0),
    ("AMD Ryzen 7 PRO 7840U", 8, 32.0),
    ("Intel(R) N100", 4, 16.0),
)
_KERNELS = ("6.12.49", "6.12.54", "6.12.58")
_HEARTBEATS_PER_HOST = 3

# Salts: one for each kind of text, so that equal keys give unequal text.
_HARDWARE_ADDRESS, _PRODUCT, _ROOT = range(301, 304)


def state_tables(
    spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events, stories: Stories
) -> dict[str, pa.Table]:
    """The tables `system_states` and `agent_heartbeats`, numbered in the order of arrival."""
    rng = np.random.default_rng([spec.seed, 8])
    at = events.second * MICROSECONDS + rng.integers(0, MICROSECONDS, len(events.second))
    order = np.lexsort((at, events.host))
    events, at = events.where(order), at[order]
    of_event, report_at = _reports(rng, spec, hosts, events, at, stories)

    # Event of each state, the deployments themselves first: a report that shares its instant
    # with a deployment has the greater id.
    event = np.concatenate([np.arange(len(at)), of_event])
    arrived = np.concatenate([at, report_at])
    is_report = np.repeat([False, True], [len(at), len(report_at)])
    order = np.argsort(arrived, kind="stable")
    event, arrived, is_report = event[order], arrived[order], is_report[order]
    host = events.host[event]

    by_agent = (rng.random(len(host)) < 0.75) & (hosts.policy[host] == Policy.AUTOMATIC)
    deployed = np.where(by_agent & (events.build[event] != Build.LOCAL), 3, 1)
    repeated = rng.choice(3, len(host), p=(0.13, 0.05, 0.82))
    states = {
        "id": pa.array(np.arange(1, len(host) + 1)),
        "hostname": pa.array(hosts.name, pa.string()).take(pa.array(host)),
        "change_reason": take(_REASONS, np.where(is_report, repeated, deployed)),
        **_facts(rng, spec, hosts, host),
        deployed_path_column(spec.generation): deployed_paths(
            spec, commits, hosts, events, stories
        ).take(pa.array(event)),
        "timestamp": instants(arrived),
    }
    if spec.is_newest:
        heartbeats = heartbeats_table(spec, hosts, stories, host, arrived)
    else:
        heartbeats = _heartbeats(rng, spec, host, arrived)
    return {"system_states": pa.table(states), "agent_heartbeats": heartbeats}


def _reports(
    rng: np.random.Generator,
    spec: DemoFleet,
    hosts: Hosts,
    events: Events,
    at: Integers,
    stories: Stories,
) -> tuple[Integers, Integers]:
    """Reports that are no deployment: the event whose path each repeats, and its instant."""
    mean = spec.per_host(spec.reports_per_host, usual=80, budget=800_000, least=5)
    reporting, first = np.unique(events.host, return_index=True)
    # A few talkative hosts report hundreds of times.
    wanted = rng.lognormal(-0.32, 0.8, len(reporting)) * mean
    owner, _ = ragged(wanted.astype(np.int64))
    until = spec.until_us
    fell_silent = stories.story[reporting] == Story.SILENT
    ended = np.where(fell_silent, stories.second[reporting], hosts.end[reporting]) * MICROSECONDS
    silent = hosts.kind[reporting] == HostKind.DEACTIVATED
    lost = (hosts.policy[reporting] == Policy.STRAGGLER) & (rng.random(len(reporting)) < 0.5)
    last_event = at[np.append(first[1:], len(at)) - 1]
    seen_until = np.maximum(
        last_event + 1, np.where(silent | lost | fell_silent, np.minimum(ended, until), until)
    )
    begin = at[first]
    span = (seen_until - begin)[owner]
    instant = begin[owner] + (rng.random(len(owner)) * span).astype(np.int64)
    # Within a host, the last event at or before the instant. Both are less than 2**53.
    apart = np.int64(until - at.min() + 2)
    keys = np.searchsorted(reporting, events.host) * apart + (at - at.min())
    event = np.searchsorted(keys, owner * apart + (instant - at.min()), side="right") - 1
    doubled = rng.random(len(owner)) < 0.01
    return event, np.where(doubled, at[event], instant)


def _facts(
    rng: np.random.Generator, spec: DemoFleet, hosts: Hosts, host: Integers
) -> dict[str, pa.Array]:
    """Some of the wide columns, as an agent fills them in."""
    rows = len(hosts.name)
    numbers = np.arange(rows)
    hardware = hex_text(mix(spec.seed, _HARDWARE_ADDRESS, numbers), 12)
    address = join("10", *(pa.array(part).cast(pa.string()) for part in (
        hosts.flake % 250, numbers // 250 % 250, numbers % 250 + 2)), between=".")  # fmt: skip
    interfaces = join('[{"name": "enp1s0", "mac": "', hardware, '", "ipv4": "', address, '"}]')
    of_host = pa.array(host)
    machine = pa.array(rng.integers(0, len(_MACHINES), rows))
    processor, cores, memory = (pa.array(v).take(machine) for v in zip(*_MACHINES, strict=True))
    return {
        "os": take(("NixOS",), np.zeros(len(host), dtype=np.int64)),
        "kernel": take(_KERNELS, rng.integers(0, len(_KERNELS), rows)).take(of_host),
        "memory_gb": memory.take(of_host),
        "uptime_secs": pa.array(rng.integers(30, 40 * DAY, len(host))),
        "cpu_brand": processor.take(of_host),
        "cpu_cores": cores.take(of_host),
        "product_uuid": uuids(mix(spec.seed, _PRODUCT, numbers)).take(of_host),
        "network_interfaces": interfaces.take(of_host),
        "primary_ip_address": address.take(of_host),
        "tpm_present": pa.array(rng.random(rows) < 0.6).take(of_host),
    }


def _heartbeats(
    rng: np.random.Generator, spec: DemoFleet, host: Integers, arrived: Integers
) -> pa.Table:
    """A few beats after the last state of each host, by the agent's own clock."""
    _, from_end = np.unique(host[::-1], return_index=True)
    state = np.repeat(len(host) - 1 - from_end, _HEARTBEATS_PER_HOST)
    at = arrived[state] + rng.integers(0, 900 * MICROSECONDS, len(state))
    at = np.sort(np.minimum(at, spec.until_us - 1))
    return pa.table(
        {
            "id": pa.array(np.arange(1, len(state) + 1)),
            "system_state_id": pa.array(state + 1),
            "timestamp": instants(at),
        }
    )
