-- name: known_interaction_events
-- which of these (subject, id) were applied since $3; OFFSET 0 demands an index probe for each, where a planner without
-- statistics took ten times as long to hash the whole day
SELECT e.subject, e.id, 'interaction.recorded' AS kind, e.session_id
FROM unnest($1::text[], $2::text[]) AS k (subject, id)
CROSS JOIN LATERAL (
    SELECT f.subject, f.id, f.session_id FROM interaction_events f
    WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C" AND f.received_at >= $3
    OFFSET 0
) e;

-- name: known_configuration_snapshots
-- which of these (subject, id) were applied since $3; OFFSET 0 demands an index probe for each, where a planner without
-- statistics took ten times as long to hash the whole day
SELECT e.subject, e.id, 'configuration.saved' AS kind, e.session_id
FROM unnest($1::text[], $2::text[]) AS k (subject, id)
CROSS JOIN LATERAL (
    SELECT f.subject, f.id, f.session_id FROM configuration_snapshots f
    WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C" AND f.received_at >= $3
    OFFSET 0
) e;

-- name: known_performance_metrics
-- which of these (subject, id) were applied since $3; OFFSET 0 demands an index probe for each, where a planner without
-- statistics took ten times as long to hash the whole day
SELECT e.subject, e.id, 'metric.recorded' AS kind, e.session_id
FROM unnest($1::text[], $2::text[]) AS k (subject, id)
CROSS JOIN LATERAL (
    SELECT f.subject, f.id, f.session_id FROM performance_metrics f
    WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C" AND f.received_at >= $3
    OFFSET 0
) e;

-- name: known_tracked_events
-- which of these (subject, id) were applied since $3; OFFSET 0 demands an index probe for each, where a planner without
-- statistics took ten times as long to hash the whole day
SELECT e.subject, e.id, e.kind, e.session_id
FROM unnest($1::text[], $2::text[]) AS k (subject, id)
CROSS JOIN LATERAL (
    SELECT f.subject, f.id, f.kind, f.session_id FROM tracked_events f
    WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C" AND f.received_at >= $3
    OFFSET 0
) e;

-- name: load_sessions
SELECT
    session_id, subject, at, last_at, received_at, user_id, user_received_at, anonymous_id, org_id, ended_at,
    interactions, snapshots, page_views, events, metrics, device_type, viewport_width, viewport_height, device_at,
    last_category, last_category_at, total_price, priced_at, completion_percentage, completed_at, is_bot
FROM user_sessions WHERE session_id = ANY($1::text[]);

-- name: load_visits
-- the sessions of these visitors that lie near their actions of the batch, $2 to $3
SELECT
    session_id, subject, at, last_at, received_at, user_id, user_received_at, anonymous_id, org_id, ended_at,
    interactions, snapshots, page_views, events, metrics, device_type, viewport_width, viewport_height, device_at,
    last_category, last_category_at, total_price, priced_at, completion_percentage, completed_at, is_bot
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS k (visitor, first_at, newest_at)
JOIN user_sessions ON subject = k.visitor COLLATE "C" AND at <= k.newest_at + $4::interval
    AND last_at >= k.first_at - $4::interval
WHERE subject NOT LIKE 'session:%';

-- name: save_sessions
-- the arrays come ordered by session_id
INSERT INTO user_sessions (
    session_id, subject, at, last_at, received_at, user_id, user_received_at, anonymous_id, org_id, ended_at,
    interactions, snapshots, page_views, events, metrics, device_type, viewport_width, viewport_height, device_at,
    last_category, last_category_at, total_price, priced_at, completion_percentage, completed_at, is_bot
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::timestamptz[],
    $8::text[], $9::text[], $10::timestamptz[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[],
    $15::bigint[], $16::text[], $17::int[], $18::int[], $19::timestamptz[], $20::text[], $21::timestamptz[],
    $22::double precision[], $23::timestamptz[], $24::double precision[], $25::timestamptz[], $26::boolean[]
)
ON CONFLICT (session_id) DO UPDATE SET
    at = EXCLUDED.at, last_at = EXCLUDED.last_at, received_at = EXCLUDED.received_at, user_id = EXCLUDED.user_id,
    user_received_at = EXCLUDED.user_received_at, anonymous_id = EXCLUDED.anonymous_id, org_id = EXCLUDED.org_id,
    ended_at = EXCLUDED.ended_at, interactions = EXCLUDED.interactions, snapshots = EXCLUDED.snapshots, page_views =
    EXCLUDED.page_views, events = EXCLUDED.events, metrics = EXCLUDED.metrics, device_type = EXCLUDED.device_type,
    viewport_width = EXCLUDED.viewport_width, viewport_height = EXCLUDED.viewport_height, device_at =
    EXCLUDED.device_at, last_category = EXCLUDED.last_category, last_category_at = EXCLUDED.last_category_at,
    total_price = EXCLUDED.total_price, priced_at = EXCLUDED.priced_at, completion_percentage =
    EXCLUDED.completion_percentage, completed_at = EXCLUDED.completed_at,
    is_bot = EXCLUDED.is_bot;

-- name: note_changes
-- one row for a batch, in its transaction: what the rollups look at next
INSERT INTO tracking_changes (sessions, metrics) VALUES ($1::text[], $2::jsonb);

-- name: end_idle_sessions
-- 30 idle minutes end a session; rows that a batch holds are left to the next sweep
UPDATE user_sessions s SET ended_at = s.last_at
FROM (
    SELECT session_id FROM user_sessions WHERE ended_at IS NULL AND last_at < $1
    ORDER BY session_id LIMIT $2 FOR UPDATE SKIP LOCKED
) idle
WHERE s.session_id = idle.session_id RETURNING s.session_id, s.subject;
