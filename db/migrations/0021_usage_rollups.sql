-- Usage by plan and meter, added up as it changes: the overview reads some sums instead of every counter.
-- depends: 0020_sessions_of_people

-- migrate: apply

-- The counters that are not closed, by plan, meter, period and band; the sum over both tables is true at any moment.
-- band: the share of its limit that a subject has used, in percent, rounded down, 100 at most; -1: without a limit.
-- A gauge runs for ever.
CREATE TABLE usage_rollups (
    plan text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    band smallint NOT NULL,
    subjects bigint NOT NULL,
    used numeric NOT NULL,
    reserved numeric NOT NULL,
    PRIMARY KEY (plan, action, period_start, period_end, band)
) WITH (fillfactor = 70);

-- What statements changed in them: new rows only, so that no two writers wait for each other; a pass folds them.
CREATE TABLE usage_changes (
    plan text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    band smallint NOT NULL,
    subjects bigint NOT NULL,
    used numeric NOT NULL,
    reserved numeric NOT NULL
);

CREATE FUNCTION usage_band(used bigint, most bigint) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN most > 0 THEN least(div(used::numeric * 100, most), 100)::smallint ELSE -1 END $$;

-- In the transaction of whoever writes counters, whatever for. A statement has the tables of its own trigger alone, so
-- that each has a query of its own.
CREATE FUNCTION note_usage_changes() RETURNS trigger
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

CREATE TRIGGER counters_added AFTER INSERT ON usage_counters
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_usage_changes();

CREATE TRIGGER counters_changed AFTER UPDATE ON usage_counters
REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_usage_changes();

CREATE TRIGGER counters_removed AFTER DELETE ON usage_counters
REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION note_usage_changes();

INSERT INTO usage_rollups
SELECT
    plan, action, period_start, coalesce(period_end, 'infinity'), usage_band(used, limit_value),
    count(*), sum(used), sum(reserved)
FROM usage_counters WHERE closed_at IS NULL GROUP BY 1, 2, 3, 4, 5;

-- migrate: rollback

DROP TRIGGER counters_removed ON usage_counters;
DROP TRIGGER counters_changed ON usage_counters;
DROP TRIGGER counters_added ON usage_counters;
DROP FUNCTION note_usage_changes();
DROP FUNCTION usage_band(bigint, bigint);
DROP TABLE usage_changes;
DROP TABLE usage_rollups;
