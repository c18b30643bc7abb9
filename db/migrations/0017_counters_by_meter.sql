-- Reports of one meter read its running counters and gauges, not those of all meters and all times.
-- depends: 0016_erasures

-- migrate: apply

CREATE INDEX usage_counters_meter ON usage_counters (action, period_end) WHERE closed_at IS NULL AND period_end IS NOT NULL;
CREATE INDEX usage_counters_gauges ON usage_counters (action) WHERE period_end IS NULL;

-- migrate: rollback

DROP INDEX usage_counters_gauges;
DROP INDEX usage_counters_meter;
