-- name: load_plans
-- of each plan the version in force at $1, and those that come into force later
SELECT plan, version, effective_from, body FROM plan_limits p
WHERE effective_from > $1 OR (effective_from, version) = (
    SELECT effective_from, version FROM plan_limits o WHERE o.plan = p.plan AND o.effective_from <= $1
    ORDER BY effective_from DESC, version DESC LIMIT 1
);

-- name: lock_plans
-- until the transaction ends: versions are counted by one at a time
SELECT pg_advisory_xact_lock(hashtext('plan_limits'));

-- name: newest_plan
SELECT plan, version, effective_from, body FROM plan_limits WHERE plan = $1 ORDER BY version DESC LIMIT 1;

-- name: newest_plans_of_catalog
-- what an operator put beside them stays until the file changes
SELECT DISTINCT ON (plan) plan, body FROM plan_limits WHERE source = 'catalog' ORDER BY plan, version DESC;

-- name: insert_plans
-- the arrays come ordered by plan; the first version of the catalog's plans may be stored by several at once
INSERT INTO plan_limits (plan, version, effective_from, body, source)
SELECT * FROM unnest($1::text[], $2::int[], $3::timestamptz[], $4::jsonb[], $5::text[])
ON CONFLICT (plan, version) DO NOTHING;

-- name: list_plans
-- every version, for whoever administers them and for a rebuild
SELECT plan, version, effective_from, body, source, created_at FROM plan_limits ORDER BY plan, version;
