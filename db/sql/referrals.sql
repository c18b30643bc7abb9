-- name: known_referral_events
-- which of these (subject, id) were applied since $3, with what was decided then; OFFSET 0 as in tracking.sql
SELECT e.subject, e.id, e.kind, e.outcome
FROM unnest($1::text[], $2::text[]) AS k (subject, id)
CROSS JOIN LATERAL (
    SELECT f.subject, f.id, f.kind, f.outcome FROM referral_events f
    WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C" AND f.received_at >= $3
    OFFSET 0
) e;

-- name: serialise_claims
-- until the transaction ends: codes and who referred whom are decided by one batch at a time
SELECT pg_advisory_xact_lock(hashtext('referrals'));

-- name: load_referral_organizations
SELECT org_id, received_at, code, qualified_at FROM referral_organizations WHERE org_id = ANY($1::text[]);

-- name: load_referrals
SELECT referrer_org_id, referred_org_id, code, created_at, completed_at, rewarded_at
FROM referrals WHERE referred_org_id = ANY($1::text[]);

-- name: load_referrers
-- whoever stands above these organisations, up to those whom nobody referred; UNION ends even a cycle
WITH RECURSIVE above (referred_org_id, referrer_org_id) AS (
    SELECT referred_org_id, referrer_org_id FROM referrals WHERE referred_org_id = ANY($1::text[])
    UNION
    SELECT r.referred_org_id, r.referrer_org_id FROM above a JOIN referrals r ON r.referred_org_id = a.referrer_org_id
)
SELECT referred_org_id, referrer_org_id FROM above;

-- name: load_referral_rewards
SELECT w.org_id, w.referred_org_id, w.side, w.amount, w.unit, w.created_at
FROM unnest($1::text[], $2::text[]) AS k (org_id, referred_org_id)
JOIN referral_rewards w ON w.org_id = k.org_id COLLATE "C" AND w.referred_org_id = k.referred_org_id COLLATE "C";

-- name: find_referral_codes
SELECT code, org_id FROM referral_codes WHERE code = ANY($1::text[]);

-- name: codes_of_organizations
SELECT code, org_id FROM referral_codes WHERE org_id = ANY($1::text[]);

-- name: claim_referral_codes
-- those that were free; what another organisation has, or takes in this statement, does not come back
INSERT INTO referral_codes (code, org_id) SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT (code) DO NOTHING RETURNING code, org_id;

-- name: save_referral_organizations
-- the arrays come ordered by org_id
INSERT INTO referral_organizations (org_id, received_at, code, qualified_at)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::timestamptz[])
ON CONFLICT (org_id) DO UPDATE SET
    received_at = EXCLUDED.received_at, code = EXCLUDED.code, qualified_at = EXCLUDED.qualified_at;

-- name: save_referrals
-- the arrays come ordered by referred_org_id
INSERT INTO referrals (
    referrer_org_id, referred_org_id, code, created_at, completed_at, rewarded_at, status
)
SELECT
    k.*,
    CASE
        WHEN k.rewarded_at IS NOT NULL THEN 'REWARDED' WHEN k.completed_at IS NOT NULL THEN 'COMPLETED' ELSE 'PENDING'
    END::referral_status
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[]
) AS k (referrer_org_id, referred_org_id, code, created_at, completed_at, rewarded_at)
ON CONFLICT (referred_org_id) DO UPDATE SET
    referrer_org_id = EXCLUDED.referrer_org_id, code = EXCLUDED.code, created_at = EXCLUDED.created_at,
    completed_at = EXCLUDED.completed_at, rewarded_at = EXCLUDED.rewarded_at, status = EXCLUDED.status;

-- name: save_referral_rewards
-- the arrays come ordered by key
INSERT INTO referral_rewards (org_id, referred_org_id, side, amount, unit, created_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[])
ON CONFLICT (org_id, referred_org_id, side) DO UPDATE SET
    amount = EXCLUDED.amount, unit = EXCLUDED.unit, created_at = EXCLUDED.created_at;
