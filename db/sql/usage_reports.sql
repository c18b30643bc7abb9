-- name: usage_analytics
-- what was booked, by day and meter; $4 are the beginnings of the days, so that one time zone database rules all.
-- An action arrives 5 minutes before its time at the earliest, however late it is
SELECT width_bucket(at, $4::timestamptz[]) - 1 AS day, action, sum(booked)::bigint AS used, count(*) AS records
FROM usage_records
WHERE subject = $1 AND received_at >= $2::timestamptz - interval '5 minutes' AND at >= $2 AND at < $3
  AND booked <> 0 AND ($5::text IS NULL OR action = $5)
GROUP BY 1, 2;

-- name: usage_kept_since
-- the first day of arrival whose records are still kept
SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'usage_records'::regclass;

-- name: count_accounts_by_plan
-- subjects by plan at $1; null: the default one
SELECT CASE WHEN next_plan_at <= $1 THEN next_plan ELSE plan END AS plan, count(*) AS subjects
FROM usage_accounts GROUP BY 1;

-- name: usage_by_plan
-- the periods that run at $1 and the gauges, by the plan that each was judged by last; near: at $2 percent or more.
-- What is folded and what is not, in one statement: true at its moment
SELECT
    plan, action, sum(subjects)::bigint AS subjects, sum(used)::bigint AS used, sum(reserved)::bigint AS reserved,
    coalesce(sum(subjects) FILTER (WHERE band >= $2), 0)::bigint AS near,
    coalesce(sum(subjects) FILTER (WHERE band >= 100), 0)::bigint AS reached
FROM (SELECT * FROM usage_rollups UNION ALL SELECT * FROM usage_changes) r
WHERE period_end > $1 AND period_start <= $1
GROUP BY plan, action HAVING sum(subjects) > 0 ORDER BY plan, action;

-- name: usage_top
-- who used most of the meter $2, in the periods that run at $1 or as a gauge
SELECT subject, plan, used, reserved, limit_value, period_start, period_end, updated_at
FROM (
    SELECT * FROM usage_counters WHERE closed_at IS NULL AND period_end > $1 AND period_start <= $1 AND action = $2
    UNION ALL
    SELECT * FROM usage_counters WHERE period_end IS NULL AND action = $2
) c
WHERE used > 0 ORDER BY used DESC, subject LIMIT $3 OFFSET $4;

-- name: usage_near_limit
-- at $3 percent or more of the limit that they were judged by last, the fullest first; $2: of one meter, or null.
-- One scan of both, which Postgres may share among workers: in two it took half as long again
SELECT subject, action, used, reserved, period_end, updated_at
FROM usage_counters
WHERE ((closed_at IS NULL AND period_end > $1 AND period_start <= $1) OR period_end IS NULL)
  AND limit_value > 0 AND used * 100 >= limit_value * $3::bigint AND ($2::text IS NULL OR action = $2)
ORDER BY used::numeric / limit_value DESC, subject, action LIMIT $4 OFFSET $5;
