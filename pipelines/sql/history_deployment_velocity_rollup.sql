-- ROLL-UP over all flakes: context, not a measure of any service (DORA: measure one service at a time).
-- Counts are added up, shares are weighted by what they are shares of. It has no percentile, because
-- percentiles can't be made from percentiles, and no `hosts_deployed`, because a host that changes its
-- flake would count twice. Systems that belong to no flake are in no row. Grain: one row a day (UTC).
SELECT
    snapshot_date::timestamp AT TIME ZONE 'UTC' AS time,
    count(*) AS flakes_rolled_up,
    sum(new_commits)::bigint AS new_commits,
    sum(host_deployments)::bigint AS host_deployments,
    sum(commits_first_deployed)::bigint AS commits_first_deployed,
    sum(change_lead_time_count)::bigint AS change_lead_time_count,
    sum(negative_lead_time_count)::bigint AS negative_lead_time_count,
    sum(rollbacks)::bigint AS rollbacks,
    sum(flapping_deployments)::bigint AS flapping_deployments,
    sum(change_fail_rate_rollback_proxy * host_deployments)
        / nullif(sum(host_deployments), 0)::double precision AS change_fail_rate_rollback_proxy,
    sum(systems_total)::bigint AS systems_total,
    sum(systems_up_to_date)::bigint AS systems_up_to_date,
    sum(systems_behind)::bigint AS systems_behind,
    sum(systems_ahead)::bigint AS systems_ahead,
    sum(systems_unknown)::bigint AS systems_unknown,
    sum(systems_no_deployment)::bigint AS systems_no_deployment,
    max(commits_behind_max) AS commits_behind_max,
    sum(host_hours) AS host_hours,
    sum(up_to_date_share * host_hours) / nullif(sum(host_hours), 0) AS up_to_date_share,
    sum(within_1_commit_share * host_hours) / nullif(sum(host_hours), 0) AS within_1_commit_share,
    sum(within_5_commits_share * host_hours) / nullif(sum(host_hours), 0) AS within_5_commits_share,
    sum(within_20_commits_share * host_hours) / nullif(sum(host_hours), 0)
        AS within_20_commits_share,
    sum(within_24_hours_share * host_hours) / nullif(sum(host_hours), 0) AS within_24_hours_share,
    sum(within_168_hours_share * host_hours) / nullif(sum(host_hours), 0)
        AS within_168_hours_share,
    sum(commit_to_built_count)::bigint AS commit_to_built_count,
    sum(built_to_first_host_count)::bigint AS built_to_first_host_count,
    sum(negative_stage_count)::bigint AS negative_stage_count,
    sum(seen_up_to_date_share * host_hours)
        / nullif(sum(host_hours) FILTER (WHERE seen_up_to_date_share IS NOT NULL), 0) AS seen_up_to_date_share,
    sum(seen_within_1_commit_share * host_hours)
        / nullif(sum(host_hours) FILTER (WHERE seen_within_1_commit_share IS NOT NULL), 0) AS seen_within_1_commit_share,
    sum(seen_within_5_commits_share * host_hours)
        / nullif(sum(host_hours) FILTER (WHERE seen_within_5_commits_share IS NOT NULL), 0) AS seen_within_5_commits_share,
    sum(seen_within_20_commits_share * host_hours)
        / nullif(sum(host_hours) FILTER (WHERE seen_within_20_commits_share IS NOT NULL), 0) AS seen_within_20_commits_share,
    sum(seen_within_24_hours_share * host_hours)
        / nullif(sum(host_hours) FILTER (WHERE seen_within_24_hours_share IS NOT NULL), 0) AS seen_within_24_hours_share,
    sum(seen_within_168_hours_share * host_hours)
        / nullif(sum(host_hours) FILTER (WHERE seen_within_168_hours_share IS NOT NULL), 0) AS seen_within_168_hours_share
FROM flakelag.deployment_velocity
GROUP BY snapshot_date;
