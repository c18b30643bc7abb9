-- name: fact_lessons
-- the courses of all lessons that these users did something in
SELECT lesson_id, course_id FROM lessons
WHERE lesson_id IN (SELECT f.data ->> 'lessonId' FROM course_events f WHERE f.subject = ANY($1::text[]));

-- name: fact_courses
SELECT DISTINCT f.data ->> 'courseId' FROM course_events f WHERE f.subject = ANY($1::text[]) AND f.data ? 'courseId';

-- name: course_facts
-- what is ruled about a certificate comes behind what it is issued for
SELECT subject, id, kind, user_id, org_id, data, at, received_at, flags FROM course_events
WHERE subject = ANY($1::text[]) ORDER BY kind LIKE 'certificate.%', received_at, id;

-- name: count_user_progress
-- the planner's estimate; -1 before the first ANALYZE
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'user_progress'::regclass;

-- name: page_user_progress
SELECT user_id, lesson_id FROM user_progress WHERE (user_id, lesson_id) > ($1, $2) ORDER BY user_id, lesson_id LIMIT $3;

-- name: orphan_user_progress
SELECT DISTINCT substr(f.subject, 6), f.data ->> 'lessonId' FROM course_events f
WHERE f.data ? 'lessonId' AND NOT EXISTS (
    SELECT FROM user_progress p
    WHERE p.user_id = substr(f.subject, 6) COLLATE "C" AND p.lesson_id = (f.data ->> 'lessonId') COLLATE "C"
);

-- name: kept_user_progress
SELECT
    p.user_id, p.lesson_id, p.id, p.created_at, p.updated_at, p.received_at, p.course_id, p.completed,
    p.watched_seconds, p.set_seconds, p.completed_changed_at, p.first_completed_at, p.first_completion_received_at,
    p.claimed_course_id, p.claimed_at, p.touched_at, p.last_deleted_at
FROM unnest($1::text[], $2::text[]) AS k (user_id, lesson_id)
JOIN user_progress p ON p.user_id = k.user_id COLLATE "C" AND p.lesson_id = k.lesson_id COLLATE "C";

-- name: delete_user_progress
DELETE FROM user_progress p USING unnest($1::text[], $2::text[]) AS k (user_id, lesson_id)
WHERE p.user_id = k.user_id COLLATE "C" AND p.lesson_id = k.lesson_id COLLATE "C";

-- name: count_user_courses
-- the planner's estimate; -1 before the first ANALYZE
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'user_courses'::regclass;

-- name: page_user_courses
SELECT user_id, course_id FROM user_courses WHERE (user_id, course_id) > ($1, $2) ORDER BY user_id, course_id LIMIT $3;

-- name: orphan_user_courses
SELECT DISTINCT f.user_id, f.course_id FROM (
    SELECT substr(e.subject, 6) AS user_id, coalesce(l.course_id, e.data ->> 'courseId', '') AS course_id
    FROM course_events e LEFT JOIN lessons l ON l.lesson_id = e.data ->> 'lessonId'
    WHERE e.kind LIKE 'lesson.%' OR e.kind = 'course.enrolled'
) f
WHERE NOT EXISTS (
    SELECT FROM user_courses u WHERE u.user_id = f.user_id COLLATE "C" AND u.course_id = f.course_id COLLATE "C"
);

-- name: kept_user_courses
SELECT
    u.user_id, u.course_id, u.received_at, u.declared_at, u.learner_name, u.named_at, u.enrolled_at, u.last_at,
    u.lessons_total, u.lessons_completed, u.watch_time_seconds, u.completed_at
FROM unnest($1::text[], $2::text[]) AS k (user_id, course_id)
JOIN user_courses u ON u.user_id = k.user_id COLLATE "C" AND u.course_id = k.course_id COLLATE "C";

-- name: delete_user_courses
DELETE FROM user_courses u USING unnest($1::text[], $2::text[]) AS k (user_id, course_id)
WHERE u.user_id = k.user_id COLLATE "C" AND u.course_id = k.course_id COLLATE "C";

