-- The status of every system at one instant, as a database administrator would write it by hand:
-- every column of system_deployment_status but the constant ones (snapshot_date, snapshot_at,
-- extracted_at), in its order. Newer generation of the fleet database; psql's :'snapshot_at' is T.
--
-- Each table is read and sorted once. LATERAL look-ups for each host would be the usual choice, but
-- system_states has no index that could serve them.
WITH reports AS (
    SELECT
        hostname,
        store_path,
        timestamp,
        id,
        store_path IS DISTINCT FROM lag(store_path) OVER by_time AS starts_run,
        lead(id) OVER by_time IS NULL AS is_last
    FROM system_states
    WHERE timestamp < :'snapshot_at'
    WINDOW by_time AS (PARTITION BY hostname ORDER BY timestamp, id)
),

last_reports AS (
    SELECT *
    FROM (
        SELECT
            hostname,
            store_path,
            timestamp AS last_reported_at,
            max(timestamp) FILTER (WHERE starts_run)
                OVER (PARTITION BY hostname ORDER BY timestamp, id) AS deployment_time,
            is_last
        FROM reports
    ) AS runs
    WHERE is_last
),

numbered_commits AS MATERIALIZED (
    SELECT
        id,
        flake_id,
        git_commit_hash,
        commit_timestamp,
        row_number() OVER by_time AS number,
        lead(commit_timestamp) OVER by_time AS next_timestamp
    FROM commits
    WINDOW by_time AS (PARTITION BY flake_id ORDER BY commit_timestamp, id)
),

latest_commits AS (
    SELECT DISTINCT ON (flake_id) *
    FROM numbered_commits
    WHERE commit_timestamp < :'snapshot_at'
    ORDER BY flake_id ASC, number DESC
),

hosts AS MATERIALIZED (
    SELECT
        coalesce(s.hostname, r.hostname) AS hostname,
        s.is_registered IS TRUE AS is_registered,
        s.flake_id AS registered_flake_id,
        s.environment_id,
        coalesce(s.configuration_name, r.hostname) AS configuration_name,
        r.store_path,
        r.deployment_time,
        r.last_reported_at
    FROM (
        SELECT
            hostname,
            is_active,
            visible AS is_registered,
            CASE WHEN visible THEN flake_id END AS flake_id,
            CASE WHEN visible THEN environment_id END AS environment_id,
            CASE
                WHEN visible AND btrim(system_configuration_name, E' \t\n\r\f\x0b') <> ''
                    THEN system_configuration_name
                ELSE hostname
            END AS configuration_name
        FROM (
            SELECT *, created_at IS NULL OR created_at < :'snapshot_at' AS visible
            FROM systems
        ) AS registrations
    ) AS s
    FULL JOIN last_reports AS r ON r.hostname = s.hostname
    WHERE s.is_active IS DISTINCT FROM false AND (s.is_registered OR r.hostname IS NOT NULL)
),

deployed_paths AS MATERIALIZED (
    SELECT DISTINCT store_path AS path
    FROM hosts
    WHERE store_path IS NOT NULL
),

matches AS MATERIALIZED (
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
        h.hostname,
        c.*,
        count(*) OVER (PARTITION BY h.hostname) AS matching_commit_count,
        row_number() OVER (
            PARTITION BY h.hostname
            ORDER BY
                c.flake_id IS NOT DISTINCT FROM h.registered_flake_id DESC,
                c.commit_timestamp < :'snapshot_at' DESC,
                c.commit_timestamp DESC,
                c.id DESC
        ) AS preference
    FROM hosts AS h
    INNER JOIN matches AS m ON m.path = h.store_path
    INNER JOIN numbered_commits AS c ON c.id = m.commit_id
),

standings AS MATERIALIZED (
    SELECT
        h.*,
        current.git_commit_hash AS current_commit_hash,
        current.commit_timestamp AS current_commit_timestamp,
        current.flake_id AS current_flake_id,
        current.number AS current_number,
        current.next_timestamp,
        current.matching_commit_count,
        coalesce(h.registered_flake_id, current.flake_id) AS flake_id,
        latest.git_commit_hash AS latest_commit_hash,
        latest.commit_timestamp AS latest_commit_timestamp,
        latest.number AS latest_number,
        CASE
            WHEN h.store_path IS NULL THEN NULL
            WHEN current.id IS NULL AND NOT EXISTS (
                SELECT FROM matches AS m WHERE m.path = h.store_path
            ) THEN 'path_not_in_derivations'
            WHEN current.id IS NULL THEN 'derivation_without_commit'
            WHEN current.flake_id <> h.registered_flake_id THEN 'flake_mismatch'
            WHEN latest.id IS NULL THEN 'flake_has_no_commits'
        END AS unknown_reason
    FROM hosts AS h
    LEFT JOIN candidates AS current ON current.hostname = h.hostname AND current.preference = 1
    LEFT JOIN latest_commits AS latest
        ON latest.flake_id = coalesce(h.registered_flake_id, current.flake_id)
),

