-- How many systems of each flake are in each status at the end of each day, for charts. `time` is the
-- day's beginning (UTC). Grain: one row a day and flake.
SELECT
    velocity.snapshot_date::timestamp AT TIME ZONE 'UTC' AS time,
    flake.flake_name,
    velocity.systems_total,
    velocity.systems_up_to_date,
    velocity.systems_behind,
    velocity.systems_ahead,
    velocity.systems_unknown,
    velocity.systems_no_deployment
FROM flakelag.deployment_velocity AS velocity
JOIN flakelag.grafana_flakes AS flake USING (flake_id);
