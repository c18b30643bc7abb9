-- The values of a metric by path, ranked: an answer reads the paths with the most, however many clients name.
-- depends: 0021_usage_rollups

-- migrate: apply

INSERT INTO rollups (grain, measure, start, key, n, total, most)
SELECT grain, 'called:' || substr(measure, 6), start, '[' || (key::json -> 0)::text || ']', sum(n), sum(total), max(most)
FROM rollups WHERE measure LIKE 'path:%' GROUP BY 1, 2, 3, 4;

DROP INDEX rollups_paths;
CREATE INDEX rollups_paths ON rollups (grain, measure, start, n DESC, key)
WHERE measure IN ('next', 'bot.next', 'called:api_response_time', 'called:api_error');

-- migrate: rollback

DELETE FROM rollups WHERE measure LIKE 'called:%';
DROP INDEX rollups_paths;
CREATE INDEX rollups_paths ON rollups (grain, measure, start, n DESC, key) WHERE measure IN ('next', 'bot.next');
