-- name: latest_sessions
-- newest first, behind ($2, $3); $5: of people, of bots, of both, each read by the index in its order
SELECT s.* FROM unnest($5::boolean[]) AS k (robot) CROSS JOIN LATERAL (
    SELECT
        session_id, subject, at, last_at, ended_at, interactions, device_type, last_category, total_price,
        completion_percentage, completed_at, is_bot
    FROM user_sessions
    WHERE is_bot = k.robot AND at >= $1 AND (at, session_id) < ($2, $3::text COLLATE "C")
    ORDER BY at DESC, session_id DESC LIMIT $4
) s ORDER BY s.at DESC, s.session_id DESC LIMIT $4;

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
