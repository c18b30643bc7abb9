-- Referrals: facts, the codes of the organisations, who referred whom, and the ledger of rewards.
-- depends: 0005_onboarding

-- migrate: apply

CREATE TYPE referral_status AS ENUM ('PENDING', 'COMPLETED', 'REWARDED');

CREATE TABLE referral_events (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    user_id text,
    org_id text NOT NULL,
    data jsonb NOT NULL,
    outcome jsonb NOT NULL,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, id, received_at)
) PARTITION BY RANGE (received_at);

-- The subject of a row is the code itself: an organisation claims it in the partition of its own.
CREATE TABLE referral_codes (
    code text COLLATE "C" PRIMARY KEY,
    org_id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX referral_codes_org ON referral_codes (org_id);

CREATE TABLE referral_organizations (
    org_id text COLLATE "C" PRIMARY KEY,
    code text COLLATE "C",
    qualified_at timestamptz,
    received_at timestamptz NOT NULL
);

-- A row belongs to the referred organisation: it has one referral at most.
CREATE TABLE referrals (
    referrer_org_id text COLLATE "C" NOT NULL,
    referred_org_id text COLLATE "C" PRIMARY KEY,
    code text COLLATE "C" NOT NULL,
    status referral_status NOT NULL,
    created_at timestamptz NOT NULL,
    completed_at timestamptz,
    rewarded_at timestamptz,
    CHECK (referrer_org_id <> referred_org_id),
    CHECK ((completed_at IS NULL) = (status = 'PENDING')),
    CHECK ((rewarded_at IS NOT NULL) = (status = 'REWARDED'))
);

CREATE INDEX referrals_referrer ON referrals (referrer_org_id, status);
CREATE INDEX referrals_made ON referrals (referrer_org_id, created_at DESC, referred_org_id);
CREATE INDEX referrals_created ON referrals (created_at);

CREATE TABLE referral_rewards (
    org_id text COLLATE "C" NOT NULL,
    referred_org_id text COLLATE "C" NOT NULL,
    side text NOT NULL CHECK (side IN ('referrer', 'referred')),
    amount bigint NOT NULL,
    unit text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, referred_org_id, side)
);

CREATE INDEX referral_rewards_created ON referral_rewards (created_at);

CREATE VIEW organizations AS
SELECT
    i.org_id,
    o.code AS referral_code,
    r.referrer_org_id AS referred_by,
    EXISTS (SELECT FROM referral_rewards w WHERE w.org_id = i.org_id) AS referral_reward_claimed,
    coalesce(b.onboarding_completed, false) AS onboarding_completed,
    b.onboarding_completed_at,
    coalesce(b.onboarding_skipped, false) AS onboarding_skipped,
    coalesce(b.current_onboarding_step, (SELECT step FROM onboarding_steps ORDER BY place LIMIT 1))
        AS current_onboarding_step
FROM (SELECT org_id FROM referral_organizations UNION SELECT org_id FROM organization_onboarding) i
LEFT JOIN referral_organizations o ON o.org_id = i.org_id
LEFT JOIN referrals r ON r.referred_org_id = i.org_id
LEFT JOIN organization_onboarding b ON b.org_id = i.org_id;

-- migrate: rollback

DROP VIEW organizations;
DROP TABLE referral_rewards;
DROP TABLE referrals;
DROP TABLE referral_organizations;
DROP TABLE referral_codes;
DROP TABLE referral_events;
DROP TYPE referral_status;
