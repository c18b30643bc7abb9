-- Usage: the facts of metering, and what is folded from them: counters, reservations, accounts. Plans in versions.
-- depends: 0007_courses

-- migrate: apply

-- A version never changes. Unlimited is null, off is 0; what `body` does not name is unlimited.
CREATE TABLE plan_limits (
    plan text COLLATE "C" NOT NULL,
    version int NOT NULL,
    effective_from timestamptz NOT NULL,
    body jsonb NOT NULL,
    source text NOT NULL CHECK (source IN ('catalog', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    diagram_uploads bigint GENERATED ALWAYS AS ((body #>> '{limits,DIAGRAM_UPLOAD,limit}')::bigint) STORED,
    ai_analyses bigint GENERATED ALWAYS AS ((body #>> '{limits,AI_ANALYSIS,limit}')::bigint) STORED,
    procedure_views bigint GENERATED ALWAYS AS ((body #>> '{limits,PROCEDURE_VIEW,limit}')::bigint) STORED,
    pdf_exports bigint GENERATED ALWAYS AS ((body #>> '{limits,EXPORT_PDF,limit}')::bigint) STORED,
    dxf_exports bigint GENERATED ALWAYS AS ((body #>> '{limits,EXPORT_DXF,limit}')::bigint) STORED,
    api_calls bigint GENERATED ALWAYS AS ((body #>> '{limits,API_CALL,limit}')::bigint) STORED,
    storage bigint GENERATED ALWAYS AS ((body ->> 'storage')::bigint) STORED,
    max_file_size bigint GENERATED ALWAYS AS ((body ->> 'maxFileSize')::bigint) STORED,
    team_size bigint GENERATED ALWAYS AS ((body ->> 'teamSize')::bigint) STORED,
    team_collaboration boolean NOT NULL GENERATED ALWAYS AS (body -> 'features' ? 'team_collaboration') STORED,
    api_access boolean NOT NULL GENERATED ALWAYS AS (body -> 'features' ? 'api_access') STORED,
    priority_support boolean NOT NULL GENERATED ALWAYS AS (body -> 'features' ? 'priority_support') STORED,
    custom_ai_training boolean NOT NULL GENERATED ALWAYS AS (body -> 'features' ? 'custom_ai_training') STORED,
    white_labeling boolean NOT NULL GENERATED ALWAYS AS (body -> 'features' ? 'white_labeling') STORED,
    PRIMARY KEY (plan, version)
);

-- `quantity` is what was asked for, `booked` what the counter took; `number` is the counter's own order of its facts,
-- or the account's. flags 8: booked into a period that was closed. `limit_version`: the limit that it was judged by.
CREATE TABLE usage_records (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    user_id text,
    org_id text,
    action text,
    quantity bigint,
    booked bigint NOT NULL,
    period_start timestamptz,
    period_end timestamptz,
    number bigint,
    plan text,
    limit_version text,
    notices text[],
    resource_id text,
    reservation_id text,
    metadata jsonb,
    outcome jsonb,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    action_type text GENERATED ALWAYS AS (action) STORED,
    PRIMARY KEY (subject, id, received_at)
) PARTITION BY RANGE (received_at);

-- A gauge has one row: it begins at 1970-01-01 and has no end.
CREATE TABLE usage_counters (
    subject text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz,
    used bigint NOT NULL CHECK (used >= 0),
    reserved bigint NOT NULL CHECK (reserved >= 0),
    records bigint NOT NULL,
    plan text NOT NULL,
    limit_version text NOT NULL,
    limit_value bigint,
    hard boolean NOT NULL,
    overage_cap bigint,
    notified jsonb NOT NULL,
    revision int NOT NULL,
    closed_at timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (subject, action, period_start)
) WITH (fillfactor = 80);

CREATE INDEX usage_counters_open ON usage_counters (period_end) WHERE closed_at IS NULL AND period_end IS NOT NULL;

CREATE TABLE usage_reservations (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    action text NOT NULL,
    quantity bigint NOT NULL,
    period_start timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    status text NOT NULL CHECK (status IN ('open', 'committed', 'released', 'expired')),
    committed bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, id)
) WITH (fillfactor = 80);

CREATE INDEX usage_reservations_open ON usage_reservations (subject, expires_at) WHERE status = 'open';
CREATE INDEX usage_reservations_due ON usage_reservations (expires_at) WHERE status = 'open';

-- `plan` null: the default one. `next_plan` holds from `next_plan_at` on, without anybody having to move it.
CREATE TABLE usage_accounts (
    subject text COLLATE "C" PRIMARY KEY,
    first_at timestamptz NOT NULL,
    plan text,
    next_plan text,
    next_plan_at timestamptz,
    overrides jsonb NOT NULL,
    rules jsonb NOT NULL,
    metered boolean NOT NULL,
    revision int NOT NULL,
    zone text GENERATED ALWAYS AS (coalesce(rules -> -1 ->> 'zone', 'UTC')) STORED,
    billing_day int GENERATED ALWAYS AS (coalesce((rules -> -1 ->> 'day')::int, 1)) STORED
) WITH (fillfactor = 80);

-- A row for each subject and period: what was used, and the limits that it was judged by.
CREATE VIEW usage_summaries AS
SELECT
    c.subject,
    CASE WHEN c.subject LIKE 'user:%' THEN substr(c.subject, 6) END AS user_id,
    CASE WHEN c.subject LIKE 'org:%' THEN substr(c.subject, 5) END AS org_id,
    c.period_start,
    max(c.period_end) AS period_end,
    coalesce(sum(c.used) FILTER (WHERE c.action = 'DIAGRAM_UPLOAD'), 0)::bigint AS diagram_uploads,
    coalesce(sum(c.used) FILTER (WHERE c.action = 'AI_ANALYSIS'), 0)::bigint AS ai_analyses,
    coalesce(sum(c.used) FILTER (WHERE c.action = 'PROCEDURE_VIEW'), 0)::bigint AS procedure_views,
    coalesce(sum(c.used) FILTER (WHERE c.action = 'EXPORT_PDF'), 0)::bigint AS pdf_exports,
    coalesce(sum(c.used) FILTER (WHERE c.action = 'EXPORT_DXF'), 0)::bigint AS dxf_exports,
    coalesce(sum(c.used) FILTER (WHERE c.action = 'API_CALL'), 0)::bigint AS api_calls,
    jsonb_object_agg(c.action, c.used) AS used,
    (array_agg(c.plan ORDER BY c.updated_at DESC, c.action))[1] AS plan,
    jsonb_object_agg(c.action, jsonb_build_object(
        'limit', c.limit_value, 'hard', c.hard, 'overageCap', c.overage_cap, 'version', c.limit_version
    )) AS limits,
    sum(c.revision)::int AS revision,
    max(c.closed_at) AS closed_at,
    max(c.updated_at) AS updated_at
FROM usage_counters c WHERE c.period_end IS NOT NULL
GROUP BY c.subject, c.period_start;

-- migrate: rollback

DROP VIEW usage_summaries;
DROP TABLE usage_accounts;
DROP TABLE usage_reservations;
DROP TABLE usage_counters;
DROP TABLE usage_records;
DROP TABLE plan_limits;
