-- The pipe: positions of the partitions, dead letters, service keys, day partitions.
-- depends:

-- migrate: apply

CREATE TABLE partitions (
    id smallint PRIMARY KEY,
    generation text NOT NULL DEFAULT '',
    position_ms bigint NOT NULL DEFAULT 0,
    position_seq bigint NOT NULL DEFAULT 0,
    reread_ms bigint NOT NULL DEFAULT 0,
    reread_seq bigint NOT NULL DEFAULT 0,
    applied_at timestamptz
);

CREATE TABLE dead_letters (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    partition smallint NOT NULL,
    position text NOT NULL,
    action_id text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    body bytea NOT NULL,
    dead_at timestamptz NOT NULL DEFAULT now(),
    retried_at timestamptz,
    discarded_at timestamptz
);

CREATE INDEX dead_letters_open ON dead_letters (dead_at) WHERE retried_at IS NULL AND discarded_at IS NULL;

CREATE TABLE service_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    hash text NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE FUNCTION ensure_days(first_day date, last_day date) RETURNS int LANGUAGE plpgsql AS $$
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

CREATE FUNCTION drop_days(before date) RETURNS SETOF text LANGUAGE plpgsql AS $$
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
$$;

-- migrate: rollback

DROP FUNCTION drop_days(date);
DROP FUNCTION ensure_days(date, date);
DROP TABLE service_keys;
DROP TABLE dead_letters;
DROP TABLE partitions;
