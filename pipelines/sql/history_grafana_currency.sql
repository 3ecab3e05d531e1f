-- Percent of each flake's host time that was current, over the whole of each day, for charts; null
-- where the flake has no system. `seen_`: and in which the host had been seen less than 4 hours before;
-- null in days of which that can't be known. `time` is the day's beginning (UTC). Grain: one row a day and flake.
SELECT
    velocity.snapshot_date::timestamp AT TIME ZONE 'UTC' AS time,
    flake.flake_name,
    velocity.host_hours,
    100 * velocity.up_to_date_share AS up_to_date_percent,
    100 * velocity.within_1_commit_share AS within_1_commit_percent,
    100 * velocity.within_5_commits_share AS within_5_commits_percent,
    100 * velocity.within_20_commits_share AS within_20_commits_percent,
    100 * velocity.within_24_hours_share AS within_24_hours_percent,
    100 * velocity.within_168_hours_share AS within_168_hours_percent,
    100 * velocity.seen_up_to_date_share AS seen_up_to_date_percent,
    100 * velocity.seen_within_1_commit_share AS seen_within_1_commit_percent,
    100 * velocity.seen_within_5_commits_share AS seen_within_5_commits_percent,
    100 * velocity.seen_within_20_commits_share AS seen_within_20_commits_percent,
    100 * velocity.seen_within_24_hours_share AS seen_within_24_hours_percent,
    100 * velocity.seen_within_168_hours_share AS seen_within_168_hours_percent
FROM flakelag.deployment_velocity AS velocity
JOIN flakelag.grafana_flakes AS flake USING (flake_id);
