-- name: wait_to_write
-- no pass meanwhile; a check needs no such thing, since it sees one moment
SELECT pg_advisory_xact_lock(7310575178854134886) WHERE current_setting('transaction_read_only') = 'off';

-- name: count_session_rollups
-- the planner's estimate; -1 before the first ANALYZE
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'session_rollups'::regclass;

-- name: orphan_session_rollups
SELECT r.session_id FROM session_rollups r
WHERE NOT EXISTS (SELECT FROM user_sessions s WHERE s.session_id = r.session_id COLLATE "C");

-- name: noted_sessions
-- which of these wait for the next pass; those that are aside may wait for this
SELECT DISTINCT k.id AS session_id FROM tracking_changes c CROSS JOIN unnest(c.sessions) AS k (id)
WHERE k.id = ANY($1::text[]) AND NOT EXISTS (SELECT FROM sessions_aside a WHERE a.session_id = k.id COLLATE "C");

-- name: arrivals
SELECT session_id, received_at FROM user_sessions WHERE session_id = ANY($1::text[]);

-- name: count_for_nothing
UPDATE session_rollups SET counted = $2 WHERE session_id = ANY($1::text[]);

-- name: wrong_visitor_hours
SELECT visitor, hour, sessions FROM visitor_hours
EXCEPT SELECT visitor COLLATE "C", hour, count(*)::int FROM session_rollups GROUP BY 1, 2 ORDER BY 1, 2;

-- name: missing_visitor_hours
SELECT visitor COLLATE "C" AS visitor, hour, count(*)::int AS sessions FROM session_rollups GROUP BY 1, 2
EXCEPT SELECT visitor, hour, sessions FROM visitor_hours ORDER BY 1, 2;

-- name: empty_visitor_hours
DELETE FROM visitor_hours;

-- name: fill_visitor_hours
INSERT INTO visitor_hours (visitor, hour, sessions)
SELECT visitor COLLATE "C", hour, count(*)::int FROM session_rollups GROUP BY 1, 2;

-- name: load_rollups
SELECT grain, measure, start, key, n, total, most FROM rollups WHERE grain <> 'all' ORDER BY start;

-- name: load_all_time
SELECT grain, measure, start, key, n, total, most FROM rollups WHERE grain = 'all';

-- name: set_most
UPDATE rollups r SET most = k.most
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::double precision[])
    AS k (grain, measure, start, key, most)
WHERE r.grain = k.grain COLLATE "C" AND r.measure = k.measure COLLATE "C" AND r.start = k.start
    AND r.key = k.key COLLATE "C";

-- name: read_counted
SELECT hour, counted FROM session_rollups ORDER BY hour;

-- name: reckon_visitors
-- active hours or days ($1) with the one before; bots are counted among nobody
SELECT start, coalesce(extract(epoch FROM before)::bigint::text, '') AS key, count(*) AS n
FROM (
    SELECT start, lag(start) OVER (PARTITION BY visitor ORDER BY start) AS before
    FROM (
        SELECT DISTINCT visitor, date_trunc($1::text, hour, 'UTC') AS start FROM session_rollups
        WHERE visitor NOT LIKE 'bot:%'
    ) active
) a WHERE start >= $2::timestamptz GROUP BY 1, 2 ORDER BY 1;

-- name: reckon_cohorts
-- visitors by the week of their first session, and the weeks behind it in which they had one
SELECT first AS start, ((extract(epoch FROM week - first)) / 604800)::int::text AS key, count(*) AS n
FROM (
    SELECT week, min(week) OVER (PARTITION BY visitor) AS first
    FROM (
        SELECT DISTINCT visitor, date_trunc('week', hour, 'UTC') AS week FROM session_rollups
        WHERE visitor NOT LIKE 'bot:%'
    ) active
) a GROUP BY 1, 2 ORDER BY 1;

-- name: read_metrics
-- what is noted comes first, and of the same moment: a batch writes both
SELECT metric_name, value, additional_data::text AS data, at, NULL::text AS noted FROM performance_metrics
UNION ALL SELECT NULL, NULL, NULL, NULL, metrics::text FROM tracking_changes WHERE metrics IS NOT NULL
ORDER BY at NULLS FIRST;

-- name: page_days
SELECT day FROM (
    SELECT day FROM daily_analytics
    UNION SELECT DISTINCT (start AT TIME ZONE 'UTC')::date FROM rollups WHERE grain = 'day'
) d WHERE day > $1 ORDER BY day LIMIT $2;

-- name: load_days
SELECT day, sessions, interactions, unique_users, completed_configurations, conversion_rate, average_session_duration_ms,
    drop_off, prices
FROM daily_analytics WHERE day = ANY($1::date[]);
