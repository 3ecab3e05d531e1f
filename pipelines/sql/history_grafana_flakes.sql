-- One label a flake, for charts and their variables: its newest name, with its number where several
-- flakes share that name. Grain: one row a flake.
SELECT
    flake_id,
    CASE
        WHEN count(*) OVER (PARTITION BY flake_name) = 1 THEN flake_name
        ELSE flake_name || ' #' || flake_id
    END AS flake_name
FROM (
    SELECT DISTINCT ON (flake_id) flake_id, flake_name
    FROM flakelag.deployment_velocity
    ORDER BY flake_id, snapshot_date DESC
) AS newest;
