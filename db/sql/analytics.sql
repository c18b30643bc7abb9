-- name: sum_cells
-- what an answer adds up: (measure, key) over a range of starts
SELECT measure, key, sum(n)::bigint AS n, sum(total)::double precision AS total
FROM rollups WHERE grain = $1 AND measure = ANY($2::text[]) AND start >= $3 AND start < $4
GROUP BY measure, key;

-- name: series_cells
-- the same for each start
SELECT start, measure, key, n, total::double precision AS total, most
FROM rollups WHERE grain = $1 AND measure = ANY($2::text[]) AND start >= $3 AND start < $4
ORDER BY start, measure, key;

-- name: histograms
-- of each start as two arrays: 22,000 rows take Python longer than Postgres
SELECT start, array_agg(key::int) AS buckets, array_agg(n) AS counts, sum(total) AS total,
    max(most) AS most
FROM rollups WHERE grain = $1 AND measure = $2 AND start >= $3 AND start < $4 GROUP BY start;

-- name: metric_names
-- one probe of the index for each metric there is
WITH RECURSIVE names AS (
    (SELECT measure FROM rollups WHERE grain = 'day' AND measure >= 'metric:' AND measure < 'metric;' ORDER BY measure LIMIT 1)
    UNION ALL
    SELECT (
        SELECT r.measure FROM rollups r WHERE r.grain = 'day' AND r.measure > n.measure AND r.measure < 'metric;'
        ORDER BY r.measure LIMIT 1
    )
    FROM names n WHERE n.measure IS NOT NULL
)
SELECT substr(measure, 8) AS name FROM names WHERE measure IS NOT NULL LIMIT 1000;

-- name: unique_visitors
-- a visitor counts with the first of its active hours or days in the range: the one before lies in front of it
SELECT coalesce(sum(n), 0)::bigint FROM rollups
WHERE grain = $1 AND measure = 'visitors' AND start >= $2 AND start < $3
    AND (key = '' OR key::bigint < extract(epoch FROM $2::timestamptz));

-- name: count_of
SELECT coalesce(sum(n), 0)::bigint FROM rollups WHERE grain = $1 AND measure = $2 AND start >= $3 AND start < $4;

-- name: number
-- of all time, of a measure that has one key
SELECT n FROM rollups WHERE grain = 'all' AND measure = $1 AND start = 'epoch' AND key = '';

-- name: ranked
-- of each measure the $3 keys with the largest numbers, together with the measure of bots beside it ('': without):
-- whatever bots count for, and the most frequent of the others
SELECT m.number::int AS number, r.key, r.n
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS m (own, bots, number)
CROSS JOIN LATERAL (
    SELECT f.key, coalesce(p.n, 0) + coalesce(b.n, 0) AS n
    FROM (
        (
            SELECT key FROM rollups WHERE grain = 'all' AND measure = m.own COLLATE "C"
            ORDER BY n DESC, key LIMIT $3
        )
        UNION SELECT key FROM rollups WHERE grain = 'all' AND measure = m.bots COLLATE "C"
    ) f
    LEFT JOIN LATERAL (
        SELECT n FROM rollups WHERE grain = 'all' AND measure = m.own COLLATE "C" AND start = 'epoch' AND key = f.key
    ) p ON true
    LEFT JOIN LATERAL (
        SELECT n FROM rollups WHERE grain = 'all' AND measure = m.bots COLLATE "C" AND start = 'epoch' AND key = f.key
    ) b ON true
    ORDER BY n DESC, key LIMIT $3
) r ORDER BY m.number, r.n DESC, r.key;

-- name: configuration_bodies
SELECT digest, body FROM configurations WHERE digest = ANY($1::text[]);

-- name: cover_cells
-- the same as sum_cells over starts of several grains
SELECT r.measure, r.key, sum(r.n)::bigint AS n, sum(r.total)::double precision AS total, max(r.most) AS most
FROM unnest($1::text[], $2::timestamptz[]) AS s (grain, start)
CROSS JOIN unnest($3::text[]) AS m (measure)
JOIN rollups r ON r.grain = s.grain COLLATE "C" AND r.measure = m.measure COLLATE "C" AND r.start = s.start
GROUP BY r.measure, r.key;

-- name: path_histograms
-- of each path, whose keys begin with $4 and go on with a bucket and `]`, over starts of several grains; a digit and a
-- minus come before `:`. OFFSET 0: probe by probe, as the planner takes a range for a third of everything
SELECT b.prefix, array_agg(substr(rtrim(b.key, ']'), length(b.prefix) + 1)::int) AS buckets,
    array_agg(b.n::bigint) AS counts, sum(b.total) AS total, max(b.most) AS most
