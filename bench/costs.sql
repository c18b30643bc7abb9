-- name: forget_sessions
TRUNCATE interaction_events, user_sessions, tracking_changes, session_rollups, visitor_hours, rollups, daily_analytics;

-- name: written
-- bytes of the log of Postgres since its beginning
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint;

-- name: sizes
-- with indexes; facts: the day that has them
SELECT 'facts' AS of, sum(pg_total_relation_size(i.inhrelid))::bigint AS bytes
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'interaction_events'::regclass AND pg_relation_size(i.inhrelid) > 0
UNION ALL
SELECT 'sessions', (pg_total_relation_size('user_sessions') + pg_total_relation_size('session_rollups')
    + pg_total_relation_size('visitor_hours'))::bigint;

-- name: count_both
SELECT (SELECT count(*) FROM interaction_events), (SELECT count(*) FROM user_sessions);

-- name: forget_counted
-- $1 of the newest sessions that have ended: what they counted for is forgotten, and not taken back
DELETE FROM session_rollups r USING (
    SELECT session_id FROM user_sessions
    WHERE ended_at IS NOT NULL AND interactions < 5000 AND at > now() - interval '2 days' ORDER BY at DESC LIMIT $1
) s WHERE r.session_id = s.session_id RETURNING r.session_id;

-- name: applied
-- interactions, from the states: a thousand rows, where counting facts takes what the drain needs
SELECT coalesce(sum(interactions), 0)::bigint FROM user_sessions;
