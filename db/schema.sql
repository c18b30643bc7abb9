-- The schema that the migrations lead to. Written by `python -m db schema`; not to be edited.

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

CREATE TABLE public.catalog (
    id smallint DEFAULT 1 NOT NULL,
    version text NOT NULL,
    body text NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT catalog_id_check CHECK ((id = 1))
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

CREATE TABLE public.partitions (
    id smallint NOT NULL,
    generation text DEFAULT ''::text NOT NULL,
    position_ms bigint DEFAULT 0 NOT NULL,
    position_seq bigint DEFAULT 0 NOT NULL,
    reread_ms bigint DEFAULT 0 NOT NULL,
    reread_seq bigint DEFAULT 0 NOT NULL,
    applied_at timestamp with time zone
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

CREATE TABLE public.service_keys (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    hash text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone
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

CREATE TABLE public.user_sessions (
    session_id text NOT NULL COLLATE pg_catalog."C",
    id text GENERATED ALWAYS AS (session_id) STORED,
    subject text NOT NULL COLLATE pg_catalog."C",
    user_id text,
    user_at timestamp with time zone,
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
    completed_at timestamp with time zone
)
WITH (fillfactor='80');

ALTER TABLE ONLY public.catalog
    ADD CONSTRAINT catalog_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.configuration_snapshots
    ADD CONSTRAINT configuration_snapshots_pkey PRIMARY KEY (subject, id, received_at);

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

ALTER TABLE ONLY public.flags
    ADD CONSTRAINT flags_pkey PRIMARY KEY (family);

ALTER TABLE ONLY public.follow_ups
    ADD CONSTRAINT follow_ups_pkey PRIMARY KEY (subject, id);

ALTER TABLE ONLY public.interaction_events
    ADD CONSTRAINT interaction_events_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.partitions
    ADD CONSTRAINT partitions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.performance_metrics
    ADD CONSTRAINT performance_metrics_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.service_keys
    ADD CONSTRAINT service_keys_hash_key UNIQUE (hash);

ALTER TABLE ONLY public.service_keys
    ADD CONSTRAINT service_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tracked_events
    ADD CONSTRAINT tracked_events_pkey PRIMARY KEY (subject, id, received_at);

ALTER TABLE ONLY public.user_sessions
    ADD CONSTRAINT user_sessions_pkey PRIMARY KEY (session_id);

CREATE INDEX dead_letters_open ON public.dead_letters USING btree (dead_at) WHERE ((retried_at IS NULL) AND (discarded_at IS NULL));

CREATE INDEX deliveries_destination ON public.deliveries USING btree (destination, created_at, number);

CREATE INDEX deliveries_enqueue ON public.deliveries USING btree (enqueue_at) WHERE (status = 'pending'::text);

CREATE INDEX deliveries_order ON public.deliveries USING btree (destination, order_key, created_at, number) WHERE ((status = 'pending'::text) AND (order_key IS NOT NULL));

CREATE INDEX deliveries_status ON public.deliveries USING btree (status, created_at, number);

CREATE INDEX effects_created ON public.effects USING btree (created_at, number, message_id);

CREATE INDEX effects_message ON public.effects USING btree (message_id);

CREATE INDEX follow_ups_created ON public.follow_ups USING btree (created_at);

CREATE INDEX user_sessions_open ON public.user_sessions USING btree (at) WHERE (ended_at IS NULL);

CREATE INDEX user_sessions_visitor ON public.user_sessions USING btree (subject, at) WHERE (subject !~~ 'session:%'::text);
