-- Answers of any size in the same time: ranks, metrics apart from their paths, weeks; what bots count for.
-- depends: 0017_counters_by_meter

-- migrate: apply

DROP INDEX rollups_popular;

INSERT INTO rollups (grain, measure, start, key, n, total)
SELECT 'all', 'choice:' || (key::jsonb ->> 0), 'epoch'::timestamptz, key::jsonb ->> 1, n, total
FROM rollups WHERE grain = 'all' AND measure = 'choice'
UNION ALL
SELECT 'all', 'chosen', 'epoch', key::jsonb ->> 0, sum(n), sum(total)
FROM rollups WHERE grain = 'all' AND measure = 'choice' GROUP BY 4
UNION ALL
SELECT 'all', 'configured', 'epoch', '', sum(n), sum(total)
FROM rollups WHERE grain = 'all' AND measure = 'configuration' HAVING count(*) > 0;

DELETE FROM rollups WHERE measure = 'choice';

INSERT INTO rollups (grain, measure, start, key, n, total)
SELECT grain, 'left', start, '[' || (key::json -> 0)::text || ']', sum(n), sum(total)
FROM rollups WHERE measure = 'next' GROUP BY 1, 3, 4;

INSERT INTO rollups (grain, measure, start, key, n, total, most)
SELECT grain, 'path:' || substr(measure, 8), start, key, n, total, most
FROM rollups WHERE measure LIKE 'metric:%' AND key::json ->> 0 <> '';

CREATE TEMPORARY TABLE wholes ON COMMIT DROP AS
SELECT grain, measure, start, key::json ->> 1 AS key, sum(n) AS n, sum(total) AS total, max(most) AS most
FROM rollups WHERE measure LIKE 'metric:%' GROUP BY 1, 2, 3, 4;
DELETE FROM rollups WHERE measure LIKE 'metric:%' OR (grain = 'minute' AND measure LIKE 'path:%');
INSERT INTO rollups (grain, measure, start, key, n, total, most) SELECT * FROM wholes;

INSERT INTO rollups (grain, measure, start, key, n, total, most)
SELECT 'week', measure, date_trunc('week', start, 'UTC'), key, sum(n), sum(total), max(most)
FROM rollups WHERE grain = 'day' AND (measure IN ('next', 'left') OR measure ~ '^(path|funnel|gap):') GROUP BY 2, 3, 4;

CREATE INDEX rollups_ranked ON rollups (measure, n DESC, key) WHERE grain = 'all';
CREATE INDEX rollups_paths ON rollups (grain, measure, start, n DESC, key) WHERE measure IN ('next', 'bot.next');

-- The newest sessions are read by the index, not by ranges of pages in which a part of all of them lies.
DROP INDEX user_sessions_begun;
CREATE INDEX user_sessions_begun ON user_sessions (at DESC, session_id);

-- Bots are reckoned again.
INSERT INTO tracking_changes (sessions, changed_at)
SELECT array_agg(session_id), 'epoch' FROM (
    SELECT session_id, (row_number() OVER (ORDER BY session_id) - 1) / 200 AS part FROM user_sessions WHERE is_bot
) b GROUP BY part;

-- migrate: rollback

DROP INDEX user_sessions_begun;
CREATE INDEX user_sessions_begun ON user_sessions USING brin (at);
DROP INDEX rollups_paths;
DROP INDEX rollups_ranked;

UPDATE session_rollups SET counted = '\x90' WHERE session_id IN (SELECT session_id FROM user_sessions WHERE is_bot);
INSERT INTO tracking_changes (sessions, changed_at)
SELECT array_agg(session_id), 'epoch' FROM (
    SELECT session_id, (row_number() OVER (ORDER BY session_id) - 1) / 200 AS part FROM user_sessions WHERE is_bot
) b GROUP BY part;
DELETE FROM rollups WHERE measure LIKE 'bot.%' OR measure IN ('bots', 'left', 'chosen', 'configured')
    OR (grain = 'week' AND measure <> 'retention');

-- Choices by day are gone, which no answer read: `python -m jobs rebuild` of the older version makes them again.
INSERT INTO rollups (grain, measure, start, key, n, total)
SELECT 'all', 'choice', 'epoch', '[' || to_json(substr(measure, 8)) || ',' || to_json(key) || ']', n, total
FROM rollups WHERE measure LIKE 'choice:%';
DELETE FROM rollups WHERE measure LIKE 'choice:%';

CREATE TEMPORARY TABLE parted ON COMMIT DROP AS
SELECT grain, 'metric:' || substr(measure, 6) AS measure, start, key, n, total, most
FROM rollups WHERE measure LIKE 'path:%'
UNION ALL
SELECT w.grain, w.measure, w.start, '["",' || w.key || ']', w.n - coalesce(p.n, 0), w.total - coalesce(p.total, 0), w.most
FROM rollups w LEFT JOIN LATERAL (
    SELECT sum(n) AS n, sum(total) AS total FROM rollups p
    WHERE p.grain = w.grain AND p.measure = 'path:' || substr(w.measure, 8) AND p.start = w.start
        AND p.key::json ->> 1 = w.key
) p ON true
WHERE w.measure LIKE 'metric:%' AND w.n > coalesce(p.n, 0);
DELETE FROM rollups WHERE measure LIKE 'metric:%' OR measure LIKE 'path:%';
INSERT INTO rollups (grain, measure, start, key, n, total, most) SELECT * FROM parted;

CREATE INDEX rollups_popular ON rollups (n DESC, key) WHERE grain = 'all' AND measure = 'configuration';
