-- The outbox: actions that go on to other subjects, effects that leave the house, and where they go to.
-- depends: 0002_tracking

-- migrate: apply

CREATE TABLE follow_ups (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject, id)
);

CREATE INDEX follow_ups_created ON follow_ups (created_at);

-- What leaves the house: written in the applying transaction. `message_id` is what receivers see, the same over retries;
-- (created_at, number) is the order of creation.
CREATE TABLE effects (
    subject text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    data jsonb NOT NULL,
    order_key text,
    created_at timestamptz NOT NULL,
    number int NOT NULL,
    PRIMARY KEY (subject, id)
);

CREATE INDEX effects_message ON effects (message_id);
CREATE INDEX effects_created ON effects (created_at, number, message_id);

-- `failures` in a row, and until when nothing is sent because of them.
CREATE TABLE destinations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sort text NOT NULL CHECK (sort IN ('webhook', 'nats', 'analytics')),
    url text NOT NULL,
    types text[] NOT NULL DEFAULT '{}',
    secret text,
    previous_secret text,
    previous_until timestamptz,
    description text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    disabled_reason text,
    failures int NOT NULL DEFAULT 0,
    paused_until timestamptz
);

-- `due_at`: when it may go, moved ahead while somebody sends it. `enqueue_at`: when the sweep looks at it next.
CREATE TABLE deliveries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subject text COLLATE "C" NOT NULL,
    effect_id text COLLATE "C" NOT NULL,
    type text NOT NULL,
    destination uuid NOT NULL,
    order_key text,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'dead', 'discarded')),
    reason text,
    attempts int NOT NULL DEFAULT 0,
    tries int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    number int NOT NULL,
    opened_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    enqueue_at timestamptz NOT NULL,
    done_at timestamptz,
    UNIQUE (subject, effect_id, destination)
);

CREATE INDEX deliveries_enqueue ON deliveries (enqueue_at) WHERE status = 'pending';
CREATE INDEX deliveries_order ON deliveries (destination, order_key, created_at, number)
    WHERE status = 'pending' AND order_key IS NOT NULL;
CREATE INDEX deliveries_status ON deliveries (status, created_at, number);
CREATE INDEX deliveries_destination ON deliveries (destination, created_at, number);

-- Every attempt; `number` counts on over an operator's retry.
CREATE TABLE delivery_attempts (
    delivery uuid NOT NULL,
    number int NOT NULL,
    at timestamptz NOT NULL,
    milliseconds int NOT NULL,
    status int,
    error text,
    response text,
    PRIMARY KEY (delivery, number)
);

-- migrate: rollback

DROP TABLE delivery_attempts;
DROP TABLE deliveries;
DROP TABLE destinations;
DROP TABLE effects;
DROP TABLE follow_ups;
