-- The schema that the migrations lead to. Written by `python -m db schema`; not to be edited.

CREATE TYPE public.referral_status AS ENUM (
    'PENDING',
    'COMPLETED',
    'REWARDED'
);

CREATE FUNCTION public.drop_days(before date) RETURNS SETOF text
    LANGUAGE plpgsql
    AS $_$
DECLARE
    child record;
BEGIN
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        JOIN pg_partitioned_table p ON p.partrelid = i.inhparent
        JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
        WHERE a.attname = 'received_at' AND c.relnamespace = 'public'::regnamespace
          AND c.relname ~ '_[0-9]{8}$' AND right(c.relname, 8) < to_char(before, 'YYYYMMDD') ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE %I', child.relname);
        RETURN NEXT child.relname;
    END LOOP;
END
$_$;

CREATE FUNCTION public.ensure_days(first_day date, last_day date) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    parent record;
    day date;
    child text;
    made int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ensure_days'));
    FOR parent IN
        SELECT c.relname FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
        WHERE a.attname = 'received_at' AND c.relnamespace = 'public'::regnamespace ORDER BY c.relname
    LOOP
        FOR day IN SELECT generate_series(first_day, last_day, interval '1 day')::date LOOP
            child := parent.relname || '_' || to_char(day, 'YYYYMMDD');
            CONTINUE WHEN to_regclass('public.' || child) IS NOT NULL;
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent.relname);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent.relname, child,
                           day || ' 00:00:00+00', (day + 1) || ' 00:00:00+00');
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

CREATE FUNCTION public.note_usage_changes() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO usage_changes
        SELECT
            plan, action, period_start, coalesce(period_end, 'infinity'), usage_band(used, limit_value),
            count(*), sum(used), sum(reserved)
        FROM added WHERE closed_at IS NULL GROUP BY 1, 2, 3, 4, 5;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO usage_changes
        SELECT
            plan, action, period_start, coalesce(period_end, 'infinity'), usage_band(used, limit_value),
            -count(*), -sum(used), -sum(reserved)
        FROM removed WHERE closed_at IS NULL GROUP BY 1, 2, 3, 4, 5;
    ELSE
        INSERT INTO usage_changes
        SELECT
            plan, action, period_start, coalesce(period_end, 'infinity'), usage_band(used, limit_value),
            sum(n), sum(n * used), sum(n * reserved)
        FROM (
            SELECT 1 AS n, plan, action, period_start, period_end, used, reserved, limit_value
            FROM added WHERE closed_at IS NULL
            UNION ALL
            SELECT -1, plan, action, period_start, period_end, used, reserved, limit_value
            FROM removed WHERE closed_at IS NULL
        ) changed
        GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0 OR sum(n * used) <> 0 OR sum(n * reserved) <> 0;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.usage_band(used bigint, most bigint) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN most > 0 THEN least(div(used::numeric * 100, most), 100)::smallint ELSE -1 END $$;

CREATE TABLE public.catalog (
    id smallint DEFAULT 1 NOT NULL,
    version text NOT NULL,
    body text NOT NULL,
    parsed jsonb NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT catalog_id_check CHECK ((id = 1))
);

CREATE TABLE public.certificate_key (
    is_only boolean DEFAULT true NOT NULL,
    key uuid DEFAULT gen_random_uuid() NOT NULL,
    CONSTRAINT certificate_key_is_only_check CHECK (is_only)
);

CREATE TABLE public.certificates (
    serial text NOT NULL COLLATE pg_catalog."C",
    user_id text NOT NULL COLLATE pg_catalog."C",
    course_id text NOT NULL COLLATE pg_catalog."C",
    issued_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    revoked_reason text,
    ruled_at timestamp with time zone,
    learner_name text
);

CREATE TABLE public.configuration_snapshots (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    session_id text NOT NULL,
    user_id text,
    anonymous_id text,
    org_id text,
    configuration_data jsonb NOT NULL,
    total_price double precision,
    completion_percentage double precision,
    trigger_event text NOT NULL,
    at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    flags smallint DEFAULT 0 NOT NULL,
    "timestamp" timestamp with time zone GENERATED ALWAYS AS (at) STORED
)
PARTITION BY RANGE (received_at);

CREATE TABLE public.configurations (
    digest text NOT NULL COLLATE pg_catalog."C",
    body jsonb NOT NULL
);

CREATE TABLE public.course_events (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    user_id text,
    org_id text,
    data jsonb NOT NULL,
    outcome jsonb NOT NULL,
    at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    flags smallint DEFAULT 0 NOT NULL
)
PARTITION BY RANGE (received_at);

CREATE TABLE public.courses (
    course_id text NOT NULL COLLATE pg_catalog."C",
    title text NOT NULL,
    certificate text NOT NULL,
    version bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    pending boolean DEFAULT true NOT NULL,
    watermark text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT courses_certificate_check CHECK ((certificate = ANY (ARRAY['course_completed'::text, 'lesson_completed'::text, 'none'::text])))
);