judged AS (
    SELECT
        *,
        CASE
            WHEN store_path IS NULL THEN 'no_deployment'
            WHEN unknown_reason IS NOT NULL THEN 'unknown'
            WHEN current_number = latest_number THEN 'up_to_date'
            WHEN current_number < latest_number THEN 'behind'
            ELSE 'ahead'
        END AS deployment_status,
        CASE
            WHEN store_path IS NOT NULL AND unknown_reason IS NULL
                THEN greatest(latest_number - current_number, 0)
        END AS commits_behind
    FROM standings
),

builds AS (
    SELECT
        d.derivation_name,
        c.flake_id,
        c.number,
        (array_agg(d.output ORDER BY d.id DESC) FILTER (WHERE d.output IS NOT NULL))[1] AS output,
        bool_or(s.is_success AND s.name NOT LIKE 'dry-run-%') AS is_success
    FROM (
        SELECT *, coalesce(store_path, derivation_path) AS output
        FROM derivations
        WHERE derivation_type = 'nixos'
    ) AS d
    INNER JOIN numbered_commits AS c ON c.id = d.commit_id
    LEFT JOIN derivation_statuses AS s ON s.id = d.status_id
    GROUP BY d.derivation_name, c.flake_id, c.number
),

changes AS (
    SELECT
        *,
        output IS DISTINCT FROM lag(output)
            OVER (PARTITION BY derivation_name, flake_id ORDER BY number) AS is_change
    FROM builds
),

-- What was built for each host from its current commit on, counted in one pass.
built_since AS (
    SELECT
        j.hostname,
        count(*) FILTER (WHERE b.output IS NOT NULL AND b.number >= j.current_number)
            AS outputs_known,
        count(*) FILTER (WHERE b.is_change AND b.number > j.current_number) AS changes,
        count(*) FILTER (WHERE b.is_success AND b.number > j.current_number) AS successes,
        max(b.number) FILTER (WHERE b.is_success AND b.number <= j.latest_number) AS last_success
    FROM judged AS j
    INNER JOIN changes AS b
        ON
            b.derivation_name = j.configuration_name
            AND b.flake_id = j.flake_id
            AND b.number <= greatest(j.latest_number, j.current_number)
    GROUP BY j.hostname
)

SELECT
    j.hostname,
    j.deployment_status,
    CASE
        WHEN j.deployment_status = 'no_deployment' THEN 'System registered but never deployed'
        WHEN j.unknown_reason = 'path_not_in_derivations'
            THEN 'Deployed path is not in derivations'
        WHEN j.unknown_reason = 'derivation_without_commit'
            THEN 'Deployed derivation is not linked to a commit'
        WHEN j.unknown_reason = 'flake_mismatch'
            THEN 'Deployed commit belongs to another flake than the system is registered to'
        WHEN j.unknown_reason = 'flake_has_no_commits'
            THEN 'Associated flake has no commit yet'
        WHEN j.deployment_status = 'up_to_date' THEN 'Running latest commit'
        WHEN j.deployment_status = 'behind' THEN format('Behind by %s commit(s)', j.commits_behind)
        ELSE 'Running newer commit than expected'
    END AS status_description,
    j.unknown_reason,
    j.commits_behind,
    CASE
        WHEN b.outputs_known = j.commits_behind + 1 THEN b.changes
    END AS commits_behind_effective,
    CASE
        WHEN j.commits_behind IS NOT NULL AND j.deployment_status <> 'ahead'
            THEN coalesce(b.successes, 0)
        WHEN j.deployment_status = 'ahead' THEN 0
    END AS commits_behind_deployable,
    CASE
        WHEN j.deployment_status = 'behind'
            THEN extract(EPOCH FROM :'snapshot_at' - j.next_timestamp)::double precision / 3600
    END AS hours_behind,
    CASE WHEN j.deployment_status = 'behind' THEN j.next_timestamp END AS behind_since,
    j.flake_id,
    f.name AS flake_name,
    current_flake.name AS current_flake_name,
    j.current_commit_hash,
    j.current_commit_timestamp,
    j.latest_commit_hash,
    j.latest_commit_timestamp,
    deployable.git_commit_hash AS latest_deployable_commit_hash,
    CASE
        WHEN j.store_path IS NOT NULL THEN coalesce(j.matching_commit_count, 0)
    END AS matching_commit_count,
    j.store_path AS current_derivation_path,
    j.deployment_time,
    j.last_reported_at,
    j.is_registered,
    e.name AS environment
FROM judged AS j
LEFT JOIN built_since AS b ON b.hostname = j.hostname
LEFT JOIN numbered_commits AS deployable
    ON deployable.flake_id = j.flake_id AND deployable.number = b.last_success
LEFT JOIN flakes AS f ON f.id = j.flake_id
LEFT JOIN flakes AS current_flake ON current_flake.id = j.current_flake_id
LEFT JOIN environments AS e ON e.id = j.environment_id
ORDER BY
    array_position(
        ARRAY['no_deployment', 'unknown', 'behind', 'up_to_date', 'ahead'], j.deployment_status
    ),
    j.commits_behind DESC,
    j.hostname COLLATE "C";
