-- name: latest_sessions
SELECT
    session_id, subject, at, last_at, ended_at, interactions, device_type, last_category, total_price,
    completion_percentage, completed_at
FROM user_sessions WHERE at >= $1 AND at < $2 ORDER BY at DESC, session_id LIMIT $3;

-- name: courses_overview
-- of those that exist and those that somebody is enrolled in; a course that nobody described has no title
WITH taken AS (
    SELECT
        course_id, count(*) AS enrolments, count(*) FILTER (WHERE completed_at IS NOT NULL) AS completions,
        sum(watch_time_seconds)::bigint AS watch_time
    FROM user_courses WHERE enrolled_at IS NOT NULL GROUP BY course_id
), given AS (
    SELECT
        course_id, count(*) FILTER (WHERE revoked_at IS NULL) AS valid,
        count(*) FILTER (WHERE revoked_at IS NOT NULL) AS revoked
    FROM certificates GROUP BY course_id
)
SELECT
    course_id, c.title, coalesce(t.enrolments, 0) AS enrolments, coalesce(t.completions, 0) AS completions,
    coalesce(t.watch_time, 0) AS watch_time, coalesce(g.valid, 0) AS valid, coalesce(g.revoked, 0) AS revoked,
    c.deleted_at IS NOT NULL AS deleted
FROM courses c FULL JOIN taken t USING (course_id) FULL JOIN given g USING (course_id)
ORDER BY 3 DESC, 4 DESC, 1 LIMIT $1;
