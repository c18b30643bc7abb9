-- name: create_webhook
INSERT INTO destinations (sort, url, types, secret, description) VALUES ('webhook', $1, $2, $3, $4)
RETURNING id, sort, url, types, description, created_at, disabled_at, disabled_reason, failures, paused_until,
    previous_until;

-- name: list_destinations
SELECT id, sort, url, types, description, created_at, disabled_at, disabled_reason, failures, paused_until,
    CASE WHEN previous_until > now() THEN previous_until END AS previous_until
FROM destinations WHERE ($1::text IS NULL OR sort = $1) ORDER BY created_at, id;

-- name: find_destination
SELECT id, sort, url, types, description, created_at, disabled_at, disabled_reason, failures, paused_until,
    CASE WHEN previous_until > now() THEN previous_until END AS previous_until
FROM destinations WHERE id = $1 AND sort = $2;

-- name: count_webhooks
SELECT count(*) FROM destinations WHERE sort = 'webhook';

-- name: change_webhook
UPDATE destinations
SET url = $2, types = $3, description = $4, disabled_at = CASE WHEN $5 THEN NULL ELSE coalesce(disabled_at, now()) END,
    disabled_reason = CASE WHEN $5 THEN NULL ELSE coalesce(disabled_reason, $6) END,
    failures = CASE WHEN $5 THEN 0 ELSE failures END, paused_until = CASE WHEN $5 THEN NULL ELSE paused_until END
WHERE id = $1 AND sort = 'webhook' RETURNING id;

-- name: rotate_webhook
-- the previous secret signs on for $3 seconds
UPDATE destinations
SET previous_secret = secret, previous_until = now() + make_interval(secs => $3), secret = $2
WHERE id = $1 AND sort = 'webhook'
RETURNING previous_until;

-- name: delete_webhook
DELETE FROM destinations WHERE id = $1 AND sort = 'webhook' RETURNING id;

-- name: keep_destination
-- kept equal to a setting
INSERT INTO destinations (id, sort, url, types, description) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE
SET url = excluded.url, types = excluded.types, description = excluded.description, disabled_at = NULL,
    disabled_reason = NULL
WHERE (destinations.url, destinations.types, destinations.disabled_at IS NULL) IS DISTINCT FROM
    (excluded.url, excluded.types, true);

-- name: disable_destination
UPDATE destinations SET disabled_at = now(), disabled_reason = $2 WHERE id = $1 AND disabled_at IS NULL RETURNING id;

-- name: discard_pending_of_destination
UPDATE deliveries SET status = 'discarded', reason = $2, done_at = now()
WHERE destination = $1 AND status = 'pending' RETURNING id;

-- name: probe_destination
-- the one try of a destination that has rested; whoever gets the row makes it
UPDATE destinations SET paused_until = now() + make_interval(secs => $2)
WHERE id = $1 AND disabled_at IS NULL AND failures >= $3 AND coalesce(paused_until <= now(), true) RETURNING id;

-- name: destination_failed
-- $2: failures in a row from which it rests, $3 to $4 seconds, twice as long each time; $5: this was the try of one that
-- had rested; $6: seconds that it asked for. What had set out before the rest does not lengthen it.
UPDATE destinations SET
    failures = CASE WHEN $5 OR paused_until IS NULL OR paused_until <= now() THEN failures + 1 ELSE failures END,
    paused_until = greatest(
        CASE WHEN $6 > 0 THEN now() + make_interval(secs => $6) END,
        CASE
            WHEN NOT $5 AND paused_until > now() THEN paused_until
            WHEN failures + 1 >= $2
            THEN now() + make_interval(secs => least($4, $3 * power(2, least(20, failures + 1 - $2))) * (0.8 + 0.4 * random()))
        END
    )
WHERE id = $1;

-- name: destination_answered
-- $2: this was the try of one that had rested
UPDATE destinations SET failures = 0, paused_until = NULL WHERE id = $1 AND (failures > 0 OR $2);
