-- name: database
SELECT current_database() AS name, current_setting('server_version') AS version,
       pg_size_pretty(pg_database_size(current_database())) AS size;

-- name: tables
-- a table with its day partitions counts as one; rows are the planner's estimate, and so are the bytes of days that
-- Postgres has looked at: asking for their size would open each of hundreds
SELECT coalesce(p.relname, c.relname)::text AS name, count(i.inhrelid) AS days,
       min(right(c.relname, 8)) FILTER (WHERE i.inhrelid IS NOT NULL) AS first_day,
       max(right(c.relname, 8)) FILTER (WHERE i.inhrelid IS NOT NULL) AS last_day,
       sum(greatest(c.reltuples, 0))::bigint AS rows,
       pg_size_pretty(sum(CASE
           WHEN i.inhrelid IS NULL OR c.reltuples < 0 THEN pg_total_relation_size(c.oid)
           ELSE current_setting('block_size')::bigint * (c.relpages + coalesce(t.relpages, 0) + x.relpages)
       END)) AS size
FROM pg_class c
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
CROSS JOIN LATERAL (
    SELECT coalesce(sum(o.relpages), 0) AS relpages FROM pg_index n JOIN pg_class o ON o.oid = n.indexrelid
    WHERE n.indrelid = c.oid
) x
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
LEFT JOIN pg_class p ON p.oid = i.inhparent
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE '\_pogo%'
GROUP BY 1 ORDER BY 1;

-- name: sessions_aside
-- what is not counted, by reason; $1: how many are named
SELECT reason, count(*) AS number, min(since) AS since, min(due_at) AS due_at,
    (array_agg(session_id ORDER BY since, session_id))[:$1] AS first
FROM sessions_aside GROUP BY reason ORDER BY reason;

-- name: late_erasures
SELECT count(*) FROM erasures WHERE done_at IS NULL AND requested_at < now() - $1::interval;
