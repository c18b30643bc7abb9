-- name: count_referral_organizations
-- the planner's estimate; -1 before the first ANALYZE
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'referral_organizations'::regclass;

-- name: page_referral_organizations
-- whoever has a row in any of the three tables
(SELECT org_id FROM referral_organizations WHERE org_id > $1 ORDER BY org_id LIMIT $2)
UNION (SELECT referred_org_id FROM referrals WHERE referred_org_id > $1 ORDER BY referred_org_id LIMIT $2)
UNION (SELECT org_id FROM referral_rewards WHERE org_id > $1 GROUP BY org_id ORDER BY org_id LIMIT $2)
ORDER BY org_id LIMIT $2;

-- name: oldest_referral_day
-- the first day of arrival whose facts are still kept
SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'referral_events'::regclass;

-- name: orphan_referral_organizations
SELECT DISTINCT f.subject, f.org_id FROM referral_events f
WHERE NOT EXISTS (SELECT FROM referral_organizations o WHERE o.org_id = f.org_id COLLATE "C");

-- name: referral_ledgers
SELECT org_id, referred_org_id, side, amount, unit, created_at FROM referral_rewards WHERE org_id = ANY($1::text[])
ORDER BY org_id, referred_org_id, side;

-- name: referral_events_of
-- by subject, which the primary key begins with
SELECT org_id, kind, data, outcome, at, received_at FROM referral_events WHERE subject = ANY($1::text[]);

-- name: delete_referrals
DELETE FROM referrals WHERE referred_org_id = ANY($1::text[]);

-- name: delete_referral_rewards
DELETE FROM referral_rewards WHERE org_id = ANY($1::text[]);

-- name: delete_referral_organizations
DELETE FROM referral_organizations WHERE org_id = ANY($1::text[]);
