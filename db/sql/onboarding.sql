-- name: known_onboarding_events
-- which of these (subject, id) were applied since $3, with what was said; OFFSET 0 demands an index probe for each
SELECT e.subject, e.id, e.kind, e.outcome
FROM unnest($1::text[], $2::text[]) AS k (subject, id)
CROSS JOIN LATERAL (
    SELECT f.subject, f.id, f.kind, f.outcome FROM onboarding_events f
    WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C" AND f.received_at >= $3
    OFFSET 0
) e;

-- name: load_onboarding_actions
SELECT user_id, action, first_at, last_at, count, received_at FROM onboarding_actions WHERE user_id = ANY($1::text[]);

-- name: load_onboarding_progress
SELECT
    user_id, step, completed_at, skipped_at, time_spent_seconds, org_id, org_at, created_at, updated_at, received_at
FROM onboarding_progress WHERE user_id = ANY($1::text[]);

-- name: load_onboarding_organizations
SELECT user_id, org_id, qualified_at, received_at FROM onboarding_organizations WHERE user_id = ANY($1::text[]);

-- name: save_onboarding_actions
-- the arrays come ordered by key; what has not changed is not written again
INSERT INTO onboarding_actions AS s (user_id, action, first_at, last_at, count, received_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::timestamptz[])
ON CONFLICT (user_id, action) DO UPDATE SET
    first_at = EXCLUDED.first_at, last_at = EXCLUDED.last_at, count = EXCLUDED.count,
    received_at = EXCLUDED.received_at
WHERE (s.first_at, s.last_at, s.count, s.received_at)
    IS DISTINCT FROM (EXCLUDED.first_at, EXCLUDED.last_at, EXCLUDED.count, EXCLUDED.received_at);

-- name: save_onboarding_progress
-- the arrays come ordered by key; what has not changed is not written again
INSERT INTO onboarding_progress AS s (
    user_id, step, completed_at, skipped_at, time_spent_seconds, org_id, org_at, created_at, updated_at, received_at
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::text[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[]
)
ON CONFLICT (user_id, step) DO UPDATE SET
    completed_at = EXCLUDED.completed_at, skipped_at = EXCLUDED.skipped_at,
    time_spent_seconds = EXCLUDED.time_spent_seconds, org_id = EXCLUDED.org_id, org_at = EXCLUDED.org_at,
    created_at = EXCLUDED.created_at, updated_at = EXCLUDED.updated_at, received_at = EXCLUDED.received_at
WHERE (
    s.completed_at, s.skipped_at, s.time_spent_seconds, s.org_id, s.org_at, s.created_at, s.updated_at, s.received_at
) IS DISTINCT FROM (
    EXCLUDED.completed_at, EXCLUDED.skipped_at, EXCLUDED.time_spent_seconds, EXCLUDED.org_id, EXCLUDED.org_at,
    EXCLUDED.created_at, EXCLUDED.updated_at, EXCLUDED.received_at
);

-- name: save_onboarding_organizations
-- the arrays come ordered by key; what has not changed is not written again
INSERT INTO onboarding_organizations AS s (user_id, org_id, qualified_at, received_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
ON CONFLICT (user_id, org_id) DO UPDATE SET
    qualified_at = EXCLUDED.qualified_at, received_at = EXCLUDED.received_at
WHERE (s.qualified_at, s.received_at) IS DISTINCT FROM (EXCLUDED.qualified_at, EXCLUDED.received_at);
