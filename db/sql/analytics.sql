-- name: sum_cells
-- what an answer adds up: (measure, key) over a range of starts
SELECT measure, key, sum(n)::bigint AS n, sum(total)::double precision AS total
FROM rollups WHERE grain = $1 AND measure = ANY($2::text[]) AND start >= $3 AND start < $4
GROUP BY measure, key;

-- name: series_cells
-- the same for each start
SELECT start, measure, key, n, total::double precision AS total, most
FROM rollups WHERE grain = $1 AND measure = ANY($2::text[]) AND start >= $3 AND start < $4
ORDER BY start, measure, key;

-- name: metric_cells
SELECT start, key, n, total::double precision AS total, most
FROM rollups WHERE grain = $1 AND measure = $2 AND start >= $3 AND start < $4;

-- name: metric_names
-- one probe of the index for each metric there is
WITH RECURSIVE names AS (
    (SELECT measure FROM rollups WHERE grain = 'day' AND measure >= 'metric:' AND measure < 'metric;' ORDER BY measure LIMIT 1)
    UNION ALL
    SELECT (
        SELECT r.measure FROM rollups r WHERE r.grain = 'day' AND r.measure > n.measure AND r.measure < 'metric;'
        ORDER BY r.measure LIMIT 1
    )
    FROM names n WHERE n.measure IS NOT NULL
)
SELECT substr(measure, 8) AS name FROM names WHERE measure IS NOT NULL LIMIT 1000;

-- name: unique_visitors
-- a visitor counts with the first of its active hours or days in the range: the one before lies in front of it
SELECT coalesce(sum(n), 0)::bigint FROM rollups
WHERE grain = $1 AND measure = 'visitors' AND start >= $2 AND start < $3
    AND (key = '' OR key::bigint < extract(epoch FROM $2::timestamptz));

-- name: popular_configurations
SELECT r.key AS digest, r.n, c.body FROM rollups r JOIN configurations c ON c.digest = r.key
WHERE r.grain = 'all' AND r.measure = 'configuration' ORDER BY r.n DESC, r.key LIMIT $1;

-- name: all_cells
SELECT key, n FROM rollups WHERE grain = 'all' AND measure = $1 AND start = 'epoch';

-- name: configured_sessions
SELECT coalesce(sum(n), 0)::bigint FROM rollups WHERE grain = 'all' AND measure = 'configuration' AND start = 'epoch';

-- name: retention_cells
SELECT start, key::int AS week, n FROM rollups
WHERE grain = 'week' AND measure = 'retention' AND start >= $1 AND start <= $2 ORDER BY start, week;

-- name: rolled_through
-- when nothing waits the rollups hold up to now; on a replica, up to what it has taken over
SELECT CASE
    WHEN EXISTS (SELECT FROM tracking_changes WHERE changed_at <= clock_timestamp()) THEN through
    WHEN pg_is_in_recovery() THEN greatest(through, pg_last_xact_replay_timestamp())
    ELSE greatest(through, $1)
END FROM rolled;

-- name: journey_facts
-- everything of one session in order, its configurations up to $4 bytes in all; by subject, which the primary keys begin
-- with
SELECT i.at, i.id, 'interaction.recorded' AS kind, i.event_type AS type, i.category AS name, i.element_id,
    i.selection_value AS value, i.previous_value AS previous, i.time_spent, NULL::jsonb AS configuration,
    NULL::double precision AS price, NULL::double precision AS percentage
FROM interaction_events i WHERE i.subject = $1 COLLATE "C" AND i.session_id = $2
UNION ALL
SELECT c.at, c.id, 'configuration.saved', c.trigger_event, NULL, NULL, NULL, NULL, NULL,
    CASE WHEN sum(pg_column_size(c.configuration_data)) OVER (ORDER BY c.at, c.id) <= $4 THEN c.configuration_data END,
    c.total_price, c.completion_percentage
FROM configuration_snapshots c WHERE c.subject = $1 COLLATE "C" AND c.session_id = $2
UNION ALL
SELECT e.at, e.id, e.kind, NULL, e.event, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM tracked_events e WHERE e.subject = $1 COLLATE "C" AND e.session_id = $2
ORDER BY at, id LIMIT $3;

-- name: latest_actions
SELECT latest FROM rolled;

-- name: active_sessions
-- of the last minutes; one that has been open for more than a day is not looked for
SELECT count(*) FROM user_sessions WHERE ended_at IS NULL AND last_at >= $1 AND at >= $1 - interval '1 day';
