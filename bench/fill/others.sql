-- name: usage_accounts
-- $1 people; seven of ten on the default plan
INSERT INTO usage_accounts (subject, first_at, plan, overrides, rules, metered, revision)
SELECT
    'user:user-' || lpad(n::text, 7, '0'), $2::timestamptz - interval '90 days',
    CASE WHEN n % 10 < 7 THEN NULL WHEN n % 10 < 9 THEN 'PROFESSIONAL' ELSE 'ENTERPRISE' END,
    '{}', $3::jsonb, true, 1
FROM generate_series(1, $1::int) n;

-- name: usage_counters
-- three months of four meters, and a gauge; two months are closed
INSERT INTO usage_counters (
    subject, action, period_start, period_end, used, reserved, records, plan, limit_version, limit_value, hard, notified,
    revision, closed_at, updated_at
)
SELECT
    'user:user-' || lpad(n::text, 7, '0'), m.action, p.starts, p.ends, u.used, 0, u.used, l.plan, l.plan || ':1',
    CASE l.plan WHEN 'FREE' THEN m.free WHEN 'PROFESSIONAL' THEN m.paid END, true, '[]', 1,
    CASE WHEN p.ends < $2 THEN p.ends + interval '3 days' END, least($2, p.ends)
FROM generate_series(1, $1::int) n
CROSS JOIN (VALUES
    ('DIAGRAM_UPLOAD', 5, 100), ('AI_ANALYSIS', 3, 100), ('PROCEDURE_VIEW', NULL, NULL), ('EXPORT_PDF', 0, NULL)
) m (action, free, paid)
CROSS JOIN (
    SELECT date_trunc('month', $2::timestamptz, 'UTC') - make_interval(months => k) AS starts,
        date_trunc('month', $2::timestamptz, 'UTC') - make_interval(months => k - 1) AS ends
    FROM generate_series(0, 2) k
) p
CROSS JOIN LATERAL (
    SELECT CASE WHEN n % 10 < 7 THEN 'FREE' WHEN n % 10 < 9 THEN 'PROFESSIONAL' ELSE 'ENTERPRISE' END AS plan
) l
CROSS JOIN LATERAL (
    SELECT least((abs(hashint8(n * 31 + length(m.action))) % 1000)::bigint * coalesce(m.free, 6) / 990 + n % 2,
                 coalesce(m.free, 100000)) AS used
) u;

-- name: usage_gauges
INSERT INTO usage_counters (
    subject, action, period_start, period_end, used, reserved, records, plan, limit_version, limit_value, hard, notified,
    revision, updated_at
)
SELECT
    'user:user-' || lpad(n::text, 7, '0'), 'STORAGE_BYTES', 'epoch', NULL, abs(hashint8(n)::bigint) % 104857600, 0, 9,
    'FREE', 'FREE:1', 104857600, true, '[]', 1, $2
FROM generate_series(1, $1::int) n;

-- name: usage_records
-- one of a hundred people has a hundred of them, over the days that there are
INSERT INTO usage_records (
    subject, id, kind, user_id, action, quantity, booked, period_start, period_end, number, plan, limit_version, notices,
    outcome, at, received_at, flags
)
SELECT
    'user:user-' || lpad((n * 100)::text, 7, '0'), gen_random_uuid(), 'usage.recorded',
    'user-' || lpad((n * 100)::text, 7, '0'), (ARRAY['DIAGRAM_UPLOAD', 'PROCEDURE_VIEW', 'AI_ANALYSIS'])[k % 3 + 1], 1, 1,
    date_trunc('month', t.at, 'UTC'), date_trunc('month', t.at, 'UTC') + interval '1 month', k, 'FREE', 'FREE:1', '{}',
    '{"allowed": true}', t.at, t.at, 4
FROM generate_series(1, greatest($1::int / 100, 1)) n CROSS JOIN generate_series(0, 99) k
CROSS JOIN LATERAL (SELECT $2::timestamptz - make_interval(mins => (k * 1290 + n % 1200)::int) AS at) t
ORDER BY t.at;

-- name: onboarding_steps
INSERT INTO onboarding_progress (
    user_id, step, completed_at, skipped_at, time_spent_seconds, created_at, updated_at, received_at
)
SELECT
    'user-' || lpad(n::text, 7, '0'), s.step, CASE WHEN n % 7 > 0 THEN t.at END, CASE WHEN n % 7 = 0 THEN t.at END,
    n % 300, t.begun, t.at, t.at
