-- name: newest_courses
-- a user's courses, those that changed last first; without the row that stands for lessons of no known course
SELECT
    user_id, course_id, received_at, declared_at, learner_name, named_at, enrolled_at, last_at, lessons_total,
    lessons_completed, watch_time_seconds, completed_at
FROM user_courses WHERE user_id = $1 AND course_id <> '' ORDER BY last_at DESC, course_id LIMIT $2;

-- name: newest_referrals
-- an organisation's, from either side
(
    SELECT referrer_org_id, referred_org_id, code, created_at, completed_at, rewarded_at
    FROM referrals WHERE referrer_org_id = $1 ORDER BY created_at DESC, referred_org_id LIMIT $2
)
UNION ALL
SELECT referrer_org_id, referred_org_id, code, created_at, completed_at, rewarded_at
FROM referrals WHERE referred_org_id = $1;
