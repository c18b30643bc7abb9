-- name: count_begun
-- what the users count for whose first step or action lies in one of the stretches [$1, $2), for each stretch that has
-- any. Times are told to three digits, so that there are only so many; who closed a step entered the next one.
-- `ended`: for how many users it is the furthest step that they closed; OFFSET 0 demands an index probe for each user
WITH asked AS MATERIALIZED (
    SELECT begins, ends FROM unnest($1::timestamptz[], $2::timestamptz[]) AS r (begins, ends)
),
steps AS MATERIALIZED (SELECT step, place FROM onboarding_steps),
moved AS (
    SELECT r.begins, p.user_id FROM asked r JOIN onboarding_progress p ON p.created_at >= r.begins AND p.created_at < r.ends
    UNION
    SELECT r.begins, a.user_id FROM asked r JOIN onboarding_actions a ON a.first_at >= r.begins AND a.first_at < r.ends
),
begun AS MATERIALIZED (
    SELECT begins, user_id FROM moved m
    WHERE least(
        (SELECT min(p.created_at) FROM onboarding_progress p WHERE p.user_id = m.user_id),
        (SELECT min(a.first_at) FROM onboarding_actions a WHERE a.user_id = m.user_id)
    ) >= begins
),
closed AS MATERIALIZED (
    SELECT
        b.begins, p.user_id, s.step, p.completed, p.time_spent_seconds,
        lead(s.place) OVER own IS NULL AS is_furthest,
        extract(epoch FROM c.at - lag(c.at) OVER own)::double precision AS since_last
    FROM begun b
    CROSS JOIN LATERAL (SELECT * FROM onboarding_progress o WHERE o.user_id = b.user_id OFFSET 0) p
    JOIN steps s USING (step)
    CROSS JOIN LATERAL (SELECT coalesce(p.completed_at, p.skipped_at) AS at) c
    WINDOW own AS (PARTITION BY p.user_id ORDER BY s.place)
),
times AS (
    SELECT begins, 'spent' AS what, step, time_spent_seconds::double precision AS seconds FROM closed
    WHERE time_spent_seconds IS NOT NULL
    UNION ALL
    SELECT begins, 'between', step, since_last FROM closed WHERE since_last >= 0
),
ended AS (
    SELECT begins, bool_or(NOT completed) AS skipped FROM closed
    GROUP BY begins, user_id HAVING count(*) = (SELECT count(*) FROM steps)
)
SELECT begins, 'users' AS what, '' AS name, NULL::double precision AS seconds, count(*) AS n, 0::bigint AS times
FROM begun GROUP BY begins
UNION ALL
SELECT begins, CASE WHEN skipped THEN 'all_skipped' ELSE 'all_completed' END, '', NULL, count(*), 0
FROM ended GROUP BY begins, skipped
UNION ALL
SELECT begins, CASE WHEN completed THEN 'completed' ELSE 'skipped' END, step, NULL, count(*), 0
FROM closed GROUP BY begins, completed, step
UNION ALL
SELECT begins, 'ended', step, NULL, count(*), 0 FROM closed WHERE is_furthest GROUP BY begins, step
UNION ALL
SELECT begins, what, step, d.seconds, count(*), 0
FROM times CROSS JOIN LATERAL (
    SELECT CASE WHEN seconds = 0 THEN 0 ELSE
        round(seconds::numeric, least(3, 2 - floor(log(seconds))::int))::double precision END AS seconds
) d GROUP BY begins, what, step, d.seconds
UNION ALL
SELECT b.begins, 'action', a.action, NULL, count(*), sum(a.count)::bigint
FROM begun b
CROSS JOIN LATERAL (SELECT * FROM onboarding_actions o WHERE o.user_id = b.user_id OFFSET 0) a GROUP BY b.begins, a.action
ORDER BY 1, 2, 3, 4;

-- name: onboarding_steps_now
-- the steps of the catalog
SELECT array_agg(step ORDER BY place) FROM onboarding_steps;

-- name: counted_days
-- of [$1, $2) those that were counted with the steps $3: with others they count for other things
SELECT day, counted FROM onboarding_days WHERE day >= $1 AND day < $2 AND steps = $3::text[];

-- name: try_counting_days
-- one pass at a time; released with the transaction
SELECT pg_try_advisory_xact_lock(7310575178854134887);

-- name: wait_counting_days
-- no pass meanwhile; a check needs no such thing, since it sees one moment
SELECT pg_advisory_xact_lock(7310575178854134887) WHERE current_setting('transaction_read_only') = 'off';

-- name: take_onboarding_changes
-- notes; rows that a batch is still writing are not seen: the next pass takes them
DELETE FROM onboarding_changes WHERE ctid = ANY(ARRAY(SELECT ctid FROM onboarding_changes LIMIT $1)) RETURNING days;

-- name: stale_onboarding_days
-- days that were counted with other steps than $1
SELECT day FROM onboarding_days WHERE steps <> $1::text[] ORDER BY day DESC LIMIT $2;

-- name: save_onboarding_days
INSERT INTO onboarding_days (day, steps, counted)
SELECT d.day, $1::text[], d.counted FROM unnest($2::date[], $3::bytea[]) AS d (day, counted)
ON CONFLICT (day) DO UPDATE SET steps = EXCLUDED.steps, counted = EXCLUDED.counted;

-- name: drop_onboarding_days
DELETE FROM onboarding_days WHERE day = ANY($1::date[]);

-- name: note_users_begun
-- the days on which these users began, as their rows are now: before and after what changes them beside a batch
INSERT INTO onboarding_changes (days)
SELECT array_agg(DISTINCT (begun AT TIME ZONE 'UTC')::date) FROM (
    SELECT user_id, min(at) AS begun FROM (
        SELECT user_id, created_at AS at FROM onboarding_progress WHERE user_id = ANY($1::text[])
        UNION ALL
        SELECT user_id, first_at FROM onboarding_actions WHERE user_id = ANY($1::text[])
    ) moved GROUP BY user_id
) b HAVING count(*) > 0
RETURNING days;

-- name: noted_onboarding_days
-- of these those that a pass is still to count
SELECT DISTINCT day FROM onboarding_changes CROSS JOIN unnest(days) AS day WHERE day = ANY($1::date[]);

-- name: page_onboarding_days
-- every day behind $1 on which something moved first, or that was counted
SELECT day FROM onboarding_days WHERE day > $1
UNION
SELECT (created_at AT TIME ZONE 'UTC')::date FROM onboarding_progress
WHERE created_at >= ($1::date + 1)::timestamp AT TIME ZONE 'UTC'
UNION
SELECT (first_at AT TIME ZONE 'UTC')::date FROM onboarding_actions
WHERE first_at >= ($1::date + 1)::timestamp AT TIME ZONE 'UTC'
ORDER BY 1 LIMIT $2;

-- name: load_onboarding_days
SELECT day, steps, counted FROM onboarding_days WHERE day = ANY($1::date[]);

-- name: note_onboarding_days
-- one row for a batch, in its transaction: the days on which the users that it changed began
INSERT INTO onboarding_changes (days) VALUES ($1::date[]);
