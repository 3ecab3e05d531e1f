-- Where each system stands relative to the latest commit of its flake, now, in triage order.
SELECT
    hostname,
    deployment_status,
    commits_behind,
    current_commit_hash,
    latest_commit_hash,
    current_commit_timestamp,
    latest_commit_timestamp,
    current_derivation_path,
    deployment_time,
    flake_name,
    status_description
FROM flakelag.system_deployment_status
ORDER BY
    array_position(
        ARRAY['no_deployment', 'unknown', 'behind', 'up_to_date', 'ahead'],
        deployment_status
    ),
    commits_behind DESC,
    -- By code point, as in the Parquet files, whatever the database's locale is.
    hostname COLLATE "C";
