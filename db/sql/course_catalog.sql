-- name: lock_courses
-- waits for the batches under way, which share it
SELECT pg_advisory_xact_lock(7310575178854134885);

-- name: read_course
SELECT title, certificate, version, updated_at, deleted_at FROM courses WHERE course_id = $1;

-- name: read_lessons
SELECT lesson_id, title, duration_seconds FROM lessons WHERE course_id = $1 AND removed_at IS NULL ORDER BY position;

-- name: lessons_of_others
SELECT lesson_id, course_id FROM lessons
WHERE lesson_id = ANY($2::text[]) AND course_id <> $1 AND removed_at IS NULL;

-- name: store_course
INSERT INTO courses (course_id, title, certificate, version, updated_at) VALUES ($1, $2, $3, 1, $4)
ON CONFLICT (course_id) DO UPDATE SET
    title = EXCLUDED.title, certificate = EXCLUDED.certificate, version = courses.version + 1,
    updated_at = EXCLUDED.updated_at, deleted_at = NULL, pending = true, watermark = ''
RETURNING version;

-- name: delete_course
UPDATE courses SET version = version + 1, updated_at = $2, deleted_at = $2, pending = true, watermark = ''
WHERE course_id = $1 AND deleted_at IS NULL RETURNING version;

-- name: remove_lessons
-- progress in them stays, and stays in this course, until another one takes them
UPDATE lessons SET removed_at = $3 WHERE course_id = $1 AND removed_at IS NULL AND lesson_id <> ALL($2::text[]);

-- name: store_lessons
INSERT INTO lessons (lesson_id, course_id, title, duration_seconds, position)
SELECT k.lesson_id, $1, k.title, k.duration_seconds, k.position
FROM unnest($2::text[], $3::text[], $4::int[]) WITH ORDINALITY AS k (lesson_id, title, duration_seconds, position)
ON CONFLICT (lesson_id) DO UPDATE SET
    course_id = EXCLUDED.course_id, title = EXCLUDED.title, duration_seconds = EXCLUDED.duration_seconds,
    position = EXCLUDED.position, removed_at = NULL;

-- name: lock_pending
SELECT course_id, version, watermark FROM courses WHERE pending ORDER BY course_id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: page_users
-- who is in the course, and whose lessons of it still count elsewhere
SELECT user_id FROM (
    (SELECT u.user_id FROM user_courses u WHERE u.course_id = $1 AND u.user_id > $2 ORDER BY u.user_id LIMIT $3)
    UNION
    SELECT p.user_id FROM lessons l JOIN user_progress p ON p.lesson_id = l.lesson_id
    WHERE l.course_id = $1 AND p.user_id > $2 AND p.course_id IS DISTINCT FROM $1
) users
ORDER BY user_id LIMIT $3;

-- name: move_watermark
UPDATE courses SET watermark = $2, pending = $3 WHERE course_id = $1;

-- name: know_lesson
-- of this course, but not among the lessons that count
INSERT INTO lessons (lesson_id, course_id, title, position, removed_at) VALUES ($1, $2, $3, 0, $4)
ON CONFLICT (lesson_id) DO NOTHING;
