-- Analytics: what sessions and metrics count for, added up by time, so that no answer reads the facts of closed days.
-- depends: 0009_certificate_key

-- migrate: apply

-- What a batch changed, one row each, written in its transaction: the sessions, and the metrics by histogram. Whoever
-- rolls up takes rows away in the transaction that adds them, so that each counts once. `changed_at` in the future: not
-- before then.
CREATE TABLE tracking_changes (
    sessions text[] NOT NULL,
    metrics jsonb,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_deferred boolean NOT NULL DEFAULT false,
    weight int GENERATED ALWAYS AS (cardinality(sessions)) STORED
);

-- One number of one answer: `n` of something, and the sum and the largest of their values. Times are cut to the grain.
CREATE TABLE rollups (
    grain text COLLATE "C" NOT NULL CHECK (grain IN ('minute', 'hour', 'day', 'week', 'all')),
    measure text COLLATE "C" NOT NULL,
    start timestamptz NOT NULL,
    key text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    total numeric NOT NULL,
    most double precision,
    PRIMARY KEY (grain, measure, start, key)
) WITH (fillfactor = 80);

CREATE INDEX rollups_popular ON rollups (n DESC, key) WHERE grain = 'all' AND measure = 'configuration';

-- What each session has been counted for, so that a change of it moves the difference only.
CREATE TABLE session_rollups (
    session_id text COLLATE "C" PRIMARY KEY,
    visitor text NOT NULL,
    hour timestamptz NOT NULL,
    counted bytea NOT NULL
);

-- The hours in which sessions of a visitor began.
CREATE TABLE visitor_hours (
    visitor text COLLATE "C" NOT NULL,
    hour timestamptz NOT NULL,
    sessions int NOT NULL,
    PRIMARY KEY (visitor, hour)
) WITH (fillfactor = 80);

-- Configurations that sessions ended with, by the SHA-256 of their canonical JSON.
CREATE TABLE configurations (
    digest text COLLATE "C" PRIMARY KEY,
    body jsonb NOT NULL
);

-- Through when the rollups hold, the funnels that they were reckoned with and the session up to which the newest ones
-- have been (null: all), and the newest actions.
CREATE TABLE rolled (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    through timestamptz NOT NULL DEFAULT 'epoch',
    funnels text NOT NULL DEFAULT '',
    looking text COLLATE "C",
    latest jsonb NOT NULL DEFAULT '[]'
);

INSERT INTO rolled DEFAULT VALUES;

-- One row for each UTC day: what people query. Kept current while its day is open, and revised by late actions.
CREATE TABLE daily_analytics (
    day date PRIMARY KEY,
    sessions bigint NOT NULL,
    interactions bigint NOT NULL,
    unique_users bigint NOT NULL,
    completed_configurations bigint NOT NULL,
    conversion_rate double precision NOT NULL,
    average_session_duration_ms double precision NOT NULL,
    drop_off jsonb NOT NULL,
    prices jsonb NOT NULL,
    revision int NOT NULL,
    updated_at timestamptz NOT NULL
);

-- migrate: rollback

DROP TABLE daily_analytics;
DROP TABLE rolled;
DROP TABLE configurations;
DROP TABLE visitor_hours;
DROP TABLE session_rollups;
DROP TABLE rollups;
DROP TABLE tracking_changes;
