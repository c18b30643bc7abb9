-- name: list_course
-- one page of the lessons of everybody in a course
SELECT
    user_id, lesson_id, id, created_at, updated_at, received_at, course_id, completed, watched_seconds, set_seconds,
    completed_changed_at, first_completed_at, first_completion_received_at, claimed_course_id, claimed_at, touched_at,
    last_deleted_at
FROM user_progress WHERE course_id = $1 AND deleted_at IS NULL AND ($2::boolean IS NULL OR completed = $2)
ORDER BY updated_at DESC, user_id, lesson_id LIMIT $3 OFFSET $4;

-- name: count_course
SELECT count(*) FROM user_progress
WHERE course_id = $1 AND deleted_at IS NULL AND ($2::boolean IS NULL OR completed = $2);

-- name: list_lesson
-- one page of everybody in a lesson
SELECT
    user_id, lesson_id, id, created_at, updated_at, received_at, course_id, completed, watched_seconds, set_seconds,
    completed_changed_at, first_completed_at, first_completion_received_at, claimed_course_id, claimed_at, touched_at,
    last_deleted_at
FROM user_progress
WHERE lesson_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR course_id = $2)
  AND ($3::boolean IS NULL OR completed = $3)
ORDER BY updated_at DESC, user_id LIMIT $4 OFFSET $5;

-- name: count_lesson
SELECT count(*) FROM user_progress
WHERE lesson_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR course_id = $2)
  AND ($3::boolean IS NULL OR completed = $3);
