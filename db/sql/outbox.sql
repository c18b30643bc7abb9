-- name: insert_follow_ups
-- the arrays come ordered by (subject, id)
INSERT INTO follow_ups (subject, id, body) SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[])
ON CONFLICT (subject, id) DO NOTHING;

-- name: delete_follow_ups
DELETE FROM follow_ups f USING unnest($1::text[], $2::text[]) AS k (subject, id)
WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C";

-- name: lock_follow_ups
-- left behind by a process that died between its commit and the append
SELECT subject, id, body FROM follow_ups WHERE created_at < now() - make_interval(secs => $1)
ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED;
