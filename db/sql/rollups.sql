-- name: try_rolling
-- one pass at a time; released with the transaction
SELECT pg_try_advisory_xact_lock(7310575178854134886);

-- name: wait_rolling
-- the same for who must have its turn
SELECT pg_advisory_xact_lock(7310575178854134886);

-- name: drop_configurations
DELETE FROM configurations c WHERE NOT EXISTS (
    SELECT FROM rollups r WHERE r.measure = 'configuration' AND r.key = c.digest
);

-- name: take_changes
-- the oldest $1 notes, as long as those before it name fewer than $2 sessions; rows that a batch is still writing are
-- not seen: the next pass takes them
DELETE FROM tracking_changes WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM (
        SELECT ctid, sum(weight) OVER (ORDER BY changed_at, ctid) - weight AS before
        FROM (
            SELECT ctid, changed_at, weight FROM tracking_changes WHERE changed_at <= clock_timestamp()
            ORDER BY changed_at, ctid LIMIT $1
        ) oldest
    ) weighed WHERE before < $2
))
RETURNING sessions, metrics, is_deferred;

-- name: look_again
INSERT INTO tracking_changes (sessions, changed_at) VALUES ($1::text[], 'epoch');

-- name: defer_changes
INSERT INTO tracking_changes (sessions, changed_at, is_deferred) VALUES ($1::text[], $2, true);

-- name: load_aside
SELECT session_id, tries FROM sessions_aside a WHERE session_id = ANY($1::text[])
    AND EXISTS (SELECT FROM user_sessions s WHERE s.session_id = a.session_id);

-- name: put_aside
INSERT INTO sessions_aside (session_id, reason, tries, since, due_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (session_id) DO UPDATE SET reason = EXCLUDED.reason, tries = EXCLUDED.tries, due_at = EXCLUDED.due_at;

-- name: counted_aside
SELECT r.counted FROM sessions_aside a JOIN session_rollups r ON r.session_id = a.session_id
WHERE EXISTS (SELECT FROM user_sessions s WHERE s.session_id = a.session_id);

-- name: forget_aside
DELETE FROM sessions_aside WHERE session_id = ANY($1::text[]) RETURNING session_id;

-- name: forget_tries
DELETE FROM tracking_changes WHERE is_deferred AND weight = 1 AND sessions[1] = ANY($1::text[]);

-- name: count_aside
SELECT count(*) FROM sessions_aside;

-- name: roll_sessions
SELECT
    session_id, subject, at, last_at, received_at, user_id, user_received_at, anonymous_id, org_id, ended_at,
    interactions, snapshots, page_views, events, metrics, device_type, viewport_width, viewport_height, device_at,
    last_category, last_category_at, total_price, priced_at, completion_percentage, completed_at, is_bot
FROM unnest($1::text[]) AS k (id) JOIN user_sessions ON session_id = k.id COLLATE "C";

-- name: roll_facts
-- every fact of these sessions that is counted, of each in order; by subject, which the primary keys begin with, and by
-- arrival, so that days before the session are not looked at
SELECT f.* FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (subject, session_id, since)
CROSS JOIN LATERAL (
    SELECT i.session_id, extract(epoch FROM i.at)::double precision AS at, i.id, 'interaction.recorded' AS kind,
        i.category AS name, i.selection_value AS value
    FROM interaction_events i WHERE i.subject = k.subject COLLATE "C" AND i.session_id = k.session_id
        AND i.received_at >= k.since
    UNION ALL
    SELECT e.session_id, extract(epoch FROM e.at)::double precision, e.id, e.kind, e.event, NULL
    FROM tracked_events e WHERE e.subject = k.subject COLLATE "C" AND e.session_id = k.session_id
        AND e.received_at >= k.since
    UNION ALL
    SELECT c.session_id, extract(epoch FROM c.at)::double precision, c.id, 'configuration.saved', c.trigger_event, NULL
    FROM configuration_snapshots c WHERE c.subject = k.subject COLLATE "C" AND c.session_id = k.session_id
        AND c.received_at >= k.since
    UNION ALL
    SELECT m.session_id, extract(epoch FROM m.at)::double precision, m.id, 'metric.recorded', m.metric_name, NULL
    FROM performance_metrics m WHERE m.subject = k.subject COLLATE "C" AND m.session_id = k.session_id
        AND m.received_at >= k.since
) f ORDER BY f.session_id COLLATE "C", f.at, f.id COLLATE "C";

-- name: final_configurations
-- the newest configuration of each session
SELECT k.session_id, f.configuration_data
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (subject, session_id, since)
CROSS JOIN LATERAL (
    SELECT c.configuration_data FROM configuration_snapshots c
    WHERE c.subject = k.subject COLLATE "C" AND c.session_id = k.session_id AND c.received_at >= k.since
    ORDER BY c.at DESC, c.id DESC LIMIT 1
) f;

-- name: count_facts
-- of sessions that have so many facts that nobody reads them: actions by minute and kind
SELECT k.session_id, extract(epoch FROM f.minute)::bigint AS at, f.kind, sum(f.n)::bigint AS n
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (subject, session_id, since)
CROSS JOIN LATERAL (
    SELECT date_trunc('minute', i.at) AS minute, 'interaction.recorded' AS kind, count(*) AS n
    FROM interaction_events i
    WHERE i.subject = k.subject COLLATE "C" AND i.session_id = k.session_id AND i.received_at >= k.since GROUP BY 1
    UNION ALL
    SELECT date_trunc('minute', e.at), e.kind, count(*) FROM tracked_events e
    WHERE e.subject = k.subject COLLATE "C" AND e.session_id = k.session_id AND e.received_at >= k.since GROUP BY 1, 2
    UNION ALL
    SELECT date_trunc('minute', c.at), 'configuration.saved', count(*) FROM configuration_snapshots c
    WHERE c.subject = k.subject COLLATE "C" AND c.session_id = k.session_id AND c.received_at >= k.since GROUP BY 1
    UNION ALL
    SELECT date_trunc('minute', m.at), 'metric.recorded', count(*) FROM performance_metrics m
    WHERE m.subject = k.subject COLLATE "C" AND m.session_id = k.session_id AND m.received_at >= k.since GROUP BY 1
) f GROUP BY 1, 2, 3;

-- name: load_counted
SELECT session_id, visitor, hour, counted
FROM unnest($1::text[]) AS k (id) JOIN session_rollups ON session_id = k.id COLLATE "C";

-- name: save_counted
INSERT INTO session_rollups (session_id, visitor, hour, counted)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bytea[])
ON CONFLICT (session_id) DO UPDATE SET
    visitor = EXCLUDED.visitor, hour = EXCLUDED.hour, counted = EXCLUDED.counted;

