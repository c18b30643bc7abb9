-- name: insert_effects
-- the arrays come ordered by creation; a replay finds its effects there and makes no delivery; types: exact, or `prefix*`
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[])
        WITH ORDINALITY AS g (subject, id, message_id, type, at, data, order_key, number)
), fresh AS (
    INSERT INTO effects (subject, id, message_id, type, at, data, order_key, created_at, number)
    SELECT g.subject, g.id, g.message_id, g.type, g.at, g.data::jsonb, g.order_key, c.at, g.number
    FROM given g CROSS JOIN clock c ORDER BY g.subject COLLATE "C", g.id COLLATE "C"
    ON CONFLICT (subject, id) DO NOTHING
    RETURNING subject, id, type, order_key, created_at, number
)
INSERT INTO deliveries
    (subject, effect_id, type, destination, order_key, created_at, number, opened_at, due_at, enqueue_at)
SELECT f.subject, f.id, f.type, t.id, f.order_key, f.created_at, f.number, f.created_at, f.created_at,
       f.created_at + make_interval(secs => $8)
FROM fresh f
JOIN destinations t ON t.disabled_at IS NULL AND (cardinality(t.types) = 0 OR EXISTS (
    SELECT FROM unnest(t.types) AS p (type)
    WHERE p.type = f.type OR (right(p.type, 1) = '*' AND starts_with(f.type, left(p.type, -1)))
))
ORDER BY f.number
RETURNING id;
