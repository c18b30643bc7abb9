-- Onboarding by the day on which users began, so that the overview adds up days instead of reading every user.
-- depends: 0018_rollups_ranked

-- migrate: apply

-- What the users who began on a day (UTC) count for, by the steps of the catalog as they were: a pass makes it of their
-- rows, whole.
CREATE TABLE onboarding_days (
    day date PRIMARY KEY,
    steps text[] COLLATE "C" NOT NULL,
    counted bytea NOT NULL
);

-- The days whose users a batch changed: one row a batch, in its transaction.
CREATE TABLE onboarding_changes (
    days date[] NOT NULL
);

INSERT INTO onboarding_changes (days)
SELECT array_agg(DISTINCT (begun AT TIME ZONE 'UTC')::date) FROM (
    SELECT created_at AS begun FROM onboarding_progress UNION ALL SELECT first_at FROM onboarding_actions
) b HAVING count(*) > 0;

-- migrate: rollback

DROP TABLE onboarding_changes;
DROP TABLE onboarding_days;
