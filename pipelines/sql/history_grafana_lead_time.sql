-- Change lead time of each flake's days in hours, for charts; null on a day on which no commit became
-- live on any host. `time` is the day's beginning (UTC). Grain: one row a day and flake. Chart one
-- flake at a time: percentiles of several flakes or days can't be combined.
SELECT
    velocity.snapshot_date::timestamp AT TIME ZONE 'UTC' AS time,
    flake.flake_name,
    velocity.change_lead_time_p50_seconds / 3600 AS change_lead_time_p50_hours,
    velocity.change_lead_time_p75_seconds / 3600 AS change_lead_time_p75_hours,
    velocity.change_lead_time_p90_seconds / 3600 AS change_lead_time_p90_hours,
    velocity.change_lead_time_count
FROM flakelag.deployment_velocity AS velocity
JOIN flakelag.grafana_flakes AS flake USING (flake_id);