-- name: told_certificates
-- the certificates that outcomes name, with the arrival of the first that did: they were issued, whatever is taught now
SELECT DISTINCT ON (1, 2) substr(f.subject, 6) AS user_id, n.course_id, n.serial, f.received_at
FROM course_events f CROSS JOIN LATERAL (
    SELECT f.outcome #>> '{course,courseId}', f.outcome ->> 'certificate'
    WHERE jsonb_typeof(f.outcome -> 'certificate') = 'string'
    UNION ALL
    SELECT f.outcome #>> '{certificate,courseId}', f.outcome #>> '{certificate,serial}'
    WHERE f.outcome -> 'certificate' ? 'serial'
    UNION ALL
    SELECT t.key, t.value FROM jsonb_each_text(coalesce(f.outcome -> 'certificates', '{}')) t
) n (course_id, serial)
WHERE f.subject = ANY($1::text[]) ORDER BY 1, 2, f.received_at, n.serial;

-- name: count_certificates
-- the planner's estimate; -1 before the first ANALYZE
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'certificates'::regclass;

-- name: page_certificates
SELECT user_id, course_id FROM certificates WHERE (user_id, course_id) > ($1, $2) ORDER BY user_id, course_id LIMIT $3;

-- name: orphan_certificates
-- whoever was told of one that is not there, or has completed what the course asks for now
SELECT t.user_id, t.course_id FROM (
    SELECT DISTINCT substr(f.subject, 6) AS user_id, n.course_id
    FROM course_events f CROSS JOIN LATERAL (
        SELECT f.outcome #>> '{course,courseId}' WHERE jsonb_typeof(f.outcome -> 'certificate') = 'string'
        UNION ALL
        SELECT jsonb_object_keys(coalesce(f.outcome -> 'certificates', '{}'))
    ) n (course_id)
) t
WHERE NOT EXISTS (
    SELECT FROM certificates f WHERE f.user_id = t.user_id COLLATE "C" AND f.course_id = t.course_id COLLATE "C"
)
UNION
SELECT u.user_id, u.course_id FROM user_courses u JOIN courses c ON c.course_id = u.course_id
WHERE c.certificate <> 'none' AND c.deleted_at IS NULL
  AND NOT EXISTS (SELECT FROM certificates f WHERE f.user_id = u.user_id AND f.course_id = u.course_id)
  AND (
    SELECT count(p.first_completed_at) > 0
       AND (c.certificate = 'lesson_completed' OR count(*) = count(p.first_completed_at))
    FROM lessons l LEFT JOIN user_progress p ON p.user_id = u.user_id AND p.lesson_id = l.lesson_id
    WHERE l.course_id = c.course_id AND l.removed_at IS NULL
  );

-- name: kept_certificates
-- the last column: since when there can be facts of it
SELECT
    f.serial, f.user_id, f.course_id, f.issued_at, f.revoked_at, f.revoked_reason, f.ruled_at, f.learner_name,
    least(f.issued_at, u.received_at) AS since
FROM unnest($1::text[], $2::text[]) AS k (user_id, course_id)
JOIN certificates f ON f.user_id = k.user_id COLLATE "C" AND f.course_id = k.course_id COLLATE "C"
LEFT JOIN user_courses u ON u.user_id = f.user_id AND u.course_id = f.course_id;

-- name: mend_serials
-- the arrays come ordered by (user_id, course_id)
UPDATE certificates f SET serial = k.serial FROM unnest($1::text[], $2::text[], $3::text[]) AS k (user_id, course_id, serial)
WHERE f.user_id = k.user_id COLLATE "C" AND f.course_id = k.course_id COLLATE "C" AND f.serial <> k.serial;

-- name: delete_certificates
DELETE FROM certificates f USING unnest($1::text[], $2::text[]) AS k (user_id, course_id)
WHERE f.user_id = k.user_id COLLATE "C" AND f.course_id = k.course_id COLLATE "C";
