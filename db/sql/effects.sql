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

-- name: list_effects
-- newest first, behind the cursor ($2, $3, $4); with a type, exact or `prefix*`
SELECT e.message_id, e.id, e.subject, e.type, e.at, e.data, e.order_key, e.created_at, e.number
FROM effects e
WHERE ($1::text IS NULL OR e.type = $1 OR (right($1, 1) = '*' AND starts_with(e.type, left($1, -1))))
    AND ($2::timestamptz IS NULL OR (e.created_at, e.number, e.message_id) < ($2, $3::int, $4::text))
ORDER BY e.created_at DESC, e.number DESC, e.message_id DESC LIMIT $5;

-- name: list_effects_of_deliveries
-- the same of those with a delivery of a status ($6), to a destination ($7), or both; deliveries have their effect's
-- created_at and number, so that an index has them in this order: OFFSET 0 demands a probe for each, and no sort of all
SELECT DISTINCT ON (d.created_at, d.number, e.message_id)
    e.message_id, e.id, e.subject, e.type, e.at, e.data, e.order_key, e.created_at, e.number
FROM deliveries d
CROSS JOIN LATERAL (SELECT * FROM effects f WHERE f.subject = d.subject AND f.id = d.effect_id OFFSET 0) e
WHERE ($1::text IS NULL OR d.type = $1 OR (right($1, 1) = '*' AND starts_with(d.type, left($1, -1))))
    AND ($2::timestamptz IS NULL OR (d.created_at, d.number, e.message_id) < ($2, $3::int, $4::text))
    AND ($2::timestamptz IS NULL OR d.created_at <= $2)
    AND ($6::text IS NULL OR d.status = $6) AND ($7::uuid IS NULL OR d.destination = $7)
ORDER BY d.created_at DESC, d.number DESC, e.message_id DESC LIMIT $5;

-- name: find_effects
SELECT e.message_id, e.id, e.subject, e.type, e.at, e.data, e.order_key, e.created_at, e.number
FROM effects e WHERE e.message_id = ANY($1::text[]) ORDER BY e.created_at, e.number;

-- name: deliveries_of_effects
SELECT d.id, e.message_id, d.type, d.subject, d.destination, d.status, d.reason, d.attempts, d.created_at, d.due_at,
    d.done_at, t.sort, t.url
FROM effects e JOIN deliveries d ON d.subject = e.subject AND d.effect_id = e.id
LEFT JOIN destinations t ON t.id = d.destination
WHERE e.message_id = ANY($1::text[]) ORDER BY d.created_at, d.number, d.destination;

-- name: attempts_of_deliveries
SELECT delivery, number, at, milliseconds, status, error, response
FROM delivery_attempts WHERE delivery = ANY($1::uuid[]) ORDER BY delivery, number;

-- name: select_effect_deliveries
-- what an operator means: by effects' ids ($1), or by status ($2), type and destination; chunk by chunk behind an id
SELECT d.id FROM deliveries d
WHERE d.status = ANY($2::text[]) AND d.id > $5
    AND ($1::text[] IS NULL OR (d.subject, d.effect_id) IN (
        SELECT e.subject, e.id FROM effects e WHERE e.message_id = ANY($1)
    ))
    AND ($3::text IS NULL OR d.type = $3 OR (right($3, 1) = '*' AND starts_with(d.type, left($3, -1))))
    AND ($4::uuid IS NULL OR d.destination = $4)
ORDER BY d.id LIMIT $6;

-- name: count_effect_deliveries
SELECT count(*) FROM deliveries d
WHERE d.status = ANY($1::text[])
    AND ($2::text IS NULL OR d.type = $2 OR (right($2, 1) = '*' AND starts_with(d.type, left($2, -1))))
    AND ($3::uuid IS NULL OR d.destination = $3);

-- name: retry_deliveries
-- as if it had never been tried, and at once; what waits for its next try, too, but not what is being sent
UPDATE deliveries d
SET status = 'pending', reason = NULL, tries = 0, opened_at = now(), due_at = now(), enqueue_at = now(), done_at = NULL
FROM (
    SELECT k.id FROM deliveries k JOIN destinations t ON t.id = k.destination AND t.disabled_at IS NULL
    WHERE k.id = ANY($1::uuid[])
        AND (k.status IN ('dead', 'discarded') OR (k.status = 'pending' AND (k.due_at <= now() OR k.enqueue_at = k.due_at)))
    ORDER BY k.id FOR UPDATE OF k
) k
WHERE d.id = k.id RETURNING d.id;

-- name: wake_destinations
-- those of these deliveries need not rest: an operator says so
UPDATE destinations t SET failures = 0, paused_until = NULL
WHERE t.failures > 0 AND t.id IN (SELECT d.destination FROM deliveries d WHERE d.id = ANY($1::uuid[]));

-- name: discard_deliveries
UPDATE deliveries d SET status = 'discarded', reason = $2, done_at = now()
FROM (
    SELECT id FROM deliveries WHERE id = ANY($1::uuid[]) AND status IN ('pending', 'dead') ORDER BY id FOR UPDATE
) k
WHERE d.id = k.id RETURNING d.id;

-- name: drop_effects
-- effects older than $1 days that nobody waits for: no delivery of theirs is pending or dead
WITH old AS (
    SELECT e.subject, e.id FROM effects e
    WHERE e.created_at < now() - make_interval(days => $1) AND NOT EXISTS (
        SELECT FROM deliveries d
        WHERE d.subject = e.subject AND d.effect_id = e.id AND d.status IN ('pending', 'dead')
    )
    ORDER BY e.created_at, e.number LIMIT $2
), gone AS (
    DELETE FROM deliveries d USING old o WHERE d.subject = o.subject AND d.effect_id = o.id RETURNING d.id
), tried AS (
    DELETE FROM delivery_attempts a USING gone g WHERE a.delivery = g.id
)
DELETE FROM effects e USING old o WHERE e.subject = o.subject AND e.id = o.id RETURNING e.message_id;
