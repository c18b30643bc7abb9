-- name: privacy_key
SELECT key FROM privacy_key;

-- name: load_tombstones
SELECT digest FROM tombstones WHERE until IS NULL OR until > now();

-- name: add_tombstones
INSERT INTO tombstones (digest, until) SELECT k.digest, $2::timestamptz FROM unnest($1::bytea[]) AS k (digest)
ON CONFLICT (digest) DO NOTHING;

-- name: drop_tombstones
-- sessions are kept out for as long as ids are remembered
DELETE FROM tombstones WHERE until < now();

-- name: move_erased
-- workers read the tombstones again at their next batch of this partition
UPDATE partitions SET erased = erased + 1 WHERE id = ANY($1::smallint[]);

-- name: order_erasure
-- of two orders for one person the first is worked on
INSERT INTO erasures (person, user_id) VALUES ($1, $2) ON CONFLICT (person) WHERE done_at IS NULL DO NOTHING;

-- name: open_erasure
SELECT id, person, user_id, anonymous_ids, positions FROM erasures WHERE person = $1 AND done_at IS NULL;

-- name: claim_erasure
-- this one, or the oldest that nobody works on and that does not rest after a failure
UPDATE erasures SET holder = $2, lease_until = now() + make_interval(secs => $3), tries = tries + 1
WHERE id = (
    SELECT id FROM erasures
    WHERE done_at IS NULL AND ($1::uuid IS NULL OR id = $1)
      AND (lease_until IS NULL OR lease_until <= now() OR ($1 IS NOT NULL AND holder IS NULL))
    ORDER BY requested_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, user_id;

-- name: renew_erasure
UPDATE erasures SET lease_until = now() + make_interval(secs => $3), stage = nullif($4, '')
WHERE id = $1 AND holder = $2 AND done_at IS NULL RETURNING true;

-- name: release_erasure
UPDATE erasures SET holder = NULL, lease_until = now() + make_interval(secs => $4), stage = NULL,
    failure = coalesce($3, failure)
WHERE id = $1 AND holder = $2 AND done_at IS NULL;

-- name: receipt
SELECT id, person, CASE WHEN done_at IS NOT NULL THEN 'done' WHEN holder IS NULL OR lease_until <= now() THEN 'waiting'
    ELSE 'running' END AS status, stage, tries, failure, requested_at, positions, removed, done_at
FROM erasures WHERE id = $1;

-- name: receipts
SELECT id, person, CASE WHEN done_at IS NOT NULL THEN 'done' WHEN holder IS NULL OR lease_until <= now() THEN 'waiting'
    ELSE 'running' END AS status, stage, tries, failure, requested_at, positions, removed, done_at
FROM erasures WHERE $1::timestamptz IS NULL OR (requested_at, id) < ($1, $2::uuid)
ORDER BY requested_at DESC, id DESC LIMIT $3;

-- name: set_positions
UPDATE erasures SET positions = coalesce(positions, $2::jsonb) WHERE id = $1;

-- name: set_anonymous_ids
UPDATE erasures SET anonymous_ids = $2::text[] WHERE id = $1 AND done_at IS NULL;

-- name: count_removed
UPDATE erasures SET removed = removed || (
    SELECT coalesce(jsonb_object_agg(k.name, coalesce((removed ->> k.name)::bigint, 0) + k.number), '{}')
    FROM unnest($2::text[], $3::bigint[]) AS k (name, number)
) WHERE id = $1;

-- name: end_erasure
UPDATE erasures SET user_id = NULL, anonymous_ids = '{}', done_at = now(), holder = NULL, lease_until = NULL,
    stage = NULL, failure = NULL
WHERE id = $1 AND done_at IS NULL;

-- name: fact_days
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'interaction_events'::regclass ORDER BY day;

-- name: find_facts
-- one day of arrival, read once: no index knows who a fact is of, and none shall be paid for by every action
SELECT DISTINCT f.subject, f.session_id, f.anonymous_id FROM (
    SELECT subject, session_id, user_id, anonymous_id FROM interaction_events
    WHERE received_at >= $2 AND received_at < $3
    UNION ALL
    SELECT subject, session_id, user_id, anonymous_id FROM configuration_snapshots
    WHERE received_at >= $2 AND received_at < $3
    UNION ALL
    SELECT subject, session_id, user_id, anonymous_id FROM performance_metrics
    WHERE received_at >= $2 AND received_at < $3
    UNION ALL
    SELECT subject, session_id, user_id, anonymous_id FROM tracked_events
    WHERE received_at >= $2 AND received_at < $3
) f WHERE f.user_id = $1;

-- name: find_session_rows
SELECT session_id, subject, anonymous_id FROM user_sessions WHERE user_id = $1 OR anonymous_id = ANY($2::text[]);

-- name: find_counted
-- sessions that still count for them
SELECT session_id FROM session_rollups WHERE visitor = ANY($1::text[]);

-- name: others_of_anonymous
-- anonymous ids that somebody else was seen with: a shared device is not one person's
SELECT DISTINCT anonymous_id FROM user_sessions WHERE anonymous_id = ANY($2::text[]) AND user_id <> $1;

-- name: shared_sessions
-- those of these sessions in which somebody else is known, by name or by an anonymous id that is not one of $4
SELECT s.session_id FROM user_sessions s WHERE s.session_id = ANY($3::text[]) AND s.user_id <> $1
UNION
SELECT f.session_id FROM (
    SELECT session_id, user_id, anonymous_id FROM interaction_events
    WHERE subject = ANY($2::text[]) AND session_id = ANY($3::text[])
    UNION ALL
    SELECT session_id, user_id, anonymous_id FROM configuration_snapshots
    WHERE subject = ANY($2::text[]) AND session_id = ANY($3::text[])
    UNION ALL
    SELECT session_id, user_id, anonymous_id FROM performance_metrics
    WHERE subject = ANY($2::text[]) AND session_id = ANY($3::text[])
    UNION ALL
    SELECT session_id, user_id, anonymous_id FROM tracked_events
    WHERE subject = ANY($2::text[]) AND session_id = ANY($3::text[])
) f WHERE f.user_id <> $1 OR (f.user_id IS NULL AND f.anonymous_id <> ALL($4::text[]));

-- name: erase_interaction_events
-- $3: sessions that go as a whole; of the others only what is of $4 and of the anonymous ids $5
DELETE FROM interaction_events WHERE subject = ANY($1::text[]) AND session_id = ANY($2::text[])
    AND (session_id = ANY($3::text[]) OR user_id = $4 OR (user_id IS NULL AND anonymous_id = ANY($5::text[])));

-- name: erase_configuration_snapshots
DELETE FROM configuration_snapshots WHERE subject = ANY($1::text[]) AND session_id = ANY($2::text[])
    AND (session_id = ANY($3::text[]) OR user_id = $4 OR (user_id IS NULL AND anonymous_id = ANY($5::text[])));

-- name: erase_performance_metrics
DELETE FROM performance_metrics WHERE subject = ANY($1::text[]) AND session_id = ANY($2::text[])
    AND (session_id = ANY($3::text[]) OR user_id = $4 OR (user_id IS NULL AND anonymous_id = ANY($5::text[])))
RETURNING metric_name, value, additional_data::text, at;

-- name: erase_tracked_events
DELETE FROM tracked_events WHERE subject = ANY($1::text[]) AND session_id = ANY($2::text[])
    AND (session_id = ANY($3::text[]) OR user_id = $4 OR (user_id IS NULL AND anonymous_id = ANY($5::text[])));

-- name: erase_user_sessions
DELETE FROM user_sessions WHERE session_id = ANY($1::text[]);

-- name: clear_user_sessions
-- shared sessions whose facts retention has dropped: only the name goes
UPDATE user_sessions SET user_id = NULL, user_received_at = NULL WHERE session_id = ANY($1::text[]) AND user_id = $2;

-- name: erase_lone_metrics
-- metrics of no session
DELETE FROM performance_metrics
WHERE user_id = $1 AND session_id IS NULL AND received_at >= $2 AND received_at < $3
RETURNING metric_name, value, additional_data::text, at;

-- name: clear_referral_events
-- what happened to an organisation stays its own
UPDATE referral_events SET user_id = NULL WHERE user_id = $1 AND received_at >= $2 AND received_at < $3;

-- name: erase_course_events
DELETE FROM course_events e USING (
    SELECT subject, id, received_at FROM course_events WHERE subject = $1 LIMIT $2
) k WHERE e.subject = k.subject AND e.id = k.id AND e.received_at = k.received_at;

-- name: erase_onboarding_events
DELETE FROM onboarding_events e USING (
    SELECT subject, id, received_at FROM onboarding_events WHERE subject = $1 LIMIT $2
) k WHERE e.subject = k.subject AND e.id = k.id AND e.received_at = k.received_at;

-- name: erase_usage_records
DELETE FROM usage_records e USING (
    SELECT subject, id, received_at FROM usage_records WHERE subject = $1 LIMIT $2
) k WHERE e.subject = k.subject AND e.id = k.id AND e.received_at = k.received_at;

-- name: erase_lookups
DELETE FROM lookups WHERE subject = $1;

-- name: erase_usage_accounts
DELETE FROM usage_accounts WHERE subject = $1;

-- name: erase_usage_counters
DELETE FROM usage_counters WHERE subject = $1;

-- name: erase_usage_reservations
DELETE FROM usage_reservations WHERE subject = $1;

-- name: erase_user_progress
DELETE FROM user_progress WHERE user_id = substr($1, 6);

-- name: erase_user_courses
DELETE FROM user_courses WHERE user_id = substr($1, 6);

-- name: erase_certificates
-- who comes with the serial is told that it is gone
WITH gone AS (DELETE FROM certificates WHERE user_id = substr($1, 6) RETURNING serial)
INSERT INTO erased_certificates (digest) SELECT sha256(convert_to(serial, 'UTF8')) FROM gone ON CONFLICT DO NOTHING;

-- name: erase_onboarding_actions
DELETE FROM onboarding_actions WHERE user_id = substr($1, 6);

-- name: erase_onboarding_progress
DELETE FROM onboarding_progress WHERE user_id = substr($1, 6);

-- name: erase_onboarding_organizations
DELETE FROM onboarding_organizations WHERE user_id = substr($1, 6);

-- name: erase_flags
UPDATE flags SET changed_by = 'somebody erased' WHERE changed_by IN ($1, substr($1, 6));

-- name: effects_to_erase
-- theirs, and those of organisations that name them
SELECT subject, id FROM effects
WHERE subject = ANY($1::text[]) OR order_key = ANY($1::text[])
    OR jsonb_path_exists(data, '$.** ? (@ == $id)', jsonb_build_object('id', $2::text))
LIMIT $3;

-- name: erase_effects
WITH k AS (SELECT * FROM unnest($1::text[], $2::text[]) AS k (subject, id)),
tried AS (
    DELETE FROM delivery_attempts a USING deliveries d, k
    WHERE a.delivery = d.id AND d.subject = k.subject COLLATE "C" AND d.effect_id = k.id COLLATE "C" RETURNING 1
),
delivered AS (
    DELETE FROM deliveries d USING k
    WHERE d.subject = k.subject COLLATE "C" AND d.effect_id = k.id COLLATE "C" RETURNING 1
),
gone AS (
    DELETE FROM effects e USING k WHERE e.subject = k.subject COLLATE "C" AND e.id = k.id COLLATE "C" RETURNING 1
)
SELECT (SELECT count(*) FROM tried) AS delivery_attempts, (SELECT count(*) FROM delivered) AS deliveries,
    (SELECT count(*) FROM gone) AS effects;

-- name: all_dead_letters
SELECT id::text AS key, subject, body FROM dead_letters;

-- name: all_follow_ups
SELECT id AS key, subject, body FROM follow_ups;

-- name: erase_dead_letters
DELETE FROM dead_letters WHERE id = ANY($1::uuid[]);

-- name: erase_follow_ups
DELETE FROM follow_ups f USING unnest($1::text[], $2::text[]) AS k (subject, id)
WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C";

-- name: change_follow_up
UPDATE follow_ups SET body = $3 WHERE subject = $1 AND id = $2;

-- name: still_counted
-- whether a pass over the rollups still has to take back what these counted for
SELECT EXISTS (SELECT FROM session_rollups WHERE visitor = ANY($2::text[])) OR EXISTS (
    SELECT FROM (
        SELECT session_id FROM session_rollups WHERE session_id = ANY($1::text[])
        UNION ALL
        SELECT k.session_id FROM tracking_changes t CROSS JOIN LATERAL unnest(t.sessions) AS k (session_id)
        WHERE t.sessions && $1::text[] AND k.session_id = ANY($1::text[])
    ) c WHERE NOT EXISTS (SELECT FROM user_sessions s WHERE s.session_id = c.session_id COLLATE "C")
);

-- Everything that is held of a user ($1) or an organisation ($2), the other one null; a row of each table as JSON.

-- name: export_interaction_events
-- $3: sessions of theirs, in which not every fact says whose it is
SELECT to_jsonb(t) FROM interaction_events t WHERE t.user_id = $1 OR t.org_id = $2 OR (t.session_id = ANY($3::text[]) AND t.user_id IS NULL);

-- name: export_configuration_snapshots
-- $3: sessions of theirs, in which not every fact says whose it is
SELECT to_jsonb(t) FROM configuration_snapshots t WHERE t.user_id = $1 OR t.org_id = $2 OR (t.session_id = ANY($3::text[]) AND t.user_id IS NULL);

-- name: export_performance_metrics
-- $3: sessions of theirs, in which not every fact says whose it is
SELECT to_jsonb(t) FROM performance_metrics t WHERE t.user_id = $1 OR t.org_id = $2 OR (t.session_id = ANY($3::text[]) AND t.user_id IS NULL);

-- name: export_tracked_events
-- $3: sessions of theirs, in which not every fact says whose it is
SELECT to_jsonb(t) FROM tracked_events t WHERE t.user_id = $1 OR t.org_id = $2 OR (t.session_id = ANY($3::text[]) AND t.user_id IS NULL);

-- name: export_course_events
SELECT to_jsonb(t) FROM course_events t WHERE t.user_id = $1 OR t.org_id = $2;

-- name: export_onboarding_events
SELECT to_jsonb(t) FROM onboarding_events t WHERE t.user_id = $1 OR t.org_id = $2;

-- name: export_referral_events
SELECT to_jsonb(t) FROM referral_events t WHERE t.user_id = $1 OR t.org_id = $2;

-- name: export_usage_records
SELECT to_jsonb(t) FROM usage_records t WHERE t.user_id = $1 OR t.org_id = $2;

-- name: export_user_sessions
SELECT to_jsonb(t) FROM user_sessions t WHERE t.user_id = $1 OR t.org_id = $2;

-- name: export_onboarding_progress
SELECT to_jsonb(t) FROM onboarding_progress t WHERE t.user_id = $1 OR t.org_id = $2;

-- name: export_onboarding_organizations
SELECT to_jsonb(t) FROM onboarding_organizations t WHERE t.user_id = $1 OR t.org_id = $2;

-- name: export_onboarding_actions
SELECT to_jsonb(t) FROM onboarding_actions t WHERE t.user_id = $1 AND $2::text IS NULL;

-- name: export_user_progress
SELECT to_jsonb(t) FROM user_progress t WHERE t.user_id = $1 AND $2::text IS NULL;

-- name: export_user_courses
SELECT to_jsonb(t) FROM user_courses t WHERE t.user_id = $1 AND $2::text IS NULL;

-- name: export_certificates
SELECT to_jsonb(t) FROM certificates t WHERE t.user_id = $1 AND $2::text IS NULL;

-- name: export_referral_organizations
SELECT to_jsonb(t) FROM referral_organizations t WHERE t.org_id = $2 AND $1::text IS NULL;

-- name: export_referral_codes
SELECT to_jsonb(t) FROM referral_codes t WHERE t.org_id = $2 AND $1::text IS NULL;

-- name: export_referrals
SELECT to_jsonb(t) FROM referrals t WHERE $2 IN (t.referrer_org_id, t.referred_org_id) AND $1::text IS NULL;

-- name: export_referral_rewards
SELECT to_jsonb(t) FROM referral_rewards t WHERE t.org_id = $2 AND $1::text IS NULL;

-- name: export_usage_accounts
SELECT to_jsonb(t) FROM usage_accounts t WHERE t.subject IN ('user:' || $1, 'org:' || $2);

-- name: export_usage_counters
SELECT to_jsonb(t) FROM usage_counters t WHERE t.subject IN ('user:' || $1, 'org:' || $2);

-- name: export_usage_reservations
SELECT to_jsonb(t) FROM usage_reservations t WHERE t.subject IN ('user:' || $1, 'org:' || $2);

-- name: export_effects
SELECT to_jsonb(t) FROM effects t WHERE t.subject IN ('user:' || $1, 'org:' || $2);

-- name: export_deliveries
-- with every try
SELECT to_jsonb(t) || jsonb_build_object('tries', (
    SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY a.number), '[]') FROM delivery_attempts a WHERE a.delivery = t.id
)) FROM deliveries t WHERE t.subject IN ('user:' || $1, 'org:' || $2);

-- name: export_session_rollups
SELECT jsonb_build_object('session_id', t.session_id, 'visitor', t.visitor, 'hour', t.hour)
FROM session_rollups t WHERE t.visitor = 'user:' || $1 AND $2::text IS NULL;

-- name: export_visitor_hours
SELECT to_jsonb(t) FROM visitor_hours t WHERE t.visitor = 'user:' || $1 AND $2::text IS NULL;

-- name: wait_for_reader
-- of an export: who reads slowly leaves its transaction idle
SELECT set_config('idle_in_transaction_session_timeout', $1, true);

-- name: sessions_to_export
SELECT session_id FROM user_sessions WHERE user_id = $1;
