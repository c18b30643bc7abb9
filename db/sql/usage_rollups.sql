-- name: try_folding_usage
-- one pass at a time; released with the transaction
SELECT pg_try_advisory_xact_lock(7310575178854134888);

-- name: fold_usage_changes
-- into the sums, at most $1 rows; what a transaction is still writing is not seen: the next pass takes it
WITH taken AS (
    DELETE FROM usage_changes WHERE ctid = ANY(ARRAY(SELECT ctid FROM usage_changes LIMIT $1)) RETURNING *
), folded AS (
    INSERT INTO usage_rollups AS kept
    SELECT plan, action, period_start, period_end, band, sum(subjects), sum(used), sum(reserved)
    FROM taken GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (plan, action, period_start, period_end, band) DO UPDATE SET
        subjects = kept.subjects + EXCLUDED.subjects, used = kept.used + EXCLUDED.used,
        reserved = kept.reserved + EXCLUDED.reserved
)
SELECT count(*) FROM taken;

-- name: drop_empty_usage_rollups
-- of periods that are closed, and of bands that nobody is in
DELETE FROM usage_rollups WHERE subjects = 0 AND used = 0 AND reserved = 0;

-- name: wrong_usage_rollups
-- sums that are not those of the counters, with what both come to; in one statement: whoever writes counters meanwhile
-- changes both sides by the same
WITH summed AS (
    SELECT true AS is_kept, * FROM usage_rollups
    UNION ALL
    SELECT true, * FROM usage_changes
    UNION ALL
    SELECT
        false, plan, action, period_start, coalesce(period_end, 'infinity'), usage_band(used, limit_value),
        1, used, reserved
    FROM usage_counters WHERE closed_at IS NULL
)
SELECT *
FROM (
    SELECT
        plan, action, period_start, period_end, band,
        coalesce(sum(subjects) FILTER (WHERE is_kept), 0)::bigint AS subjects_kept,
        coalesce(sum(subjects) FILTER (WHERE NOT is_kept), 0)::bigint AS subjects,
        coalesce(sum(used) FILTER (WHERE is_kept), 0) AS used_kept,
        coalesce(sum(used) FILTER (WHERE NOT is_kept), 0) AS used,
        coalesce(sum(reserved) FILTER (WHERE is_kept), 0) AS reserved_kept,
        coalesce(sum(reserved) FILTER (WHERE NOT is_kept), 0) AS reserved
    FROM summed GROUP BY plan, action, period_start, period_end, band
) compared
WHERE subjects_kept <> subjects OR used_kept <> used OR reserved_kept <> reserved
ORDER BY plan, action, period_start, band;

-- name: mend_usage_rollups
-- a difference counts like a change
INSERT INTO usage_changes
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::smallint[], $6::bigint[], $7::numeric[],
    $8::numeric[]
);
