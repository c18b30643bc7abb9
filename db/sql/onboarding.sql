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

-- name: onboarding_steps_overview
-- users whose checklist moved first in [$1, $2), which the index on created_at finds; who closed a step entered the next.
-- `ended`: for how many of them it is the furthest one that they closed
WITH cohort AS (
    SELECT DISTINCT user_id FROM onboarding_progress WHERE created_at >= $1 AND created_at < $2
),
closed AS (
    SELECT
        s.place, p.completed, p.time_spent_seconds, lead(s.place) OVER own IS NULL AS is_furthest,
        extract(epoch FROM c.at - lag(c.at) OVER own)::double precision AS since_last
    FROM cohort JOIN onboarding_progress p USING (user_id) JOIN onboarding_steps s USING (step)
    CROSS JOIN LATERAL (SELECT coalesce(p.completed_at, p.skipped_at) AS at) c
    WINDOW own AS (PARTITION BY p.user_id ORDER BY s.place)
),
places AS (
    SELECT
        place, count(*) FILTER (WHERE is_furthest) AS ended, count(*) FILTER (WHERE completed) AS completed,
        count(*) FILTER (WHERE NOT completed) AS skipped,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY time_spent_seconds) AS time_spent,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY since_last) FILTER (WHERE since_last >= 0) AS between_steps
    FROM closed GROUP BY place
)
SELECT
    s.step,
    (SELECT coalesce(sum(f.ended), 0)::bigint FROM places f WHERE f.place >= s.place - 1) AS entered,
    (SELECT coalesce(sum(f.ended), 0)::bigint FROM places f WHERE f.place >= s.place) AS passed,
    coalesce(p.completed, 0) AS completed, coalesce(p.skipped, 0) AS skipped, p.time_spent, p.between_steps
FROM onboarding_steps s LEFT JOIN places p USING (place) ORDER BY s.place;

-- name: onboarding_totals
-- users of [$1, $2) by either table, and how many of them are done with every step
WITH cohort AS (
    SELECT user_id FROM onboarding_progress WHERE created_at >= $1 AND created_at < $2
    UNION
    SELECT user_id FROM onboarding_actions WHERE first_at >= $1 AND first_at < $2
),
ended AS (
    SELECT user_id, bool_or(p.skipped) AS skipped
    FROM cohort JOIN onboarding_progress p USING (user_id) JOIN onboarding_steps s USING (step)
    GROUP BY user_id HAVING count(*) = (SELECT count(*) FROM onboarding_steps)
)
SELECT
    (SELECT count(*) FROM cohort) AS users,
    count(*) AS completed,
    count(*) FILTER (WHERE skipped) AS skipped
FROM ended;

-- name: onboarding_actions_overview
-- who did what for the first time in [$1, $2), and how often since
SELECT action, count(*) AS users, sum(count)::bigint AS times FROM onboarding_actions
WHERE first_at >= $1 AND first_at < $2 GROUP BY action;