FROM (
    SELECT k.prefix, r.key, sum(r.n) AS n, sum(r.total) AS total, max(r.most) AS most
    FROM unnest($4::text[]) AS k (prefix)
    CROSS JOIN unnest($1::text[], $2::timestamptz[]) AS s (grain, start)
    CROSS JOIN LATERAL (
        SELECT key, n, total, most FROM rollups
        WHERE grain = s.grain COLLATE "C" AND measure = $3 COLLATE "C" AND start = s.start
            AND key >= k.prefix COLLATE "C" AND key < (k.prefix || ':') COLLATE "C" OFFSET 0
    ) r
    GROUP BY k.prefix, r.key
) b GROUP BY b.prefix;

-- name: most_paths
-- the $5 keys with the largest numbers among the $4 of each start; what was not read is no more frequent than `missed`
WITH most AS MATERIALIZED (
    SELECT r.key, r.n, r.place
    FROM unnest($1::text[], $2::timestamptz[]) AS s (grain, start)
    CROSS JOIN unnest($3::text[]) AS m (measure)
    CROSS JOIN LATERAL (
        SELECT key, n, row_number() OVER (ORDER BY n DESC, key) AS place FROM rollups
        WHERE measure IN ('next', 'bot.next', 'called:api_response_time', 'called:api_error')
            AND measure = m.measure COLLATE "C" AND grain = s.grain COLLATE "C" AND start = s.start
        ORDER BY n DESC, key LIMIT $4 + 1
    ) r
)
SELECT key, sum(n)::bigint AS n, (SELECT coalesce(sum(n), 0) FROM most WHERE place > $4)::bigint AS missed
FROM most GROUP BY key ORDER BY 2 DESC, 1 LIMIT $5;

-- name: counts_of
-- the sums of these keys over starts of several grains, probe by probe
SELECT k.key, coalesce(sum(r.n), 0)::bigint AS n
FROM unnest($4::text[]) AS k (key)
CROSS JOIN unnest($1::text[], $2::timestamptz[]) AS s (grain, start)
CROSS JOIN unnest($3::text[]) AS m (measure)
LEFT JOIN LATERAL (
    SELECT n FROM rollups WHERE grain = s.grain COLLATE "C" AND measure = m.measure COLLATE "C" AND start = s.start
        AND key = k.key COLLATE "C" LIMIT 1
) r ON true
GROUP BY k.key;

-- name: retention_cells
SELECT start, key::int AS week, n FROM rollups
WHERE grain = 'week' AND measure = 'retention' AND start >= $1 AND start <= $2 ORDER BY start, week;

-- name: rolled_through
-- when nothing waits the rollups hold up to now; on a replica, up to what it has taken over
SELECT CASE
    WHEN EXISTS (SELECT FROM tracking_changes WHERE changed_at <= clock_timestamp()) THEN through
    WHEN pg_is_in_recovery() THEN greatest(through, pg_last_xact_replay_timestamp())
    ELSE greatest(through, $1)
END FROM rolled;

-- name: journey_facts
-- everything of one session in order, its configurations up to $4 bytes in all; by subject, which the primary keys begin
-- with, and by arrival ($5), so that days before the session are not looked at
SELECT i.at, i.id, 'interaction.recorded' AS kind, i.event_type AS type, i.category AS name, i.element_id,
    i.selection_value AS value, i.previous_value AS previous, i.time_spent, NULL::jsonb AS configuration,
    NULL::double precision AS price, NULL::double precision AS percentage
FROM interaction_events i WHERE i.subject = $1 COLLATE "C" AND i.session_id = $2 AND i.received_at >= $5
UNION ALL
SELECT c.at, c.id, 'configuration.saved', c.trigger_event, NULL, NULL, NULL, NULL, NULL,
    CASE WHEN sum(pg_column_size(c.configuration_data)) OVER (ORDER BY c.at, c.id) <= $4 THEN c.configuration_data END,
    c.total_price, c.completion_percentage
FROM configuration_snapshots c WHERE c.subject = $1 COLLATE "C" AND c.session_id = $2 AND c.received_at >= $5
UNION ALL
SELECT e.at, e.id, e.kind, NULL, e.event, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM tracked_events e WHERE e.subject = $1 COLLATE "C" AND e.session_id = $2 AND e.received_at >= $5
ORDER BY at, id LIMIT $3;

-- name: latest_actions
SELECT latest FROM rolled;

-- name: active_sessions
-- of the last minutes; one that has been open for more than a day is not looked for
SELECT count(*) FROM user_sessions WHERE ended_at IS NULL AND last_at >= $1 AND at >= $1 - interval '1 day' AND NOT is_bot;
