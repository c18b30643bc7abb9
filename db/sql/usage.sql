-- name: known_usage_records
-- which of these (subject, id) were applied since $3, with what was said then; OFFSET 0 as in tracking.sql
SELECT e.subject, e.id, e.kind, e.action, e.booked, e.period_start, e.period_end, e.outcome
FROM unnest($1::text[], $2::text[]) AS k (subject, id)
CROSS JOIN LATERAL (
    SELECT f.subject, f.id, f.kind, f.action, f.booked, f.period_start, f.period_end, f.outcome FROM usage_records f
    WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C" AND f.received_at >= $3
    OFFSET 0
) e;

-- name: load_usage_accounts
SELECT subject, first_at, plan, next_plan, next_plan_at, overrides, rules, metered, revision
FROM usage_accounts WHERE subject = ANY($1::text[]);

-- name: load_usage_counters
-- every meter of these subjects, in the periods that end behind the given time of each
SELECT
    c.subject, c.action, c.period_start, c.period_end, c.used, c.reserved, c.records, c.plan, c.limit_version,
    c.limit_value, c.hard, c.overage_cap, c.notified, c.revision, c.closed_at, c.updated_at
FROM unnest($1::text[], $2::timestamptz[]) AS k (subject, since)
JOIN usage_counters c ON c.subject = k.subject COLLATE "C" AND (c.period_end IS NULL OR c.period_end > k.since);

-- name: find_usage_counters
SELECT
    c.subject, c.action, c.period_start, c.period_end, c.used, c.reserved, c.records, c.plan, c.limit_version,
    c.limit_value, c.hard, c.overage_cap, c.notified, c.revision, c.closed_at, c.updated_at
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (subject, action, period_start)
JOIN usage_counters c ON c.subject = k.subject COLLATE "C" AND c.action = k.action COLLATE "C"
    AND c.period_start = k.period_start;

-- name: load_reservations
SELECT r.subject, r.id, r.action, r.quantity, r.period_start, r.created_at, r.expires_at, r.status, r.committed
FROM unnest($1::text[], $2::text[]) AS k (subject, id)
JOIN usage_reservations r ON r.subject = k.subject COLLATE "C" AND r.id = k.id COLLATE "C";

-- name: load_open_reservations
-- of these subjects all that expire until the given time of each, and the next $3
SELECT e.subject, e.id, e.action, e.quantity, e.period_start, e.created_at, e.expires_at, e.status, e.committed
FROM unnest($1::text[], $2::timestamptz[]) AS k (subject, until)
CROSS JOIN LATERAL (
    (SELECT * FROM usage_reservations r
     WHERE r.subject = k.subject COLLATE "C" AND r.status = 'open' AND r.expires_at <= k.until)
    UNION ALL
    (SELECT * FROM usage_reservations r
     WHERE r.subject = k.subject COLLATE "C" AND r.status = 'open' AND r.expires_at > k.until
     ORDER BY r.expires_at LIMIT $3)
) e;

-- name: save_usage_accounts
-- the arrays come ordered by subject
INSERT INTO usage_accounts (
    subject, first_at, plan, next_plan, next_plan_at, overrides, rules, metered, revision
)
SELECT * FROM unnest(
    $1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::timestamptz[], $6::jsonb[], $7::jsonb[], $8::boolean[],
    $9::int[]
)
ON CONFLICT (subject) DO UPDATE SET
    first_at = EXCLUDED.first_at, plan = EXCLUDED.plan, next_plan = EXCLUDED.next_plan,
    next_plan_at = EXCLUDED.next_plan_at, overrides = EXCLUDED.overrides, rules = EXCLUDED.rules,
    metered = EXCLUDED.metered, revision = EXCLUDED.revision;

-- name: save_usage_counters
-- the arrays come ordered by (subject, action, period_start); whoever closes a period does it beside the log
INSERT INTO usage_counters (
    subject, action, period_start, period_end, used, reserved, records, plan, limit_version, limit_value, hard,
    overage_cap, notified, revision, closed_at, updated_at
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
    $9::text[], $10::bigint[], $11::boolean[], $12::bigint[], $13::jsonb[], $14::int[], $15::timestamptz[],
    $16::timestamptz[]
)
ON CONFLICT (subject, action, period_start) DO UPDATE SET
    period_end = EXCLUDED.period_end, used = EXCLUDED.used, reserved = EXCLUDED.reserved, records = EXCLUDED.records,
    plan = EXCLUDED.plan, limit_version = EXCLUDED.limit_version, limit_value = EXCLUDED.limit_value,
    hard = EXCLUDED.hard, overage_cap = EXCLUDED.overage_cap, notified = EXCLUDED.notified,
    revision = EXCLUDED.revision, closed_at = coalesce(usage_counters.closed_at, EXCLUDED.closed_at),
    updated_at = EXCLUDED.updated_at;

-- name: save_reservations
-- the arrays come ordered by (subject, id)
INSERT INTO usage_reservations (
    subject, id, action, quantity, period_start, created_at, expires_at, status, committed
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
    $8::text[], $9::bigint[]
)
ON CONFLICT (subject, id) DO UPDATE SET
    action = EXCLUDED.action, quantity = EXCLUDED.quantity, period_start = EXCLUDED.period_start,
    created_at = EXCLUDED.created_at, expires_at = EXCLUDED.expires_at, status = EXCLUDED.status,
    committed = EXCLUDED.committed;

-- name: compare_usage
-- counters that are not the sums of their records, of periods whose records are all still kept
WITH kept AS (
    SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC' AS since
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'usage_records'::regclass
), summed AS (
    SELECT subject, action, period_start, sum(booked)::bigint AS booked, count(*) AS records
    FROM usage_records WHERE number IS NOT NULL AND period_start IS NOT NULL GROUP BY subject, action, period_start
)
SELECT
    coalesce(c.subject, s.subject) AS subject, coalesce(c.action, s.action) AS action,
    coalesce(c.period_start, s.period_start) AS period_start, c.used, s.booked, c.records AS counted, s.records
FROM usage_counters c
FULL JOIN summed s ON s.subject = c.subject AND s.action = c.action COLLATE "C" AND s.period_start = c.period_start
LEFT JOIN usage_accounts a ON a.subject = c.subject
CROSS JOIN kept
WHERE (c.used IS DISTINCT FROM s.booked OR c.records IS DISTINCT FROM s.records)
  AND (c.subject IS NULL OR coalesce(a.first_at >= kept.since, true) OR c.period_start >= kept.since + interval '1 day')
ORDER BY 1, 2, 3;

-- name: due_reservations
-- open ones that nobody has ended although they have expired
SELECT subject, id FROM usage_reservations WHERE status = 'open' AND expires_at <= $1 ORDER BY expires_at LIMIT $2;

-- name: close_periods
-- those that ended until $1; whoever writes a counter keeps the time of closing that it finds
WITH due AS (
    SELECT subject, action, period_start FROM usage_counters
    WHERE closed_at IS NULL AND period_end IS NOT NULL AND period_end <= $1
    ORDER BY period_end LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE usage_counters c SET closed_at = c.period_end + make_interval(hours => $2)
FROM due WHERE c.subject = due.subject AND c.action = due.action AND c.period_start = due.period_start
RETURNING c.subject;

-- name: drop_reservations
-- ended ones whose facts retention has dropped
WITH dropped AS (
    DELETE FROM usage_reservations WHERE status <> 'open' AND created_at < $1 RETURNING 1
)
SELECT count(*) FROM dropped;
