-- name: count_sessions
-- the planner's estimate; -1 before the first ANALYZE
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'user_sessions'::regclass;

-- name: page_sessions
SELECT session_id, subject FROM user_sessions WHERE session_id > $1 ORDER BY session_id LIMIT $2;

-- name: oldest_day
-- the first day of arrival whose facts are still kept; every fact table has the same days
SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'interaction_events'::regclass;

-- name: orphan_sessions
SELECT DISTINCT f.session_id, f.subject
FROM (
    SELECT session_id, subject FROM interaction_events
    UNION ALL SELECT session_id, subject FROM configuration_snapshots
    UNION ALL SELECT session_id, subject FROM performance_metrics WHERE session_id IS NOT NULL
    UNION ALL SELECT session_id, subject FROM tracked_events
) f
WHERE NOT EXISTS (SELECT FROM user_sessions s WHERE s.session_id = f.session_id COLLATE "C");

-- name: interaction_events
-- by subject, which the primary key begins with
SELECT session_id, subject, id, user_id, anonymous_id, org_id, at, received_at, flags,
    event_type, category, device_type, viewport_width, viewport_height
FROM interaction_events WHERE subject = ANY($1::text[]) AND session_id = ANY($2::text[]);

-- name: configuration_snapshots
SELECT session_id, subject, id, user_id, anonymous_id, org_id, at, received_at, flags,
    trigger_event, total_price, completion_percentage
FROM configuration_snapshots WHERE subject = ANY($1::text[]) AND session_id = ANY($2::text[]);

-- name: performance_metrics
SELECT session_id, subject, id, user_id, anonymous_id, org_id, at, received_at, flags, metric_name, value
FROM performance_metrics WHERE subject = ANY($1::text[]) AND session_id = ANY($2::text[]);

-- name: tracked_events
SELECT session_id, subject, id, user_id, anonymous_id, org_id, at, received_at, flags, kind, event
FROM tracked_events WHERE subject = ANY($1::text[]) AND session_id = ANY($2::text[]);

-- name: delete_sessions
DELETE FROM user_sessions WHERE session_id = ANY($1::text[]);
