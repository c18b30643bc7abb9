-- Onboarding: facts by day of arrival, what each user has done, the steps of the checklist, which organisations qualify.
-- depends: 0004_catalog

-- migrate: apply

CREATE TABLE onboarding_events (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    user_id text NOT NULL,
    org_id text,
    data jsonb NOT NULL,
    outcome jsonb NOT NULL,
    qualifies boolean NOT NULL,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, id, received_at)
) PARTITION BY RANGE (received_at);

CREATE TABLE onboarding_actions (
    user_id text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    count bigint NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, action)
) WITH (fillfactor = 80);

CREATE INDEX onboarding_actions_first ON onboarding_actions (first_at);

CREATE TABLE onboarding_progress (
    user_id text COLLATE "C" NOT NULL,
    org_id text COLLATE "C",
    step text COLLATE "C" NOT NULL,
    status text GENERATED ALWAYS AS (CASE WHEN completed_at IS NULL THEN 'skipped' ELSE 'completed' END) STORED,
    completed boolean GENERATED ALWAYS AS (completed_at IS NOT NULL) STORED,
    skipped boolean GENERATED ALWAYS AS (completed_at IS NULL) STORED,
    completed_at timestamptz,
    skipped_at timestamptz,
    time_spent_seconds bigint,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    org_at timestamptz,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, step),
    CHECK (completed_at IS NOT NULL OR skipped_at IS NOT NULL)
) WITH (fillfactor = 80);

CREATE INDEX onboarding_progress_created ON onboarding_progress (created_at);
CREATE INDEX onboarding_progress_org ON onboarding_progress (org_id, step) WHERE org_id IS NOT NULL;

-- Since when a user's actions qualify an organisation for its referral.
CREATE TABLE onboarding_organizations (
    user_id text COLLATE "C" NOT NULL,
    org_id text COLLATE "C" NOT NULL,
    qualified_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, org_id)
);

CREATE VIEW user_onboarding AS
SELECT
    user_id,
    bool_or(action = 'created_clip') AS has_created_clip,
    bool_or(action = 'added_subtitles') AS has_added_subtitles,
    bool_or(action = 'reframed_video') AS has_reframed_video,
    bool_or(action = 'shared_content') AS has_shared,
    min(first_at) FILTER (WHERE action = 'created_clip') AS first_clip_at,
    min(first_at) FILTER (WHERE action = 'added_subtitles') AS first_subtitle_at,
    min(first_at) FILTER (WHERE action = 'reframed_video') AS first_reframe_at,
    min(first_at) FILTER (WHERE action = 'shared_content') AS first_share_at,
    coalesce(sum(count) FILTER (WHERE action = 'shared_content'), 0)::bigint AS export_count,
    max(last_at) FILTER (WHERE action = 'shared_content') AS last_export_at
FROM onboarding_actions
GROUP BY user_id;

-- The steps of the catalog in their order; as shipped when none is stored.
CREATE VIEW onboarding_steps AS
SELECT s.step COLLATE "C" AS step, s.place::int AS place
FROM jsonb_array_elements_text(coalesce(
    (SELECT parsed -> 'onboarding' -> 'steps' FROM catalog),
    '["WELCOME", "UPLOAD_VIDEO", "VIEW_CLIPS", "CUSTOMIZE_CLIP", "EXPORT_CLIP", "SHARE_REFERRAL"]'::jsonb
)) WITH ORDINALITY AS s (step, place);

-- An organisation has done what any of its users has done.
CREATE VIEW organization_onboarding AS
SELECT
    o.org_id,
    bool_and(c.step IS NOT NULL) AS onboarding_completed,
    CASE WHEN bool_and(c.step IS NOT NULL) THEN max(coalesce(c.completed_at, c.skipped_at)) END
        AS onboarding_completed_at,
    bool_and(c.step IS NOT NULL) AND bool_or(c.completed_at IS NULL) AS onboarding_skipped,
    coalesce((array_agg(s.step ORDER BY s.place) FILTER (WHERE c.step IS NULL))[1], 'COMPLETED')
        AS current_onboarding_step
FROM (SELECT DISTINCT org_id FROM onboarding_progress WHERE org_id IS NOT NULL) o
CROSS JOIN onboarding_steps s
LEFT JOIN (
    SELECT org_id, step, min(completed_at) AS completed_at, min(skipped_at) AS skipped_at
    FROM onboarding_progress WHERE org_id IS NOT NULL GROUP BY org_id, step
) c ON c.org_id = o.org_id AND c.step = s.step
GROUP BY o.org_id;

-- migrate: rollback

DROP VIEW organization_onboarding;
DROP VIEW onboarding_steps;
DROP VIEW user_onboarding;
DROP TABLE onboarding_organizations;
DROP TABLE onboarding_progress;
DROP TABLE onboarding_actions;
DROP TABLE onboarding_events;
