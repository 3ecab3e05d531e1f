-- Every deployment made before one instant, as a database administrator would write it by hand: the
-- columns of deployments, in its order. Newer generation of the fleet database; psql's
-- :'snapshot_at' is T.
WITH reports AS (
    SELECT
        hostname,
        store_path,
        timestamp,
        id,
        store_path IS DISTINCT FROM lag(store_path) OVER by_time AS starts_run
    FROM system_states
    WHERE timestamp < :'snapshot_at'
    WINDOW by_time AS (PARTITION BY hostname ORDER BY timestamp, id)
),

events AS MATERIALIZED (
    SELECT
        r.hostname,
        r.store_path,
        r.timestamp,
        r.id,
        s.flake_id AS registered_flake_id
    FROM reports AS r
    LEFT JOIN systems AS s ON s.hostname = r.hostname
    WHERE r.starts_run
),

numbered_commits AS MATERIALIZED (
    SELECT
        *,
        row_number() OVER (PARTITION BY flake_id ORDER BY commit_timestamp, id) AS number
    FROM commits
),

deployed_paths AS MATERIALIZED (
    SELECT DISTINCT store_path AS path
    FROM events
),

matches AS (
    SELECT p.path, d.commit_id
    FROM deployed_paths AS p
    INNER JOIN derivations AS d ON d.store_path = p.path
    UNION
    SELECT p.path, d.commit_id
    FROM deployed_paths AS p
    INNER JOIN derivations AS d ON d.derivation_path = p.path
),

candidates AS (
    SELECT
        e.id AS state_id,
        c.*,
        row_number() OVER (
            PARTITION BY e.id
            ORDER BY
                c.flake_id IS NOT DISTINCT FROM e.registered_flake_id DESC,
                c.commit_timestamp < e.timestamp DESC,
                c.commit_timestamp DESC,
                c.id DESC
        ) AS preference
    FROM events AS e
    INNER JOIN matches AS m ON m.path = e.store_path
    INNER JOIN numbered_commits AS c ON c.id = m.commit_id
),

traced AS MATERIALIZED (
    SELECT
        e.hostname,
        e.store_path,
        e.timestamp,
        e.id AS state_id,
        c.id AS commit_id,
        c.flake_id,
        c.git_commit_hash,
        c.commit_timestamp,
        c.number,
        -- Of the host's events up to this one, how many had a commit.
        count(c.id) OVER (PARTITION BY e.hostname ORDER BY e.timestamp, e.id) AS traced_count
    FROM events AS e
    LEFT JOIN candidates AS c ON c.state_id = e.id AND c.preference = 1
)

SELECT
    e.timestamp AS deployed_at,
    e.hostname,
    e.state_id::bigint AS system_state_id,
    CASE
        WHEN e.commit_id IS NULL THEN 'untraced'
        WHEN previous.commit_id IS NULL THEN 'initial'
        WHEN e.flake_id <> previous.flake_id THEN 'flake_change'
        WHEN e.commit_id = previous.commit_id THEN 'rebuild'
        WHEN e.number > previous.number THEN 'upgrade'
        ELSE 'rollback'
    END AS deployment_kind,
    e.store_path AS derivation_path,
    e.flake_id::bigint AS flake_id,
    f.name AS flake_name,
    e.commit_id::bigint AS commit_id,
    e.git_commit_hash AS commit_hash,
    e.commit_timestamp,
    previous.commit_id::bigint AS previous_commit_id,
    previous.git_commit_hash AS previous_commit_hash,
    extract(EPOCH FROM e.timestamp - e.commit_timestamp)::double precision AS lead_time_seconds,
    CASE
        WHEN e.flake_id = previous.flake_id AND e.number > previous.number
            THEN e.number - previous.number
    END AS commits_included
FROM traced AS e
LEFT JOIN traced AS previous
    ON
        previous.hostname = e.hostname
        AND previous.commit_id IS NOT NULL
        AND previous.traced_count = e.traced_count - (e.commit_id IS NOT NULL)::int
LEFT JOIN flakes AS f ON f.id = e.flake_id
ORDER BY e.timestamp, e.hostname COLLATE "C", e.state_id;
