-- name: share_courses
-- until this batch is committed no course changes: whoever changes one finds all that was reckoned by the old one
SELECT (SELECT key FROM certificate_key), pg_advisory_xact_lock_shared(7310575178854134885);

-- name: known_course_events
-- which of these (subject, id) were applied since $3; OFFSET 0 demands an index probe for each, where a planner without
-- statistics took ten times as long to hash the whole day
SELECT e.subject, e.id, e.kind, e.outcome
FROM unnest($1::text[], $2::text[]) AS k (subject, id)
CROSS JOIN LATERAL (
    SELECT f.subject, f.id, f.kind, f.outcome FROM course_events f
    WHERE f.subject = k.subject COLLATE "C" AND f.id = k.id COLLATE "C" AND f.received_at >= $3
    OFFSET 0
) e;

-- name: load_lessons
SELECT lesson_id, course_id FROM lessons WHERE lesson_id = ANY($1::text[]);

-- name: load_homes
-- the courses that these lessons of these users count in now
SELECT p.user_id, p.course_id, p.claimed_course_id
FROM unnest($1::text[], $2::text[]) AS k (user_id, lesson_id)
JOIN user_progress p ON p.user_id = k.user_id COLLATE "C" AND p.lesson_id = k.lesson_id COLLATE "C";

-- name: load_strays
-- lessons that the catalog has in another course than they count in
SELECT p.user_id, p.lesson_id, p.course_id AS held_in, l.course_id
FROM user_progress p JOIN lessons l ON l.lesson_id = p.lesson_id
WHERE p.user_id = ANY($1::text[]) AND p.course_id IS DISTINCT FROM l.course_id;

-- name: load_courses
SELECT c.course_id, c.title, c.certificate, c.updated_at, c.deleted_at, ARRAY(
    SELECT l.lesson_id FROM lessons l WHERE l.course_id = c.course_id AND l.removed_at IS NULL
)
FROM courses c WHERE c.course_id = ANY($1::text[]);

-- name: load_progress
-- every lesson of these users in these courses, and the lessons of the users $3 that are in none
SELECT
    p.user_id, p.lesson_id, p.id, p.created_at, p.updated_at, p.received_at, p.course_id, p.completed,
    p.watched_seconds, p.set_seconds, p.completed_changed_at, p.first_completed_at, p.first_completion_received_at,
    p.claimed_course_id, p.claimed_at, p.touched_at, p.last_deleted_at
FROM unnest($1::text[], $2::text[]) AS k (user_id, course_id)
JOIN user_progress p ON p.user_id = k.user_id COLLATE "C" AND p.course_id = k.course_id COLLATE "C"
UNION ALL
SELECT
    p.user_id, p.lesson_id, p.id, p.created_at, p.updated_at, p.received_at, p.course_id, p.completed,
    p.watched_seconds, p.set_seconds, p.completed_changed_at, p.first_completed_at, p.first_completion_received_at,
    p.claimed_course_id, p.claimed_at, p.touched_at, p.last_deleted_at
FROM unnest($3::text[]) AS k (user_id)
JOIN user_progress p ON p.user_id = k.user_id COLLATE "C" AND p.course_id IS NULL;

-- name: load_enrolments
-- a join, where = ANY took longer to plan than to run: 10 ms for 4,000 users
SELECT
    u.user_id, u.course_id, u.received_at, u.declared_at, u.learner_name, u.named_at, u.enrolled_at, u.last_at,
    u.lessons_total, u.lessons_completed, u.watch_time_seconds, u.completed_at
FROM unnest($1::text[]) AS k (user_id) JOIN user_courses u ON u.user_id = k.user_id COLLATE "C";

-- name: load_certificates
SELECT
    f.serial, f.user_id, f.course_id, f.issued_at, f.revoked_at, f.revoked_reason, f.ruled_at, f.learner_name, c.title
FROM unnest($1::text[]) AS k (user_id)
JOIN certificates f ON f.user_id = k.user_id COLLATE "C" LEFT JOIN courses c ON c.course_id = f.course_id;

-- name: save_progress
-- the arrays come ordered by (user_id, lesson_id)
INSERT INTO user_progress (
    user_id, lesson_id, id, created_at, updated_at, received_at, course_id, completed, watched_seconds, set_seconds,
    completed_changed_at, first_completed_at, first_completion_received_at, claimed_course_id, claimed_at, touched_at,
    last_deleted_at
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::text[],
    $8::boolean[], $9::bigint[], $10::bigint[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[],
    $14::text[], $15::timestamptz[], $16::timestamptz[], $17::timestamptz[]
)
ON CONFLICT (user_id, lesson_id) DO UPDATE SET
    created_at = EXCLUDED.created_at, updated_at = EXCLUDED.updated_at, received_at = EXCLUDED.received_at,
    course_id = EXCLUDED.course_id, completed = EXCLUDED.completed, watched_seconds = EXCLUDED.watched_seconds,
    set_seconds = EXCLUDED.set_seconds, completed_changed_at = EXCLUDED.completed_changed_at,
    first_completed_at = EXCLUDED.first_completed_at,
    first_completion_received_at = EXCLUDED.first_completion_received_at,
    claimed_course_id = EXCLUDED.claimed_course_id, claimed_at = EXCLUDED.claimed_at,
    touched_at = EXCLUDED.touched_at, last_deleted_at = EXCLUDED.last_deleted_at;

-- name: save_enrolments
-- the arrays come ordered by (user_id, course_id)
INSERT INTO user_courses (
    user_id, course_id, received_at, declared_at, learner_name, named_at, enrolled_at, last_at, lessons_total,
    lessons_completed, watch_time_seconds, completed_at
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::int[], $10::int[], $11::bigint[], $12::timestamptz[]
)
ON CONFLICT (user_id, course_id) DO UPDATE SET
    received_at = EXCLUDED.received_at, declared_at = EXCLUDED.declared_at, learner_name = EXCLUDED.learner_name,
    named_at = EXCLUDED.named_at, enrolled_at = EXCLUDED.enrolled_at, last_at = EXCLUDED.last_at,
    lessons_total = EXCLUDED.lessons_total, lessons_completed = EXCLUDED.lessons_completed,
    watch_time_seconds = EXCLUDED.watch_time_seconds, completed_at = EXCLUDED.completed_at;

-- name: save_certificates
-- serial and issue time are those of the first; the arrays come ordered by (user_id, course_id)
INSERT INTO certificates (
    serial, user_id, course_id, issued_at, revoked_at, revoked_reason, ruled_at, learner_name
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::timestamptz[], $8::text[]
)
ON CONFLICT (user_id, course_id) DO UPDATE SET
    revoked_at = EXCLUDED.revoked_at, revoked_reason = EXCLUDED.revoked_reason, ruled_at = EXCLUDED.ruled_at,
    learner_name = EXCLUDED.learner_name;

-- name: save_lookups
-- the same action again, from a log that is read once more, waits once
INSERT INTO lookups (subject, id, body) SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[])
ON CONFLICT (subject, id) DO NOTHING;
