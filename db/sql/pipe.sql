-- name: make_partitions
-- the first start fixes how many there are
INSERT INTO partitions (id) SELECT generate_series(0, $1::int - 1)
WHERE NOT EXISTS (SELECT FROM partitions) ON CONFLICT (id) DO NOTHING;

-- name: count_partitions
SELECT count(*) FROM partitions;

-- name: lock_partition
-- no row: another transaction moves this partition
SELECT generation, ARRAY[position_ms, position_seq] AS position, ARRAY[reread_ms, reread_seq] AS reread, erased
FROM partitions WHERE id = $1 FOR UPDATE SKIP LOCKED;

-- name: advance
-- below the reread position entries may have been applied before Redis changed: every id is looked up
UPDATE partitions SET
    generation = $2, position_ms = $3, position_seq = $4, reread_ms = $5, reread_seq = $6, applied_at = now()
WHERE id = $1;

-- name: positions
SELECT id, generation, position_ms, position_seq, applied_at FROM partitions ORDER BY id;

-- name: end_stalled_copies
-- a peer that vanished in the middle of a COPY: no idle time-out of Postgres ends that, so whoever waits for it does
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'milepost-drain' AND usename = current_user AND datname = current_database()
  AND pid <> pg_backend_pid() AND state = 'active' AND wait_event = 'ClientRead'
  AND state_change < now() - make_interval(secs => $1);

-- name: insert_dead_letters
-- not now(), the beginning of the transaction: a batch may have begun before the retry whose action dies in it
INSERT INTO dead_letters (partition, position, action_id, kind, subject, code, message, body, dead_at)
SELECT k.*, clock_timestamp() FROM unnest(
    $1::smallint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[]
) AS k;

-- name: list_dead_letters
SELECT id, partition, position, action_id, kind, subject, code, message, body, dead_at, retried_at, discarded_at
FROM dead_letters
WHERE ($1 OR (retried_at IS NULL AND discarded_at IS NULL)) ORDER BY dead_at, id LIMIT $2;

-- name: page_dead_letters
-- newest first, behind ($4, $5); open ones only unless $1
SELECT id, action_id, kind, subject, code, message, dead_at, retried_at, discarded_at FROM dead_letters
WHERE ($1 OR (retried_at IS NULL AND discarded_at IS NULL)) AND ($2::text IS NULL OR code = $2)
  AND ($3::text[] IS NULL OR kind = ANY($3)) AND ($4::timestamptz IS NULL OR (dead_at, id) < ($4, $5::uuid))
ORDER BY dead_at DESC, id DESC LIMIT $6;

-- name: count_chosen_letters
SELECT count(*) FROM dead_letters
WHERE ($1 OR (retried_at IS NULL AND discarded_at IS NULL)) AND ($2::text IS NULL OR code = $2)
  AND ($3::text[] IS NULL OR kind = ANY($3));

-- name: find_dead_letters
-- the open ones behind $3, for those who go through all of them in parts; what dies anew meanwhile is not among them
SELECT id FROM dead_letters
WHERE retried_at IS NULL AND discarded_at IS NULL AND ($1::text IS NULL OR code = $1)
  AND ($2::text[] IS NULL OR kind = ANY($2)) AND id > $3 AND dead_at < $4
ORDER BY id LIMIT $5;

-- name: count_left_letters
SELECT count(*) FROM dead_letters
WHERE retried_at IS NULL AND discarded_at IS NULL AND ($1::text IS NULL OR code = $1)
  AND ($2::text[] IS NULL OR kind = ANY($2)) AND id > $3 AND dead_at < $4;

-- name: show_dead_letters
SELECT id, partition, position, action_id, kind, subject, code, message, body, dead_at, retried_at, discarded_at
FROM dead_letters WHERE id = ANY($1::uuid[]) ORDER BY dead_at, id;

-- name: dead_letter_codes
SELECT code, count(*) AS number, min(dead_at) AS oldest, max(dead_at) AS newest FROM dead_letters
WHERE retried_at IS NULL AND discarded_at IS NULL GROUP BY code ORDER BY count(*) DESC, code;

-- name: dead_letter_kinds
SELECT kind, count(*) AS number FROM dead_letters
WHERE retried_at IS NULL AND discarded_at IS NULL GROUP BY kind ORDER BY count(*) DESC, kind;

-- name: lock_dead_letters
-- open ones only: a retry that two operators start at once happens once
SELECT id, partition, position, action_id, kind, subject, code, message, body
FROM dead_letters WHERE id = ANY($1::uuid[]) AND retried_at IS NULL AND discarded_at IS NULL
ORDER BY id FOR UPDATE;

-- name: mark_retried
UPDATE dead_letters SET retried_at = now() WHERE id = ANY($1::uuid[]);

-- name: mark_discarded
UPDATE dead_letters SET discarded_at = now()
WHERE id = ANY($1::uuid[]) AND retried_at IS NULL AND discarded_at IS NULL RETURNING id;

-- name: drop_dead_letters
-- those that somebody saw to before $1; the others wait
WITH dropped AS (
    DELETE FROM dead_letters WHERE retried_at < $1 OR discarded_at < $1 RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: ensure_days
SELECT ensure_days($1, $2);

-- name: drop_days
SELECT drop_days($1);

-- name: position
SELECT ARRAY[position_ms, position_seq] FROM partitions WHERE id = $1;
