-- name: claim_delivery
-- nobody else sends it for $2 seconds; not while its destination rests, nor before an earlier one of its order
UPDATE deliveries d
SET due_at = now() + make_interval(secs => $2), enqueue_at = now() + make_interval(secs => $2 + 1)
FROM destinations t, effects e
WHERE d.id = $1 AND d.status = 'pending' AND d.due_at <= now()
    AND t.id = d.destination AND t.disabled_at IS NULL AND (t.paused_until IS NULL OR t.paused_until <= now())
    AND e.subject = d.subject AND e.id = d.effect_id
    AND (d.order_key IS NULL OR NOT EXISTS (
        SELECT FROM deliveries b
        WHERE b.destination = d.destination AND b.order_key = d.order_key AND b.status = 'pending'
            AND (b.created_at, b.number) < (d.created_at, d.number)
    ))
RETURNING d.id, d.destination, t.sort, t.url, t.secret,
    CASE WHEN t.previous_until > now() THEN t.previous_secret END AS previous_secret, t.failures,
    e.message_id, e.subject, e.type, e.at, e.data::text, d.tries, d.due_at AS lease;

-- name: put_back_delivery
-- unsent, and no attempt
UPDATE deliveries SET due_at = now() + make_interval(secs => $3), enqueue_at = now() + make_interval(secs => $3)
WHERE id = $1 AND status = 'pending' AND due_at = $2;

-- name: finish_delivery
-- the attempt, and what follows: $8 status, $9 reason, $10 seconds to the next try; then the next one of its order
WITH attempt AS (
    INSERT INTO delivery_attempts (delivery, number, at, milliseconds, status, error, response)
    SELECT $1, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7 FROM delivery_attempts WHERE delivery = $1
    ON CONFLICT (delivery, number) DO NOTHING
), done AS (
    UPDATE deliveries
    SET status = $8, reason = $9, attempts = attempts + 1, tries = tries + 1,
        due_at = now() + make_interval(secs => $10), enqueue_at = now() + make_interval(secs => $10),
        done_at = CASE WHEN $8 <> 'pending' THEN now() END
    WHERE id = $1 AND status = 'pending' AND due_at = $2
    RETURNING id, destination, order_key, status
)
SELECT n.id FROM done CROSS JOIN LATERAL (
    SELECT d.id FROM deliveries d
    WHERE d.destination = done.destination AND d.order_key = done.order_key AND d.status = 'pending' AND d.id <> done.id
    ORDER BY d.created_at, d.number LIMIT 1
) n
WHERE done.status <> 'pending' AND done.order_key IS NOT NULL;

-- name: sweep_deliveries
-- what nobody has handed over, or whoever did has died; those that cannot go now are only looked at later
WITH looked AS (
    SELECT id FROM deliveries WHERE status = 'pending' AND enqueue_at <= now()
    ORDER BY enqueue_at LIMIT $1 FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE deliveries d
    SET enqueue_at = CASE WHEN t.paused_until > now() THEN t.paused_until + random() * interval '2 s'
                          ELSE greatest(d.due_at, now() + make_interval(secs => $2)) END
    FROM looked l, destinations t WHERE d.id = l.id AND t.id = d.destination
    RETURNING d.id, d.due_at, d.due_at = d.created_at AS unclaimed,
        d.due_at <= now() AND coalesce(t.paused_until <= now(), true) AND (
        d.order_key IS NULL OR NOT EXISTS (
            SELECT FROM deliveries b
            WHERE b.destination = d.destination AND b.order_key = d.order_key AND b.status = 'pending'
                AND (b.created_at, b.number) < (d.created_at, d.number)
        )
    ) AS ready
)
SELECT id, due_at, unclaimed, ready FROM moved;

-- name: stop_deliveries
-- of destinations that were removed or disabled while these were written
UPDATE deliveries d SET status = 'discarded', reason = coalesce(s.reason, 'the destination was removed'), done_at = now()
FROM (
    SELECT k.id, t.disabled_reason AS reason FROM deliveries k LEFT JOIN destinations t ON t.id = k.destination
    WHERE k.status = 'pending' AND (t.id IS NULL OR t.disabled_at IS NOT NULL)
    ORDER BY k.id LIMIT $1 FOR UPDATE OF k SKIP LOCKED
) s
WHERE d.id = s.id RETURNING d.id;

-- name: give_up_deliveries
-- a destination that rests counts no attempts: what has waited for longer than all tries together is dead
UPDATE deliveries d SET status = 'dead', reason = $2, done_at = now()
FROM (
    SELECT id FROM deliveries
    WHERE status = 'pending' AND opened_at < now() - make_interval(secs => $1) AND due_at <= now()
    ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
) s
WHERE d.id = s.id RETURNING d.id;

-- name: count_deliveries
-- what waits and what is dead, and since when the oldest waits
SELECT coalesce(t.sort, 'removed') AS sort, d.status, count(*) AS number,
    coalesce(extract(epoch FROM now() - min(d.created_at)), 0)::float8 AS oldest_seconds
FROM deliveries d LEFT JOIN destinations t ON t.id = d.destination
WHERE d.status IN ('pending', 'dead') GROUP BY 1, 2 ORDER BY 1, 2;

-- name: insert_trial
-- an effect for one destination alone, claimed at once for $8 seconds, whatever the destination takes or is
WITH e AS (
    INSERT INTO effects (subject, id, message_id, type, at, data, created_at, number)
    VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, clock_timestamp(), 1) RETURNING *
), d AS (
    INSERT INTO deliveries
        (subject, effect_id, type, destination, created_at, number, opened_at, due_at, enqueue_at)
    SELECT e.subject, e.id, e.type, $7, e.created_at, 1, e.created_at, now() + make_interval(secs => $8),
           now() + make_interval(secs => $8 + 1)
    FROM e RETURNING *
)
SELECT d.id, d.destination, t.sort, t.url, t.secret,
    CASE WHEN t.previous_until > now() THEN t.previous_secret END AS previous_secret, 0 AS failures,
    e.message_id, e.subject, e.type, e.at, e.data::text, 0 AS tries, d.due_at AS lease
FROM e CROSS JOIN d JOIN destinations t ON t.id = d.destination;

-- name: deliveries_of_destination
-- newest first, behind the cursor ($2, $3, $4); OFFSET 0: in the order of the index, a probe for each
SELECT d.id, e.message_id, d.type, d.subject, d.destination, d.status, d.reason, d.attempts, d.created_at, d.number,
    d.due_at, d.done_at
FROM deliveries d
CROSS JOIN LATERAL (SELECT f.message_id FROM effects f WHERE f.subject = d.subject AND f.id = d.effect_id OFFSET 0) e
WHERE d.destination = $1 AND ($6::text IS NULL OR d.status = $6)
    AND ($2::timestamptz IS NULL OR (d.created_at, d.number, e.message_id) < ($2, $3::int, $4::text))
    AND ($2::timestamptz IS NULL OR d.created_at <= $2)
ORDER BY d.created_at DESC, d.number DESC, e.message_id DESC LIMIT $5;
