-- Sessions that could not be reckoned for the rollups: the others go on.
-- depends: 0014_session_owner

-- migrate: apply

CREATE TABLE sessions_aside (
    session_id text COLLATE "C" PRIMARY KEY,
    reason text NOT NULL,
    tries int NOT NULL,
    since timestamptz NOT NULL,
    due_at timestamptz NOT NULL
);

-- migrate: rollback

DROP TABLE sessions_aside;
