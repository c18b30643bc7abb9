-- name: take_lookups
-- for $2 seconds they are ours: who dies leaves them to the next
UPDATE lookups w SET due_at = now() + make_interval(secs => $2), attempts = attempts + 1
FROM (SELECT subject, id FROM lookups WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED) due
WHERE w.subject = due.subject AND w.id = due.id RETURNING w.subject, w.id, w.body;

-- name: delete_lookups
DELETE FROM lookups w USING unnest($1::text[], $2::text[]) AS k (subject, id)
WHERE w.subject = k.subject COLLATE "C" AND w.id = k.id COLLATE "C";

-- name: send_again
-- nobody else is about to send them: the sweep need not wait
INSERT INTO follow_ups (subject, id, body, created_at)
SELECT k.subject, k.id, k.body, now() - interval '1 minute'
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS k (subject, id, body)
ON CONFLICT (subject, id) DO NOTHING;
