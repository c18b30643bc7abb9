-- name: count_checklists
-- the planner's estimate; -1 before the first ANALYZE
SELECT greatest(max(reltuples), 0)::bigint FROM pg_class
WHERE oid IN ('onboarding_actions'::regclass, 'onboarding_progress'::regclass);

-- name: page_checklists
SELECT user_id, 'user:' || user_id FROM (
    (SELECT DISTINCT user_id FROM onboarding_actions WHERE user_id > $1 ORDER BY user_id LIMIT $2)
    UNION
    (SELECT DISTINCT user_id FROM onboarding_progress WHERE user_id > $1 ORDER BY user_id LIMIT $2)
) u ORDER BY user_id LIMIT $2;

-- name: oldest_onboarding_day
-- the first day of arrival whose facts are still kept
SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'onboarding_events'::regclass;

-- name: orphan_checklists
SELECT DISTINCT f.user_id, f.subject FROM onboarding_events f
WHERE NOT EXISTS (SELECT FROM onboarding_actions a WHERE a.user_id = f.user_id COLLATE "C")
  AND NOT EXISTS (SELECT FROM onboarding_progress p WHERE p.user_id = f.user_id COLLATE "C");

-- name: onboarding_events
-- by subject, which the primary key begins with
SELECT user_id, subject, id, kind, org_id, data, qualifies, at, received_at, flags
FROM onboarding_events WHERE subject = ANY($1::text[]);

-- name: delete_onboarding_actions
DELETE FROM onboarding_actions WHERE user_id = ANY($1::text[]);

-- name: delete_onboarding_progress
DELETE FROM onboarding_progress WHERE user_id = ANY($1::text[]);

-- name: delete_onboarding_organizations
DELETE FROM onboarding_organizations WHERE user_id = ANY($1::text[]);
