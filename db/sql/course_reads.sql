-- name: read_enrolment
SELECT
    user_id, course_id, received_at, declared_at, learner_name, named_at, enrolled_at, last_at, lessons_total,
    lessons_completed, watch_time_seconds, completed_at
FROM user_courses WHERE user_id = $1 AND course_id = $2;

-- name: count_lessons
SELECT (SELECT count(*) FROM lessons l WHERE l.course_id = c.course_id AND l.removed_at IS NULL) AS total
FROM courses c WHERE c.course_id = $1 AND c.deleted_at IS NULL;

-- name: list_progress
-- one page of a user's lessons, the newest change first; each filter may be null
SELECT
    user_id, lesson_id, id, created_at, updated_at, received_at, course_id, completed, watched_seconds, set_seconds,
    completed_changed_at, first_completed_at, first_completion_received_at, claimed_course_id, claimed_at, touched_at,
    last_deleted_at
FROM user_progress
WHERE user_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR course_id = $2)
  AND ($3::text IS NULL OR lesson_id = $3) AND ($4::boolean IS NULL OR completed = $4)
ORDER BY updated_at DESC, lesson_id LIMIT $5 OFFSET $6;

-- name: count_progress
SELECT count(*) FROM user_progress
WHERE user_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR course_id = $2)
  AND ($3::text IS NULL OR lesson_id = $3) AND ($4::boolean IS NULL OR completed = $4);

-- name: find_progress
-- by the id of the row, of a lesson that is not deleted
SELECT
    user_id, lesson_id, id, created_at, updated_at, received_at, course_id, completed, watched_seconds, set_seconds,
    completed_changed_at, first_completed_at, first_completion_received_at, claimed_course_id, claimed_at, touched_at,
    last_deleted_at
FROM user_progress WHERE id = $1 AND deleted_at IS NULL;

-- name: find_lesson_progress
SELECT
    user_id, lesson_id, id, created_at, updated_at, received_at, course_id, completed, watched_seconds, set_seconds,
    completed_changed_at, first_completed_at, first_completion_received_at, claimed_course_id, claimed_at, touched_at,
    last_deleted_at
FROM user_progress WHERE user_id = $1 AND lesson_id = $2 AND deleted_at IS NULL;