CREATE TABLE public.daily_analytics (
    day date NOT NULL,
    sessions bigint NOT NULL,
    interactions bigint NOT NULL,
    unique_users bigint NOT NULL,
    completed_configurations bigint NOT NULL,
    conversion_rate double precision NOT NULL,
    average_session_duration_ms double precision NOT NULL,
    drop_off jsonb NOT NULL,
    prices jsonb NOT NULL,
    revision integer NOT NULL,
    updated_at timestamp with time zone NOT NULL
);

CREATE TABLE public.dead_letters (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    partition smallint NOT NULL,
    "position" text NOT NULL,
    action_id text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    body bytea NOT NULL,
    dead_at timestamp with time zone DEFAULT now() NOT NULL,
    retried_at timestamp with time zone,
    discarded_at timestamp with time zone
);

CREATE TABLE public.deliveries (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    subject text NOT NULL COLLATE pg_catalog."C",
    effect_id text NOT NULL COLLATE pg_catalog."C",
    type text NOT NULL,
    destination uuid NOT NULL,
    order_key text,
    status text DEFAULT 'pending'::text NOT NULL,
    reason text,
    attempts integer DEFAULT 0 NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    number integer NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone NOT NULL,
    enqueue_at timestamp with time zone NOT NULL,
    done_at timestamp with time zone,
    CONSTRAINT deliveries_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'delivered'::text, 'dead'::text, 'discarded'::text])))
);

CREATE TABLE public.delivery_attempts (
    delivery uuid NOT NULL,
    number integer NOT NULL,
    at timestamp with time zone NOT NULL,
    milliseconds integer NOT NULL,
    status integer,
    error text,
    response text
);

CREATE TABLE public.destinations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    sort text NOT NULL,
    url text NOT NULL,
    types text[] DEFAULT '{}'::text[] NOT NULL,
    secret text,
    previous_secret text,
    previous_until timestamp with time zone,
    description text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    disabled_at timestamp with time zone,
    disabled_reason text,
    failures integer DEFAULT 0 NOT NULL,
    paused_until timestamp with time zone,
    CONSTRAINT destinations_sort_check CHECK ((sort = ANY (ARRAY['webhook'::text, 'nats'::text, 'analytics'::text])))
);

CREATE TABLE public.effects (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    message_id text NOT NULL COLLATE pg_catalog."C",
    type text NOT NULL,
    at timestamp with time zone NOT NULL,
    data jsonb NOT NULL,
    order_key text,
    created_at timestamp with time zone NOT NULL,
    number integer NOT NULL
);

CREATE TABLE public.erased_certificates (
    digest bytea NOT NULL
);

CREATE TABLE public.erasures (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    person text NOT NULL,
    user_id text,
    anonymous_ids text[] DEFAULT '{}'::text[] NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    positions jsonb,
    removed jsonb DEFAULT '{}'::jsonb NOT NULL,
    done_at timestamp with time zone,
    holder uuid,
    lease_until timestamp with time zone,
    tries integer DEFAULT 0 NOT NULL,
    stage text,
    failure text,
    CONSTRAINT erasures_check CHECK (((done_at IS NULL) OR ((user_id IS NULL) AND (anonymous_ids = '{}'::text[]))))
);

CREATE TABLE public.flags (
    family text NOT NULL COLLATE pg_catalog."C",
    enabled boolean NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_by text NOT NULL
);

