-- Tracking: four fact tables partitioned by day of arrival, and the sessions that are folded from them.
-- depends: 0001_pipe

-- migrate: apply

CREATE TABLE interaction_events (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
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
    viewport_width int,
    viewport_height int,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    "timestamp" timestamptz GENERATED ALWAYS AS (at) STORED,
    PRIMARY KEY (subject, id, received_at)
) PARTITION BY RANGE (received_at);

CREATE TABLE configuration_snapshots (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    session_id text NOT NULL,
    user_id text,
    anonymous_id text,
    org_id text,
    configuration_data jsonb NOT NULL,
    total_price double precision,
    completion_percentage double precision,
    trigger_event text NOT NULL,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    "timestamp" timestamptz GENERATED ALWAYS AS (at) STORED,
    PRIMARY KEY (subject, id, received_at)
) PARTITION BY RANGE (received_at);

CREATE TABLE performance_metrics (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    session_id text,
    user_id text,
    anonymous_id text,
    org_id text,
    metric_name text NOT NULL,
    value double precision NOT NULL,
    additional_data jsonb,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    "timestamp" timestamptz GENERATED ALWAYS AS (at) STORED,
    PRIMARY KEY (subject, id, received_at)
) PARTITION BY RANGE (received_at);

CREATE TABLE tracked_events (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    session_id text NOT NULL,
    user_id text,
    anonymous_id text,
    org_id text,
    kind text NOT NULL,
    event text,
    properties jsonb,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, id, received_at)
) PARTITION BY RANGE (received_at);

CREATE TABLE user_sessions (
    session_id text COLLATE "C" PRIMARY KEY,
    id text GENERATED ALWAYS AS (session_id) STORED,
    subject text COLLATE "C" NOT NULL,
    user_id text,
    user_at timestamptz,
    anonymous_id text,
    org_id text,
    at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    ended_at timestamptz,
    received_at timestamptz NOT NULL,
    interactions bigint NOT NULL,
    snapshots bigint NOT NULL,
    page_views bigint NOT NULL,
    events bigint NOT NULL,
    metrics bigint NOT NULL,
    device_type text,
    viewport_width int,
    viewport_height int,
    device_at timestamptz,
    last_category text,
    last_category_at timestamptz,
    total_price double precision,
    priced_at timestamptz,
    completion_percentage double precision,
    completed_at timestamptz
) WITH (fillfactor = 80);

CREATE INDEX user_sessions_visitor ON user_sessions (subject, at) WHERE subject NOT LIKE 'session:%';
CREATE INDEX user_sessions_open ON user_sessions (at) WHERE ended_at IS NULL;

-- migrate: rollback

DROP TABLE user_sessions;
DROP TABLE tracked_events;
DROP TABLE performance_metrics;
DROP TABLE configuration_snapshots;
DROP TABLE interaction_events;
