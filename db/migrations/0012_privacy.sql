-- Privacy: who was erased, so that nothing brings them back, and the receipts.
-- depends: 0011_latest_sessions

-- migrate: apply

-- What the names of erased people are digested with, of this installation alone.
CREATE TABLE privacy_key (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    key bytea NOT NULL
);

INSERT INTO privacy_key (key)
VALUES (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- One for each order to erase somebody. The ids stand here only until it is done: whoever is killed goes on with them.
CREATE TABLE erasures (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person text NOT NULL,
    user_id text,
    anonymous_ids text[] NOT NULL DEFAULT '{}',
    requested_at timestamptz NOT NULL DEFAULT now(),
    positions jsonb,
    removed jsonb NOT NULL DEFAULT '{}',
    done_at timestamptz,
    CHECK (done_at IS NULL OR (user_id IS NULL AND anonymous_ids = '{}'))
);

CREATE UNIQUE INDEX erasures_open ON erasures (person) WHERE done_at IS NULL;

-- Digests of users, anonymous ids and sessions of which no action is applied any more.
CREATE TABLE tombstones (
    digest bytea PRIMARY KEY,
    until timestamptz
);

-- Moves with every new tombstone of a partition's subjects: whoever applies reads them again.
ALTER TABLE partitions ADD COLUMN erased bigint NOT NULL DEFAULT 0;

-- migrate: rollback

ALTER TABLE partitions DROP COLUMN erased;
DROP TABLE tombstones;
DROP TABLE erasures;
DROP TABLE privacy_key;