-- name: drop_counted
DELETE FROM session_rollups WHERE session_id = ANY($1::text[]) RETURNING visitor, hour, counted;

-- name: load_visitor_hours
SELECT h.visitor, h.hour FROM unnest($1::text[]) AS k (visitor) JOIN visitor_hours h ON h.visitor = k.visitor COLLATE "C";

-- name: add_visitor_hours
INSERT INTO visitor_hours (visitor, hour, sessions)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::int[])
ON CONFLICT (visitor, hour) DO UPDATE SET sessions = visitor_hours.sessions + EXCLUDED.sessions;

-- name: drop_visitor_hours
DELETE FROM visitor_hours h USING unnest($1::text[]) AS k (visitor)
WHERE h.visitor = k.visitor COLLATE "C" AND h.sessions = 0;

-- name: add_rollups
INSERT INTO rollups (grain, measure, start, key, n, total, most)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::bigint[], $6::numeric[], $7::double precision[]
)
ON CONFLICT (grain, measure, start, key) DO UPDATE SET
    n = rollups.n + EXCLUDED.n, total = rollups.total + EXCLUDED.total,
    most = greatest(rollups.most, EXCLUDED.most);

-- name: drop_empty_rollups
-- what counts for nothing any more leaves no row, so that a rollup is the same however it came about
DELETE FROM rollups r USING unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) AS k (grain, measure, start, key)
WHERE r.grain = k.grain COLLATE "C" AND r.measure = k.measure COLLATE "C" AND r.start = k.start
    AND r.key = k.key COLLATE "C" AND r.n = 0;

-- name: drop_old_rollups
DELETE FROM rollups WHERE grain = $1 AND start < $2;

-- name: save_configurations
INSERT INTO configurations (digest, body)
SELECT * FROM unnest($1::text[], $2::jsonb[]) ON CONFLICT (digest) DO NOTHING;

-- name: rolled
SELECT through, funnels, looking, latest FROM rolled;

-- name: roll_through
UPDATE rolled SET through = greatest(through, $1);

-- name: save_latest
UPDATE rolled SET latest = $1::jsonb;

-- name: set_funnels
-- $2: the session up to which those since then were noted again; null: all
UPDATE rolled SET funnels = $1, looking = $2;

-- name: changes_left
SELECT EXISTS (SELECT FROM tracking_changes WHERE changed_at <= clock_timestamp());

-- name: later_sessions
-- sessions to look at again when funnels have changed, by id
SELECT session_id FROM user_sessions WHERE session_id > $1 AND at >= $2 ORDER BY session_id LIMIT $3;

-- name: save_days
-- a closed day that comes out another way is a revision
INSERT INTO daily_analytics (
    day, sessions, interactions, unique_users, completed_configurations, conversion_rate, average_session_duration_ms,
    drop_off, prices, revision, updated_at
)
SELECT *, 0, $10::timestamptz FROM unnest(
    $1::date[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::double precision[], $7::double precision[],
    $8::jsonb[], $9::jsonb[]
)
ON CONFLICT (day) DO UPDATE SET
    sessions = EXCLUDED.sessions, interactions = EXCLUDED.interactions, unique_users = EXCLUDED.unique_users,
    completed_configurations = EXCLUDED.completed_configurations, conversion_rate = EXCLUDED.conversion_rate,
    average_session_duration_ms = EXCLUDED.average_session_duration_ms, drop_off = EXCLUDED.drop_off,
    prices = EXCLUDED.prices, updated_at = EXCLUDED.updated_at,
    revision = daily_analytics.revision + (EXCLUDED.day < (EXCLUDED.updated_at AT TIME ZONE 'UTC')::date)::int
WHERE (
    daily_analytics.sessions, daily_analytics.interactions, daily_analytics.unique_users,
    daily_analytics.completed_configurations, daily_analytics.average_session_duration_ms, daily_analytics.drop_off,
    daily_analytics.prices
) IS DISTINCT FROM (
    EXCLUDED.sessions, EXCLUDED.interactions, EXCLUDED.unique_users, EXCLUDED.completed_configurations,
    EXCLUDED.average_session_duration_ms, EXCLUDED.drop_off, EXCLUDED.prices
);

-- name: day_cells
-- the cells of days that their row of daily_analytics is made of
SELECT start, measure, key, n, total FROM rollups
WHERE grain = 'day' AND start = ANY($1::timestamptz[])
    AND measure IN ('sessions', 'completed', 'dropped', 'prices', 'actions', 'visitors');
