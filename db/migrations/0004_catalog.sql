-- What operators change at run time: the catalog as it was given, and which families are switched off.
-- depends: 0003_outbox

-- migrate: apply

CREATE TABLE catalog (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    version text NOT NULL,
    body text NOT NULL,
    parsed jsonb NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE flags (
    family text COLLATE "C" PRIMARY KEY,
    enabled boolean NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL
);

-- migrate: rollback

DROP TABLE flags;
DROP TABLE catalog;
