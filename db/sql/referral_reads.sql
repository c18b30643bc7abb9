-- name: referral_code
SELECT code FROM referral_organizations WHERE org_id = $1 AND code IS NOT NULL;

-- name: referral_stats
-- of those that an organisation referred; its index has both columns
SELECT
    count(*) FILTER (WHERE status = 'PENDING') AS pending,
    count(*) FILTER (WHERE status = 'COMPLETED') AS completed,
    count(*) FILTER (WHERE status = 'REWARDED') AS rewarded,
    count(*) AS total
FROM referrals WHERE referrer_org_id = $1;

-- name: referrals_made
SELECT referrer_org_id, referred_org_id, code, created_at, completed_at, rewarded_at
FROM referrals WHERE referrer_org_id = $1 ORDER BY created_at DESC, referred_org_id LIMIT $2 OFFSET $3;

-- name: referral_rewards_of
SELECT org_id, referred_org_id, side, amount, unit, created_at
FROM referral_rewards WHERE org_id = $1 ORDER BY created_at DESC, referred_org_id, side LIMIT $2 OFFSET $3;

-- name: referral_earnings
SELECT unit, count(*) AS number, sum(amount)::bigint AS amount
FROM referral_rewards WHERE org_id = $1 GROUP BY unit ORDER BY unit;

-- name: referrals_overview
-- of those that were claimed in that time
SELECT
    count(*) FILTER (WHERE status = 'PENDING') AS pending,
    count(*) FILTER (WHERE status = 'COMPLETED') AS completed,
    count(*) FILTER (WHERE status = 'REWARDED') AS rewarded,
    count(*) AS total,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - created_at)) AS seconds
FROM referrals WHERE created_at >= $1 AND created_at < $2;

-- name: top_referrers
SELECT
    t.referrer_org_id AS "orgId", o.code, t.total, t.converted, t.rewarded
FROM (
    SELECT
        referrer_org_id,
        count(*) AS total,
        count(*) FILTER (WHERE status <> 'PENDING') AS converted,
        count(*) FILTER (WHERE status = 'REWARDED') AS rewarded
    FROM referrals WHERE created_at >= $1 AND created_at < $2
    GROUP BY referrer_org_id ORDER BY converted DESC, total DESC, referrer_org_id LIMIT $3
) t
LEFT JOIN referral_organizations o ON o.org_id = t.referrer_org_id
ORDER BY t.converted DESC, t.total DESC, t.referrer_org_id;

-- name: rewards_overview
SELECT side, unit, count(*) AS number, sum(amount)::bigint AS amount
FROM referral_rewards WHERE created_at >= $1 AND created_at < $2 GROUP BY side, unit ORDER BY side DESC, unit;

-- name: count_referral_codes
SELECT count(*) FROM referral_codes WHERE created_at >= $1 AND created_at < $2;
