-- name: count_usage_accounts
-- the planner's estimate; -1 before the first ANALYZE
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'usage_accounts'::regclass;

-- name: count_usage_counters
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'usage_counters'::regclass;

-- name: oldest_usage_day
-- the first day of arrival whose facts are still kept
SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'usage_records'::regclass;

-- name: page_usage_accounts
SELECT subject FROM usage_accounts WHERE subject > $1 AND ($2::text IS NULL OR subject = $2) ORDER BY subject LIMIT $3;

-- name: page_usage_counters
SELECT subject, action, period_start FROM usage_counters
WHERE (subject, action, period_start) > ($1, $2, $3) AND ($4::text IS NULL OR subject = $4)
ORDER BY subject, action, period_start LIMIT $5;

-- name: orphan_usage_accounts
SELECT DISTINCT f.subject FROM usage_records f
WHERE ($1::text IS NULL OR f.subject = $1) AND NOT EXISTS (SELECT FROM usage_accounts a WHERE a.subject = f.subject);

-- name: orphan_usage_counters
-- of facts, and of reservations that no counter holds
SELECT o.subject, o.action, o.period_start FROM (
    SELECT f.subject, f.action, f.period_start FROM usage_records f
    WHERE f.number IS NOT NULL AND f.period_start IS NOT NULL AND ($1::text IS NULL OR f.subject = $1)
    UNION SELECT r.subject, r.action, r.period_start FROM usage_reservations r
    WHERE $1::text IS NULL OR r.subject = $1
) o
WHERE NOT EXISTS (
    SELECT FROM usage_counters c
    WHERE c.subject = o.subject AND c.action = o.action COLLATE "C" AND c.period_start = o.period_start
);

-- name: reservations_of_counters
SELECT r.subject, r.id, r.action, r.quantity, r.period_start, r.created_at, r.expires_at, r.status, r.committed
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (subject, action, period_start)
JOIN usage_reservations r ON r.subject = k.subject COLLATE "C" AND r.action = k.action
    AND r.period_start = k.period_start;

-- name: usage_subjects
-- of each subject: its first arrival, the newest arrival of a decision, whether anything was counted
SELECT
    subject, min(received_at) AS first_at,
    max(received_at) FILTER (WHERE kind IN (
        'usage.consumed', 'usage.reserved', 'usage.committed', 'usage.released'
    )) AS decided_at,
    bool_or(number IS NOT NULL AND period_start IS NOT NULL) AS metered
FROM usage_records WHERE subject = ANY($1::text[]) GROUP BY subject;

-- name: usage_rulings
-- plans, own limits, zones: in the order of the account
SELECT subject, kind, action, number, outcome FROM usage_records
WHERE subject = ANY($1::text[]) AND kind IN ('plan.changed', 'usage.limits_set', 'usage.account_set')
ORDER BY subject, number;

-- name: counted_usage
-- what these counters took, each in its own order
SELECT
    f.subject, f.id, f.kind, f.action, f.quantity, f.booked, f.period_start, f.period_end, f.plan, f.limit_version,
    f.notices, f.reservation_id, f.received_at, f.flags, f.outcome ->> 'expiresAt' AS expires_at
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (subject, action, period_start)
JOIN usage_records f ON f.subject = k.subject COLLATE "C" AND f.action = k.action AND f.period_start = k.period_start
WHERE f.number IS NOT NULL
ORDER BY f.subject, f.action, f.period_start, f.number;

-- name: released_usage
SELECT subject, reservation_id FROM usage_records
WHERE subject = ANY($1::text[]) AND kind = 'usage.released' AND action IS NOT NULL;

-- name: delete_usage_accounts
DELETE FROM usage_accounts WHERE subject = ANY($1::text[]);

-- name: delete_usage_counters
DELETE FROM usage_counters c USING unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (subject, action, period_start)
WHERE c.subject = k.subject COLLATE "C" AND c.action = k.action COLLATE "C" AND c.period_start = k.period_start;

-- name: delete_usage_reservations
DELETE FROM usage_reservations r
USING unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (subject, action, period_start)
WHERE r.subject = k.subject COLLATE "C" AND r.action = k.action AND r.period_start = k.period_start;
