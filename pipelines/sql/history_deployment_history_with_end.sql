-- The deployments with `ended_at`, when the host's next deployment began; null while it runs.
-- Derived when read, so that a day that is stored does not change because of a later one.
SELECT
    deployment.*,
    (
        SELECT next.deployed_at
        FROM flakelag.deployment_history AS next
        WHERE next.hostname = deployment.hostname
          AND (next.deployed_at, next.system_state_id)
              > (deployment.deployed_at, deployment.system_state_id)
        ORDER BY next.deployed_at, next.system_state_id
        LIMIT 1
    ) AS ended_at
FROM flakelag.deployment_history AS deployment;
