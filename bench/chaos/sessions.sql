-- name: sessions
-- every session as the rules say it must be, from the facts alone: sums, minima, maxima, and "the newest at wins, ties
-- by value". Written beside the fold on purpose, not derived from it.
WITH facts AS (
    SELECT 'interaction.recorded' AS kind, flags, subject, session_id, at, received_at, user_id, anonymous_id, org_id, category,
           device_type, viewport_width, viewport_height, NULL::float8 AS price, NULL::float8 AS pct, false AS ordered
    FROM interaction_events
    UNION ALL
    SELECT 'configuration.saved', flags, subject, session_id, at, received_at, user_id, anonymous_id, org_id, NULL,
           NULL, NULL, NULL, total_price, completion_percentage, trigger_event = 'order_attempt'
    FROM configuration_snapshots
    UNION ALL
    SELECT 'metric.recorded', flags, subject, session_id, at, received_at, user_id, anonymous_id, org_id, NULL,
           NULL, NULL, NULL, NULL, NULL, false
    FROM performance_metrics WHERE session_id IS NOT NULL
    UNION ALL
    SELECT kind, flags, subject, session_id, at, received_at, user_id, anonymous_id, org_id, NULL, NULL, NULL, NULL, NULL, NULL,
           false
    FROM tracked_events
), spans AS (
    SELECT session_id, min(subject) AS subject, min(at) AS at, max(at) AS last_at, min(received_at) AS received_at,
           min(anonymous_id COLLATE "C") AS anonymous_id, min(org_id COLLATE "C") AS org_id,
           max(at) FILTER (WHERE kind = 'session.ended') AS ended_at,
           count(*) FILTER (WHERE kind = 'interaction.recorded') AS interactions,
           count(*) FILTER (WHERE kind = 'configuration.saved') AS snapshots,
           count(*) FILTER (WHERE kind = 'page.viewed') AS page_views,
           count(*) FILTER (WHERE kind = 'event.tracked') AS events,
           count(*) FILTER (WHERE kind = 'metric.recorded') AS metrics,
           bool_or(flags & 16 <> 0) AS is_bot, max(pct) AS completion_percentage, min(at) FILTER (WHERE ordered OR pct >= 100) AS completed_at
    FROM facts GROUP BY session_id
), users AS (
    SELECT DISTINCT ON (session_id) session_id, user_id, received_at AS user_received_at FROM facts
    WHERE user_id IS NOT NULL ORDER BY session_id, received_at, user_id COLLATE "C"
), devices AS (
    SELECT DISTINCT ON (session_id) session_id, device_type, viewport_width, viewport_height, at AS device_at FROM facts
    WHERE device_type IS NOT NULL
    ORDER BY session_id, at DESC, device_type COLLATE "C" DESC, coalesce(viewport_width, -1) DESC,
             coalesce(viewport_height, -1) DESC
), categories AS (
    SELECT DISTINCT ON (session_id) session_id, category AS last_category, at AS last_category_at FROM facts
    WHERE category IS NOT NULL ORDER BY session_id, at DESC, category COLLATE "C" DESC
), prices AS (
    SELECT DISTINCT ON (session_id) session_id, price AS total_price, at AS priced_at FROM facts
    WHERE price IS NOT NULL ORDER BY session_id, at DESC, price DESC
), expected AS (
    SELECT session_id, subject, at, last_at, received_at, user_id, user_received_at, anonymous_id, org_id,
           CASE WHEN ended_at = last_at THEN last_at END AS ended_at,
           interactions, snapshots, page_views, events, metrics, device_type, viewport_width, viewport_height, device_at,
           last_category, last_category_at, total_price, priced_at, completion_percentage, completed_at, is_bot
    FROM spans LEFT JOIN users USING (session_id) LEFT JOIN devices USING (session_id)
    LEFT JOIN categories USING (session_id) LEFT JOIN prices USING (session_id)
), held AS (
    -- what 30 idle minutes have ended is not ended by an action
    SELECT session_id, s.subject, s.at, s.last_at, s.received_at, s.user_id, s.user_received_at, s.anonymous_id, s.org_id,
           CASE WHEN e.ended_at IS NULL AND s.ended_at = s.last_at AND s.last_at < now() - interval '30 minutes'
                THEN NULL ELSE s.ended_at END AS ended_at,
           s.interactions, s.snapshots, s.page_views, s.events, s.metrics, s.device_type, s.viewport_width,
           s.viewport_height, s.device_at, s.last_category, s.last_category_at, s.total_price, s.priced_at,
           s.completion_percentage, s.completed_at, s.is_bot
    FROM user_sessions s LEFT JOIN expected e USING (session_id)
)
SELECT coalesce(e.session_id, h.session_id) AS session_id, to_jsonb(e) AS expected, to_jsonb(h) AS held
FROM expected e FULL JOIN held h USING (session_id)
WHERE to_jsonb(e) IS DISTINCT FROM to_jsonb(h)
ORDER BY 1;

-- name: visits
-- a visitor's actions of one visit (ten minutes; the visits lie two hours apart) belong to one session
SELECT subject, at < $1 AS earlier, count(DISTINCT session_id) AS sessions FROM (
    SELECT subject, at, session_id FROM interaction_events UNION ALL
    SELECT subject, at, session_id FROM configuration_snapshots UNION ALL
    SELECT subject, at, session_id FROM performance_metrics UNION ALL
    SELECT subject, at, session_id FROM tracked_events
) f
WHERE subject NOT LIKE 'session:%' AND subject NOT LIKE 'metric:%'
GROUP BY 1, 2 HAVING count(DISTINCT session_id) > 1;

-- name: facts
SELECT 'interaction_events' AS tab, subject, id, session_id, user_id, anonymous_id, org_id, at, flags, element_id AS what
FROM interaction_events
UNION ALL
SELECT 'configuration_snapshots', subject, id, session_id, user_id, anonymous_id, org_id, at, flags,
       configuration_data->>'n'
FROM configuration_snapshots
UNION ALL
SELECT 'performance_metrics', subject, id, session_id, user_id, anonymous_id, org_id, at, flags, value::bigint::text
FROM performance_metrics
UNION ALL
SELECT 'tracked_events', subject, id, session_id, user_id, anonymous_id, org_id, at, flags, event
FROM tracked_events;
