-- name: make_shapes
-- the facts of every shape, and the sessions of one chunk: tables of this connection alone
CREATE TEMPORARY TABLE shape_interactions AS SELECT 0 AS shape, * FROM interaction_events WITH NO DATA;
CREATE TEMPORARY TABLE shape_snapshots AS SELECT 0 AS shape, * FROM configuration_snapshots WITH NO DATA;
CREATE TEMPORARY TABLE shape_metrics AS SELECT 0 AS shape, * FROM performance_metrics WITH NO DATA;
CREATE TEMPORARY TABLE shape_events AS SELECT 0 AS shape, * FROM tracked_events WITH NO DATA;
CREATE TEMPORARY TABLE chunk (
    number int, shape int, subject text, session_id text, user_id text, anonymous_id text, org_id text,
    moved interval
);

-- name: index_shapes
CREATE INDEX ON shape_interactions (shape);
CREATE INDEX ON shape_snapshots (shape);
CREATE INDEX ON shape_metrics (shape);
CREATE INDEX ON shape_events (shape);
ANALYZE shape_interactions, shape_snapshots, shape_metrics, shape_events;

-- name: repeat_interactions
INSERT INTO interaction_events (
    subject, id, session_id, user_id, anonymous_id, org_id, event_type, category, element_id, selection_value,
    previous_value, time_spent, device_type, viewport_width, viewport_height, at, received_at, flags
)
SELECT
    c.subject, gen_random_uuid(), c.session_id, c.user_id, c.anonymous_id, c.org_id, s.event_type, s.category,
    s.element_id, s.selection_value, s.previous_value, s.time_spent, s.device_type, s.viewport_width, s.viewport_height,
    s.at + c.moved, s.received_at + c.moved, s.flags
FROM chunk c JOIN shape_interactions s USING (shape) ORDER BY c.number, s.at;

-- name: repeat_snapshots
INSERT INTO configuration_snapshots (
    subject, id, session_id, user_id, anonymous_id, org_id, configuration_data, total_price, completion_percentage,
    trigger_event, at, received_at, flags
)
SELECT
    c.subject, gen_random_uuid(), c.session_id, c.user_id, c.anonymous_id, c.org_id, s.configuration_data, s.total_price,
    s.completion_percentage, s.trigger_event, s.at + c.moved, s.received_at + c.moved, s.flags
FROM chunk c JOIN shape_snapshots s USING (shape) ORDER BY c.number, s.at;

-- name: repeat_metrics
INSERT INTO performance_metrics (
    subject, id, session_id, user_id, anonymous_id, org_id, metric_name, value, additional_data, at, received_at, flags
)
SELECT
    c.subject, gen_random_uuid(), c.session_id, c.user_id, c.anonymous_id, c.org_id, s.metric_name, s.value,
    s.additional_data, s.at + c.moved, s.received_at + c.moved, s.flags
FROM chunk c JOIN shape_metrics s USING (shape) ORDER BY c.number, s.at;

-- name: repeat_events
INSERT INTO tracked_events (
    subject, id, session_id, user_id, anonymous_id, org_id, kind, event, properties, at, received_at, flags
)
SELECT
    c.subject, gen_random_uuid(), c.session_id, c.user_id, c.anonymous_id, c.org_id, s.kind, s.event, s.properties,
    s.at + c.moved, s.received_at + c.moved, s.flags
FROM chunk c JOIN shape_events s USING (shape) ORDER BY c.number, s.at;

-- name: empty_chunk
TRUNCATE chunk;