FROM generate_series(1, $1::int) n
CROSS JOIN LATERAL (SELECT $2::timestamptz - make_interval(secs => n % 7776000 * 7776000.0 / $1) AS begun) b
JOIN onboarding_steps s ON s.place <= 1 + n % 7
CROSS JOIN LATERAL (SELECT b.begun, b.begun + make_interval(mins => s.place) AS at) t;

-- name: onboarding_actions
INSERT INTO onboarding_actions (user_id, action, first_at, last_at, count, received_at)
SELECT 'user-' || lpad(n::text, 7, '0'), a.action, b.begun, b.begun, 1 + n % 9, b.begun
FROM generate_series(1, $1::int) n
CROSS JOIN LATERAL (SELECT $2::timestamptz - make_interval(secs => n % 7776000 * 7776000.0 / $1) AS begun) b
JOIN (VALUES ('created_clip', 2), ('added_subtitles', 3), ('shared_content', 5)) a (action, every) ON n % a.every = 0;

-- name: referral_organizations
INSERT INTO referral_organizations (org_id, code, qualified_at, received_at)
SELECT 'org-' || n, 'CLIP' || upper(to_hex(n + 65536)), NULL, $2 FROM generate_series(1, greatest($1::int / 5, 2)) n;

-- name: referral_codes
INSERT INTO referral_codes (code, org_id, created_at)
SELECT code, org_id, $2::timestamptz - make_interval(secs => abs(hashtext(org_id)) % 7776000) FROM referral_organizations
WHERE $1::int > 0;

-- name: referrals
INSERT INTO referrals (referrer_org_id, referred_org_id, code, status, created_at, completed_at, rewarded_at)
SELECT
    'org-' || 1 + (n::bigint * n % greatest($1::int / 50, 1)), 'org-' || n, 'CLIP' || upper(to_hex(n + 65536)),
    CASE WHEN n % 3 = 0 THEN 'PENDING' ELSE 'REWARDED' END::referral_status, b.begun,
    CASE WHEN n % 3 > 0 THEN b.begun + interval '1 day' END, CASE WHEN n % 3 > 0 THEN b.begun + interval '1 day' END
FROM generate_series(1 + greatest($1::int / 50, 1), greatest($1::int / 5, 2)) n
CROSS JOIN LATERAL (SELECT $2::timestamptz - make_interval(secs => abs(hashint4(n)) % 7776000) AS begun) b;

-- name: referral_rewards
INSERT INTO referral_rewards (org_id, referred_org_id, side, amount, unit, created_at)
SELECT s.org_id, r.referred_org_id, s.side, 10, 'credits', r.rewarded_at FROM referrals r
CROSS JOIN LATERAL (VALUES (r.referrer_org_id, 'referrer'), (r.referred_org_id, 'referred')) s (org_id, side)
WHERE r.rewarded_at IS NOT NULL AND $1::int > 0 AND $2::timestamptz IS NOT NULL;

-- name: courses
INSERT INTO courses (course_id, title, certificate, version, updated_at, pending)
SELECT 'course-' || n, 'Course ' || n, 'course_completed', 1, $2, false FROM generate_series(0, 49) n
WHERE $1::int > 0;

-- name: lessons
INSERT INTO lessons (lesson_id, course_id, title, duration_seconds, position)
SELECT 'lesson-' || n || '-' || k, 'course-' || n, 'Lesson ' || k, 600, k
FROM generate_series(0, 49) n CROSS JOIN generate_series(0, 9) k WHERE $1::int > 0 AND $2::timestamptz IS NOT NULL;

-- name: user_courses
-- every second of the people in one course
INSERT INTO user_courses (
    user_id, course_id, enrolled_at, lessons_total, lessons_completed, watch_time_seconds, last_at, completed_at,
    received_at
)
SELECT
    'user-' || lpad(n::text, 7, '0'), 'course-' || n % 50, b.begun, 10, n / 2 % 5 * 2 + 2, 600, b.begun,
    CASE WHEN n / 2 % 5 = 4 THEN b.begun END, b.begun
