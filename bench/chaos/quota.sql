-- name: counters
SELECT substr(subject, 6), used, reserved, records FROM usage_counters WHERE action = $1;

-- name: facts
SELECT user_id, id, booked, outcome FROM usage_records;

-- name: notices
SELECT data->>'userId' AS user_id, data->>'thresholds' AS thresholds, message_id FROM effects
WHERE type = 'usage.threshold_reached';