CREATE TABLE public.follow_ups (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    body bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.interaction_events (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    session_id text NOT NULL,
    user_id text,
    anonymous_id text,
    org_id text,
    event_type text NOT NULL,
    category text NOT NULL,
    element_id text,
    selection_value text,
    previous_value text,
    time_spent bigint,
    device_type text,
    viewport_width integer,
    viewport_height integer,
    at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    flags smallint DEFAULT 0 NOT NULL,
    "timestamp" timestamp with time zone GENERATED ALWAYS AS (at) STORED
)
PARTITION BY RANGE (received_at);

CREATE TABLE public.lessons (
    lesson_id text NOT NULL COLLATE pg_catalog."C",
    course_id text NOT NULL COLLATE pg_catalog."C",
    title text NOT NULL,
    duration_seconds integer,
    "position" integer NOT NULL,
    removed_at timestamp with time zone
);

CREATE TABLE public.lookups (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    body bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL
);

CREATE TABLE public.onboarding_actions (
    user_id text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C",
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    count bigint NOT NULL,
    received_at timestamp with time zone NOT NULL
)
WITH (fillfactor='80');

CREATE TABLE public.onboarding_changes (
    days date[] NOT NULL
);

CREATE TABLE public.onboarding_days (
    day date NOT NULL,
    steps text[] NOT NULL COLLATE pg_catalog."C",
    counted bytea NOT NULL
);

CREATE TABLE public.onboarding_events (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    user_id text NOT NULL,
    org_id text,
    data jsonb NOT NULL,
    outcome jsonb NOT NULL,
    qualifies boolean NOT NULL,
    at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    flags smallint DEFAULT 0 NOT NULL
)
PARTITION BY RANGE (received_at);

CREATE TABLE public.onboarding_organizations (
    user_id text NOT NULL COLLATE pg_catalog."C",
    org_id text NOT NULL COLLATE pg_catalog."C",
    qualified_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL
);

CREATE TABLE public.onboarding_progress (
    user_id text NOT NULL COLLATE pg_catalog."C",
    org_id text COLLATE pg_catalog."C",
    step text NOT NULL COLLATE pg_catalog."C",
    status text GENERATED ALWAYS AS (
CASE
    WHEN (completed_at IS NULL) THEN 'skipped'::text
    ELSE 'completed'::text
END) STORED,
    completed boolean GENERATED ALWAYS AS ((completed_at IS NOT NULL)) STORED,
    skipped boolean GENERATED ALWAYS AS ((completed_at IS NULL)) STORED,
    completed_at timestamp with time zone,
    skipped_at timestamp with time zone,
    time_spent_seconds bigint,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    org_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    CONSTRAINT onboarding_progress_check CHECK (((completed_at IS NOT NULL) OR (skipped_at IS NOT NULL)))
)
WITH (fillfactor='80');

CREATE VIEW public.onboarding_steps AS
 SELECT (step COLLATE "C") AS step,
    (place)::integer AS place
   FROM jsonb_array_elements_text(COALESCE(( SELECT ((catalog.parsed -> 'onboarding'::text) -> 'steps'::text)
           FROM public.catalog), '["WELCOME", "UPLOAD_VIDEO", "VIEW_CLIPS", "CUSTOMIZE_CLIP", "EXPORT_CLIP", "SHARE_REFERRAL"]'::jsonb)) WITH ORDINALITY s(step, place);

CREATE VIEW public.organization_onboarding AS
 SELECT o.org_id,
    bool_and((c.step IS NOT NULL)) AS onboarding_completed,
        CASE
            WHEN bool_and((c.step IS NOT NULL)) THEN max(COALESCE(c.completed_at, c.skipped_at))
            ELSE NULL::timestamp with time zone
        END AS onboarding_completed_at,
    (bool_and((c.step IS NOT NULL)) AND bool_or((c.completed_at IS NULL))) AS onboarding_skipped,
    COALESCE((array_agg(s.step ORDER BY s.place) FILTER (WHERE (c.step IS NULL)))[1], 'COMPLETED'::text) AS current_onboarding_step
   FROM ((( SELECT DISTINCT onboarding_progress.org_id
           FROM public.onboarding_progress
          WHERE (onboarding_progress.org_id IS NOT NULL)) o
     CROSS JOIN public.onboarding_steps s)
     LEFT JOIN ( SELECT onboarding_progress.org_id,
            onboarding_progress.step,
            min(onboarding_progress.completed_at) AS completed_at,
            min(onboarding_progress.skipped_at) AS skipped_at
           FROM public.onboarding_progress
          WHERE (onboarding_progress.org_id IS NOT NULL)
          GROUP BY onboarding_progress.org_id, onboarding_progress.step) c ON (((c.org_id = o.org_id) AND (c.step = s.step))))
  GROUP BY o.org_id;

CREATE TABLE public.referral_organizations (
    org_id text NOT NULL COLLATE pg_catalog."C",
    code text COLLATE pg_catalog."C",
    qualified_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL
);

CREATE TABLE public.referral_rewards (
    org_id text NOT NULL COLLATE pg_catalog."C",
    referred_org_id text NOT NULL COLLATE pg_catalog."C",
    side text NOT NULL,
    amount bigint NOT NULL,
    unit text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT referral_rewards_side_check CHECK ((side = ANY (ARRAY['referrer'::text, 'referred'::text])))
);

CREATE TABLE public.referrals (
    referrer_org_id text NOT NULL COLLATE pg_catalog."C",
    referred_org_id text NOT NULL COLLATE pg_catalog."C",
    code text NOT NULL COLLATE pg_catalog."C",
    status public.referral_status NOT NULL,
    created_at timestamp with time zone NOT NULL,
    completed_at timestamp with time zone,
    rewarded_at timestamp with time zone,
    CONSTRAINT referrals_check CHECK ((referrer_org_id <> referred_org_id)),
    CONSTRAINT referrals_check1 CHECK (((completed_at IS NULL) = (status = 'PENDING'::public.referral_status))),
    CONSTRAINT referrals_check2 CHECK (((rewarded_at IS NOT NULL) = (status = 'REWARDED'::public.referral_status)))
);

CREATE VIEW public.organizations AS
 SELECT i.org_id,
    o.code AS referral_code,
    r.referrer_org_id AS referred_by,
    (EXISTS ( SELECT
           FROM public.referral_rewards w
          WHERE (w.org_id = i.org_id))) AS referral_reward_claimed,
    COALESCE(b.onboarding_completed, false) AS onboarding_completed,
    b.onboarding_completed_at,
    COALESCE(b.onboarding_skipped, false) AS onboarding_skipped,
    COALESCE(b.current_onboarding_step, ( SELECT onboarding_steps.step
           FROM public.onboarding_steps
          ORDER BY onboarding_steps.place
         LIMIT 1)) AS current_onboarding_step
   FROM (((( SELECT referral_organizations.org_id
           FROM public.referral_organizations
        UNION
         SELECT organization_onboarding.org_id
           FROM public.organization_onboarding) i
     LEFT JOIN public.referral_organizations o ON ((o.org_id = i.org_id)))
     LEFT JOIN public.referrals r ON ((r.referred_org_id = i.org_id)))
     LEFT JOIN public.organization_onboarding b ON ((b.org_id = i.org_id)));

CREATE TABLE public.partitions (
    id smallint NOT NULL,
    generation text DEFAULT ''::text NOT NULL,
    position_ms bigint DEFAULT 0 NOT NULL,
    position_seq bigint DEFAULT 0 NOT NULL,
    reread_ms bigint DEFAULT 0 NOT NULL,
    reread_seq bigint DEFAULT 0 NOT NULL,
    applied_at timestamp with time zone,
    erased bigint DEFAULT 0 NOT NULL
);

CREATE TABLE public.performance_metrics (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    session_id text,
    user_id text,
    anonymous_id text,
    org_id text,
    metric_name text NOT NULL,
    value double precision NOT NULL,
    additional_data jsonb,
    at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    flags smallint DEFAULT 0 NOT NULL,
    "timestamp" timestamp with time zone GENERATED ALWAYS AS (at) STORED
)
PARTITION BY RANGE (received_at);

CREATE TABLE public.plan_limits (
    plan text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    effective_from timestamp with time zone NOT NULL,
    body jsonb NOT NULL,
    source text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    diagram_uploads bigint GENERATED ALWAYS AS (((body #>> '{limits,DIAGRAM_UPLOAD,limit}'::text[]))::bigint) STORED,
    ai_analyses bigint GENERATED ALWAYS AS (((body #>> '{limits,AI_ANALYSIS,limit}'::text[]))::bigint) STORED,
    procedure_views bigint GENERATED ALWAYS AS (((body #>> '{limits,PROCEDURE_VIEW,limit}'::text[]))::bigint) STORED,
    pdf_exports bigint GENERATED ALWAYS AS (((body #>> '{limits,EXPORT_PDF,limit}'::text[]))::bigint) STORED,
    dxf_exports bigint GENERATED ALWAYS AS (((body #>> '{limits,EXPORT_DXF,limit}'::text[]))::bigint) STORED,
    api_calls bigint GENERATED ALWAYS AS (((body #>> '{limits,API_CALL,limit}'::text[]))::bigint) STORED,
    storage bigint GENERATED ALWAYS AS (((body ->> 'storage'::text))::bigint) STORED,
    max_file_size bigint GENERATED ALWAYS AS (((body ->> 'maxFileSize'::text))::bigint) STORED,
    team_size bigint GENERATED ALWAYS AS (((body ->> 'teamSize'::text))::bigint) STORED,
    team_collaboration boolean GENERATED ALWAYS AS (((body -> 'features'::text) ? 'team_collaboration'::text)) STORED NOT NULL,
    api_access boolean GENERATED ALWAYS AS (((body -> 'features'::text) ? 'api_access'::text)) STORED NOT NULL,
    priority_support boolean GENERATED ALWAYS AS (((body -> 'features'::text) ? 'priority_support'::text)) STORED NOT NULL,
    custom_ai_training boolean GENERATED ALWAYS AS (((body -> 'features'::text) ? 'custom_ai_training'::text)) STORED NOT NULL,
    white_labeling boolean GENERATED ALWAYS AS (((body -> 'features'::text) ? 'white_labeling'::text)) STORED NOT NULL,
    CONSTRAINT plan_limits_source_check CHECK ((source = ANY (ARRAY['catalog'::text, 'admin'::text])))
);

CREATE TABLE public.privacy_key (
    is_only boolean DEFAULT true NOT NULL,
    key bytea NOT NULL,
    CONSTRAINT privacy_key_is_only_check CHECK (is_only)
);

CREATE TABLE public.referral_codes (
    code text NOT NULL COLLATE pg_catalog."C",
    org_id text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.referral_events (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    user_id text,
    org_id text NOT NULL,
    data jsonb NOT NULL,
    outcome jsonb NOT NULL,
    at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    flags smallint DEFAULT 0 NOT NULL
)
PARTITION BY RANGE (received_at);

CREATE TABLE public.rolled (
    one boolean DEFAULT true NOT NULL,
    through timestamp with time zone DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    funnels text DEFAULT ''::text NOT NULL,
    looking text COLLATE pg_catalog."C",
    latest jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT rolled_one_check CHECK (one)
);

CREATE TABLE public.rollups (
    grain text NOT NULL COLLATE pg_catalog."C",
    measure text NOT NULL COLLATE pg_catalog."C",
    start timestamp with time zone NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    n bigint NOT NULL,
    total numeric NOT NULL,
    most double precision,
    CONSTRAINT rollups_grain_check CHECK ((grain = ANY (ARRAY['minute'::text, 'hour'::text, 'day'::text, 'week'::text, 'all'::text])))
)
WITH (fillfactor='80');

CREATE TABLE public.service_keys (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    hash text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone
);

CREATE TABLE public.session_rollups (
    session_id text NOT NULL COLLATE pg_catalog."C",
    visitor text NOT NULL,
    hour timestamp with time zone NOT NULL,
    counted bytea NOT NULL
);

CREATE TABLE public.sessions_aside (
    session_id text NOT NULL COLLATE pg_catalog."C",
    reason text NOT NULL,
    tries integer NOT NULL,
    since timestamp with time zone NOT NULL,
    due_at timestamp with time zone NOT NULL
);

CREATE TABLE public.tombstones (
    digest bytea NOT NULL,
    until timestamp with time zone
);

CREATE TABLE public.tracked_events (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    session_id text NOT NULL,
    user_id text,
    anonymous_id text,
    org_id text,
    kind text NOT NULL,
    event text,
    properties jsonb,
    at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    flags smallint DEFAULT 0 NOT NULL
)
PARTITION BY RANGE (received_at);

CREATE TABLE public.tracking_changes (
    sessions text[] NOT NULL,
    metrics jsonb,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    is_deferred boolean DEFAULT false NOT NULL,
    weight integer GENERATED ALWAYS AS (cardinality(sessions)) STORED
);

CREATE TABLE public.usage_accounts (
    subject text NOT NULL COLLATE pg_catalog."C",
    first_at timestamp with time zone NOT NULL,
    plan text,
    next_plan text,
    next_plan_at timestamp with time zone,
    overrides jsonb NOT NULL,
    rules jsonb NOT NULL,
    metered boolean NOT NULL,
    revision integer NOT NULL,
    zone text GENERATED ALWAYS AS (COALESCE(((rules -> '-1'::integer) ->> 'zone'::text), 'UTC'::text)) STORED,
    billing_day integer GENERATED ALWAYS AS (COALESCE((((rules -> '-1'::integer) ->> 'day'::text))::integer, 1)) STORED
)
WITH (fillfactor='80');

CREATE TABLE public.usage_changes (
    plan text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C",
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone NOT NULL,
    band smallint NOT NULL,
    subjects bigint NOT NULL,
    used numeric NOT NULL,
    reserved numeric NOT NULL
);

CREATE TABLE public.usage_counters (
    subject text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C",
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone,
    used bigint NOT NULL,
    reserved bigint NOT NULL,
    records bigint NOT NULL,
    plan text NOT NULL,
    limit_version text NOT NULL,
    limit_value bigint,
    hard boolean NOT NULL,
    overage_cap bigint,
    notified jsonb NOT NULL,
    revision integer NOT NULL,
    closed_at timestamp with time zone,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT usage_counters_reserved_check CHECK ((reserved >= 0)),
    CONSTRAINT usage_counters_used_check CHECK ((used >= 0))
)
WITH (fillfactor='80');

CREATE TABLE public.usage_records (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    user_id text,
    org_id text,
    action text,
    quantity bigint,
    booked bigint NOT NULL,
    period_start timestamp with time zone,
    period_end timestamp with time zone,
    number bigint,
    plan text,
    limit_version text,
    notices text[],
    resource_id text,
    reservation_id text,
    metadata jsonb,
    outcome jsonb,
    at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    flags smallint DEFAULT 0 NOT NULL,
    action_type text GENERATED ALWAYS AS (action) STORED
)
PARTITION BY RANGE (received_at);

CREATE TABLE public.usage_reservations (
    subject text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL,
    quantity bigint NOT NULL,
    period_start timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    status text NOT NULL,
    committed bigint DEFAULT 0 NOT NULL,
    CONSTRAINT usage_reservations_status_check CHECK ((status = ANY (ARRAY['open'::text, 'committed'::text, 'released'::text, 'expired'::text])))
)
WITH (fillfactor='80');

CREATE TABLE public.usage_rollups (
    plan text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C",
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone NOT NULL,
    band smallint NOT NULL,
    subjects bigint NOT NULL,
    used numeric NOT NULL,
    reserved numeric NOT NULL
)
WITH (fillfactor='70');

CREATE VIEW public.usage_summaries AS
 SELECT subject,
        CASE
            WHEN (subject ~~ 'user:%'::text) THEN substr(subject, 6)
            ELSE NULL::text
        END AS user_id,
        CASE
            WHEN (subject ~~ 'org:%'::text) THEN substr(subject, 5)
            ELSE NULL::text
        END AS org_id,
    period_start,
    max(period_end) AS period_end,
    (COALESCE(sum(used) FILTER (WHERE (action = 'DIAGRAM_UPLOAD'::text)), (0)::numeric))::bigint AS diagram_uploads,
    (COALESCE(sum(used) FILTER (WHERE (action = 'AI_ANALYSIS'::text)), (0)::numeric))::bigint AS ai_analyses,
    (COALESCE(sum(used) FILTER (WHERE (action = 'PROCEDURE_VIEW'::text)), (0)::numeric))::bigint AS procedure_views,
    (COALESCE(sum(used) FILTER (WHERE (action = 'EXPORT_PDF'::text)), (0)::numeric))::bigint AS pdf_exports,
    (COALESCE(sum(used) FILTER (WHERE (action = 'EXPORT_DXF'::text)), (0)::numeric))::bigint AS dxf_exports,
    (COALESCE(sum(used) FILTER (WHERE (action = 'API_CALL'::text)), (0)::numeric))::bigint AS api_calls,
    jsonb_object_agg(action, used) AS used,
    (array_agg(plan ORDER BY c.updated_at DESC, action))[1] AS plan,
    jsonb_object_agg(action, jsonb_build_object('limit', limit_value, 'hard', hard, 'overageCap', overage_cap, 'version', limit_version)) AS limits,
    (sum(revision))::integer AS revision,
    max(closed_at) AS closed_at,
    max(updated_at) AS updated_at
   FROM public.usage_counters c
  WHERE (period_end IS NOT NULL)
  GROUP BY subject, period_start;

CREATE TABLE public.user_courses (
    user_id text NOT NULL COLLATE pg_catalog."C",
    course_id text NOT NULL COLLATE pg_catalog."C",
    enrolled_at timestamp with time zone,
    declared_at timestamp with time zone,
    learner_name text,
    named_at timestamp with time zone,
    lessons_total integer,
    lessons_completed integer NOT NULL,
    watch_time_seconds bigint NOT NULL,
    last_at timestamp with time zone,
    completed_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL
)
WITH (fillfactor='80');

CREATE VIEW public.user_onboarding AS
 SELECT user_id,
    bool_or((action = 'created_clip'::text)) AS has_created_clip,
    bool_or((action = 'added_subtitles'::text)) AS has_added_subtitles,
    bool_or((action = 'reframed_video'::text)) AS has_reframed_video,
    bool_or((action = 'shared_content'::text)) AS has_shared,
    min(first_at) FILTER (WHERE (action = 'created_clip'::text)) AS first_clip_at,
    min(first_at) FILTER (WHERE (action = 'added_subtitles'::text)) AS first_subtitle_at,
    min(first_at) FILTER (WHERE (action = 'reframed_video'::text)) AS first_reframe_at,
    min(first_at) FILTER (WHERE (action = 'shared_content'::text)) AS first_share_at,
    (COALESCE(sum(count) FILTER (WHERE (action = 'shared_content'::text)), (0)::numeric))::bigint AS export_count,
    max(last_at) FILTER (WHERE (action = 'shared_content'::text)) AS last_export_at
   FROM public.onboarding_actions
  GROUP BY user_id;

CREATE TABLE public.user_progress (
    id text NOT NULL COLLATE pg_catalog."C",
    user_id text NOT NULL COLLATE pg_catalog."C",
    lesson_id text NOT NULL COLLATE pg_catalog."C",
    course_id text COLLATE pg_catalog."C",
    completed boolean DEFAULT false NOT NULL,
    watch_time_seconds bigint GENERATED ALWAYS AS (GREATEST(watched_seconds, set_seconds)) STORED,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone GENERATED ALWAYS AS (
CASE
    WHEN ((touched_at IS NULL) OR (last_deleted_at >= touched_at)) THEN last_deleted_at
    ELSE NULL::timestamp with time zone
END) STORED,
    watched_seconds bigint NOT NULL,
    set_seconds bigint NOT NULL,
    completed_changed_at timestamp with time zone,
    first_completed_at timestamp with time zone,
    first_completion_received_at timestamp with time zone,
    claimed_course_id text COLLATE pg_catalog."C",
    claimed_at timestamp with time zone,
    touched_at timestamp with time zone,
    last_deleted_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL
)
WITH (fillfactor='80');

CREATE TABLE public.user_sessions (
    session_id text NOT NULL COLLATE pg_catalog."C",
    id text GENERATED ALWAYS AS (session_id) STORED,
    subject text NOT NULL COLLATE pg_catalog."C",
    user_id text,
    user_received_at timestamp with time zone,
    anonymous_id text,
    org_id text,
    at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    interactions bigint NOT NULL,
    snapshots bigint NOT NULL,
    page_views bigint NOT NULL,
    events bigint NOT NULL,
    metrics bigint NOT NULL,
    device_type text,
    viewport_width integer,
    viewport_height integer,
    device_at timestamp with time zone,
    last_category text,
    last_category_at timestamp with time zone,
    total_price double precision,
    priced_at timestamp with time zone,
    completion_percentage double precision,
    completed_at timestamp with time zone,
    is_bot boolean DEFAULT false NOT NULL
)
WITH (fillfactor='80');

CREATE TABLE public.visitor_hours (
    visitor text NOT NULL COLLATE pg_catalog."C",
    hour timestamp with time zone NOT NULL,
    sessions integer NOT NULL
)
WITH (fillfactor='80');

ALTER TABLE ONLY public.catalog
    ADD CONSTRAINT catalog_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.certificate_key
    ADD CONSTRAINT certificate_key_pkey PRIMARY KEY (is_only);

ALTER TABLE ONLY public.certificates
    ADD CONSTRAINT certificates_pkey PRIMARY KEY (user_id, course_id);

ALTER TABLE ONLY public.configuration_snapshots
    ADD CONSTRAINT configuration_snapshots_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.configurations
    ADD CONSTRAINT configurations_pkey PRIMARY KEY (digest);

ALTER TABLE ONLY public.course_events
    ADD CONSTRAINT course_events_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.courses
    ADD CONSTRAINT courses_pkey PRIMARY KEY (course_id);

ALTER TABLE ONLY public.daily_analytics
    ADD CONSTRAINT daily_analytics_pkey PRIMARY KEY (day);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_subject_effect_id_destination_key UNIQUE (subject, effect_id, destination);

ALTER TABLE ONLY public.delivery_attempts
    ADD CONSTRAINT delivery_attempts_pkey PRIMARY KEY (delivery, number);

ALTER TABLE ONLY public.destinations
    ADD CONSTRAINT destinations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.effects
    ADD CONSTRAINT effects_pkey PRIMARY KEY (subject, id);

ALTER TABLE ONLY public.erased_certificates
    ADD CONSTRAINT erased_certificates_pkey PRIMARY KEY (digest);

ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.flags
    ADD CONSTRAINT flags_pkey PRIMARY KEY (family);

ALTER TABLE ONLY public.follow_ups
    ADD CONSTRAINT follow_ups_pkey PRIMARY KEY (subject, id);

ALTER TABLE ONLY public.user_progress
    ADD CONSTRAINT idx_user_progress_user_lesson PRIMARY KEY (user_id, lesson_id);

ALTER TABLE ONLY public.interaction_events
    ADD CONSTRAINT interaction_events_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.lessons
    ADD CONSTRAINT lessons_pkey PRIMARY KEY (lesson_id);

ALTER TABLE ONLY public.lookups
    ADD CONSTRAINT lookups_pkey PRIMARY KEY (subject, id);

ALTER TABLE ONLY public.onboarding_actions
    ADD CONSTRAINT onboarding_actions_pkey PRIMARY KEY (user_id, action);

ALTER TABLE ONLY public.onboarding_days
    ADD CONSTRAINT onboarding_days_pkey PRIMARY KEY (day);

ALTER TABLE ONLY public.onboarding_events
    ADD CONSTRAINT onboarding_events_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.onboarding_organizations
    ADD CONSTRAINT onboarding_organizations_pkey PRIMARY KEY (user_id, org_id);

ALTER TABLE ONLY public.onboarding_progress
    ADD CONSTRAINT onboarding_progress_pkey PRIMARY KEY (user_id, step);

ALTER TABLE ONLY public.partitions
    ADD CONSTRAINT partitions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.performance_metrics
    ADD CONSTRAINT performance_metrics_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.plan_limits
    ADD CONSTRAINT plan_limits_pkey PRIMARY KEY (plan, version);

ALTER TABLE ONLY public.privacy_key
    ADD CONSTRAINT privacy_key_pkey PRIMARY KEY (is_only);

ALTER TABLE ONLY public.referral_codes
    ADD CONSTRAINT referral_codes_pkey PRIMARY KEY (code);

ALTER TABLE ONLY public.referral_events
    ADD CONSTRAINT referral_events_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.referral_organizations
    ADD CONSTRAINT referral_organizations_pkey PRIMARY KEY (org_id);

ALTER TABLE ONLY public.referral_rewards
    ADD CONSTRAINT referral_rewards_pkey PRIMARY KEY (org_id, referred_org_id, side);

ALTER TABLE ONLY public.referrals
    ADD CONSTRAINT referrals_pkey PRIMARY KEY (referred_org_id);

ALTER TABLE ONLY public.rolled
    ADD CONSTRAINT rolled_pkey PRIMARY KEY (one);

ALTER TABLE ONLY public.rollups
    ADD CONSTRAINT rollups_pkey PRIMARY KEY (grain, measure, start, key);

ALTER TABLE ONLY public.service_keys
    ADD CONSTRAINT service_keys_hash_key UNIQUE (hash);

ALTER TABLE ONLY public.service_keys
    ADD CONSTRAINT service_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.session_rollups
    ADD CONSTRAINT session_rollups_pkey PRIMARY KEY (session_id);

ALTER TABLE ONLY public.sessions_aside
    ADD CONSTRAINT sessions_aside_pkey PRIMARY KEY (session_id);

ALTER TABLE ONLY public.tombstones
    ADD CONSTRAINT tombstones_pkey PRIMARY KEY (digest);

ALTER TABLE ONLY public.tracked_events
    ADD CONSTRAINT tracked_events_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.usage_accounts
    ADD CONSTRAINT usage_accounts_pkey PRIMARY KEY (subject);

ALTER TABLE ONLY public.usage_counters
    ADD CONSTRAINT usage_counters_pkey PRIMARY KEY (subject, action, period_start);

ALTER TABLE ONLY public.usage_records
    ADD CONSTRAINT usage_records_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.usage_reservations
    ADD CONSTRAINT usage_reservations_pkey PRIMARY KEY (subject, id);

ALTER TABLE ONLY public.usage_rollups
    ADD CONSTRAINT usage_rollups_pkey PRIMARY KEY (plan, action, period_start, period_end, band);

ALTER TABLE ONLY public.user_courses
    ADD CONSTRAINT user_courses_pkey PRIMARY KEY (user_id, course_id);

ALTER TABLE ONLY public.user_sessions
    ADD CONSTRAINT user_sessions_pkey PRIMARY KEY (session_id);

ALTER TABLE ONLY public.visitor_hours
    ADD CONSTRAINT visitor_hours_pkey PRIMARY KEY (visitor, hour);

CREATE INDEX certificates_serial ON public.certificates USING btree (serial);

CREATE INDEX courses_pending ON public.courses USING btree (course_id) WHERE pending;

CREATE INDEX dead_letters_open ON public.dead_letters USING btree (dead_at) WHERE ((retried_at IS NULL) AND (discarded_at IS NULL));

CREATE INDEX deliveries_destination ON public.deliveries USING btree (destination, created_at, number);

CREATE INDEX deliveries_enqueue ON public.deliveries USING btree (enqueue_at) WHERE (status = 'pending'::text);

CREATE INDEX deliveries_order ON public.deliveries USING btree (destination, order_key, created_at, number) WHERE ((status = 'pending'::text) AND (order_key IS NOT NULL));

CREATE INDEX deliveries_status ON public.deliveries USING btree (status, created_at, number);

CREATE INDEX effects_created ON public.effects USING btree (created_at, number, message_id);

CREATE INDEX effects_message ON public.effects USING btree (message_id);

CREATE UNIQUE INDEX erasures_open ON public.erasures USING btree (person) WHERE (done_at IS NULL);

CREATE INDEX erasures_requested ON public.erasures USING btree (requested_at, id);

CREATE INDEX follow_ups_created ON public.follow_ups USING btree (created_at);

CREATE INDEX idx_user_progress_course_id ON public.user_progress USING btree (course_id);

CREATE INDEX idx_user_progress_lesson_id ON public.user_progress USING btree (lesson_id);

CREATE INDEX idx_user_progress_user_id ON public.user_progress USING btree (user_id, course_id);

CREATE INDEX lessons_course ON public.lessons USING btree (course_id, "position");

CREATE INDEX lookups_due ON public.lookups USING btree (due_at);

CREATE INDEX onboarding_actions_first ON public.onboarding_actions USING btree (first_at);

CREATE INDEX onboarding_progress_created ON public.onboarding_progress USING btree (created_at);

CREATE INDEX onboarding_progress_org ON public.onboarding_progress USING btree (org_id, step) WHERE (org_id IS NOT NULL);

CREATE INDEX referral_codes_org ON public.referral_codes USING btree (org_id);

CREATE INDEX referral_rewards_created ON public.referral_rewards USING btree (created_at);

CREATE INDEX referrals_created ON public.referrals USING btree (created_at);

CREATE INDEX referrals_made ON public.referrals USING btree (referrer_org_id, created_at DESC, referred_org_id);

CREATE INDEX referrals_referrer ON public.referrals USING btree (referrer_org_id, status);

CREATE INDEX rollups_paths ON public.rollups USING btree (grain, measure, start, n DESC, key) WHERE (measure = ANY (ARRAY['next'::text, 'bot.next'::text, 'called:api_response_time'::text, 'called:api_error'::text]));

CREATE INDEX rollups_ranked ON public.rollups USING btree (measure, n DESC, key) WHERE (grain = 'all'::text);

CREATE INDEX usage_counters_gauges ON public.usage_counters USING btree (action) WHERE (period_end IS NULL);

CREATE INDEX usage_counters_meter ON public.usage_counters USING btree (action, period_end) WHERE ((closed_at IS NULL) AND (period_end IS NOT NULL));

CREATE INDEX usage_counters_open ON public.usage_counters USING btree (period_end) WHERE ((closed_at IS NULL) AND (period_end IS NOT NULL));

CREATE INDEX usage_reservations_due ON public.usage_reservations USING btree (expires_at) WHERE (status = 'open'::text);

CREATE INDEX usage_reservations_open ON public.usage_reservations USING btree (subject, expires_at) WHERE (status = 'open'::text);

CREATE INDEX user_courses_course ON public.user_courses USING btree (course_id, user_id);

CREATE INDEX user_progress_id ON public.user_progress USING btree (id);

CREATE INDEX user_sessions_begun ON public.user_sessions USING btree (is_bot, at, session_id);

CREATE INDEX user_sessions_open ON public.user_sessions USING btree (at) WHERE (ended_at IS NULL);

CREATE INDEX user_sessions_visitor ON public.user_sessions USING btree (subject, at) WHERE (subject !~~ 'session:%'::text);

CREATE TRIGGER counters_added AFTER INSERT ON public.usage_counters REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.note_usage_changes();

CREATE TRIGGER counters_changed AFTER UPDATE ON public.usage_counters REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.note_usage_changes();

CREATE TRIGGER counters_removed AFTER DELETE ON public.usage_counters REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.note_usage_changes();