FROM generate_series(2, $1::int, 2) n
CROSS JOIN LATERAL (SELECT $2::timestamptz - make_interval(secs => abs(hashint4(n)) % 7776000) AS begun) b;

-- name: user_progress
INSERT INTO user_progress (
    id, user_id, lesson_id, course_id, completed, created_at, updated_at, watched_seconds, set_seconds,
    completed_changed_at, first_completed_at, first_completion_received_at, touched_at, received_at
)
SELECT
    gen_random_uuid(), c.user_id, 'lesson-' || substr(c.course_id, 8) || '-' || k, c.course_id, true, c.last_at,
    c.last_at + make_interval(mins => k), 60, 0, c.last_at, c.last_at, c.last_at, c.last_at, c.received_at
FROM user_courses c CROSS JOIN generate_series(0, 4) k WHERE $1::int > 0 AND $2::timestamptz IS NOT NULL;

-- name: certificates
INSERT INTO certificates (serial, user_id, course_id, issued_at)
SELECT upper(md5(user_id)), user_id, course_id, completed_at FROM user_courses
WHERE completed_at IS NOT NULL AND $1::int > 0 AND $2::timestamptz IS NOT NULL;

-- name: destinations
INSERT INTO destinations (sort, url, types, created_at)
SELECT 'webhook', 'https://receiver-' || n || '.example.com/hook', '{}', $2 FROM generate_series(1, 5) n
WHERE $1::int > 0;

-- name: effects
INSERT INTO effects (subject, id, message_id, type, at, data, created_at, number)
SELECT
    'user:user-' || lpad(n::text, 7, '0'), 'effect-' || n, 'msg_' || md5(n::text), (ARRAY[
        'certificate.issued', 'usage.threshold', 'referral.rewarded', 'onboarding.completed'])[n % 4 + 1], t.at,
    '{"courseId": "course-1", "userId": "user-1"}', t.at, n % 100
FROM generate_series(1, $1::int) n
CROSS JOIN LATERAL (SELECT $2::timestamptz - make_interval(secs => n % 2592000 * 2592000.0 / $1) AS at) t;

-- name: deliveries
-- one of a hundred is dead, one of a thousand waits
INSERT INTO deliveries (
    subject, effect_id, type, destination, status, attempts, tries, created_at, number, opened_at, due_at, enqueue_at,
    done_at
)
SELECT
    e.subject, e.id, e.type, d.id, s.status, 1, 1, e.created_at, e.number, e.created_at, e.created_at + interval '1 year',
    e.created_at + interval '1 year', CASE WHEN s.status <> 'pending' THEN e.created_at END
FROM effects e
JOIN (SELECT id, row_number() OVER (ORDER BY url) - 1 AS place FROM destinations) d ON d.place = abs(hashtext(e.id)) % 5
CROSS JOIN LATERAL (SELECT abs(hashtext(e.message_id)) % 1000 AS one) h
CROSS JOIN LATERAL (
    SELECT CASE WHEN h.one = 0 THEN 'pending' WHEN h.one < 10 THEN 'dead' ELSE 'delivered' END AS status
) s
WHERE $1::int > 0 AND $2::timestamptz IS NOT NULL;

-- name: delivery_attempts
INSERT INTO delivery_attempts (delivery, number, at, milliseconds, status)
SELECT id, 1, created_at, 40, CASE WHEN status = 'delivered' THEN 200 ELSE 500 END FROM deliveries
WHERE $1::int > 0 AND $2::timestamptz IS NOT NULL;

-- name: dead_letters
-- one for ten people, half of them open
INSERT INTO dead_letters (partition, position, action_id, kind, subject, code, message, body, dead_at, discarded_at)
SELECT
    n % 8, n % 8 || '.1763712000000-' || n, 'action-' || n, 'interaction.recorded', 'session:dead-' || n,
    (ARRAY['unknown_kind', 'undecodable', 'refused_by_database'])[n % 3 + 1], 'a reason', '\x90', t.at,
    CASE WHEN n % 2 = 0 THEN t.at + interval '1 hour' END
FROM generate_series(1, greatest($1::int / 10, 1)) n
CROSS JOIN LATERAL (SELECT $2::timestamptz - make_interval(secs => abs(hashint4(n)) % 7776000) AS at) t;
