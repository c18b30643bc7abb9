-- name: ids
-- of what the client sent; our own follow-ups have other ids
SELECT id FROM onboarding_events WHERE id LIKE 'ajs-%'
UNION ALL SELECT id FROM course_events WHERE id LIKE 'ajs-%'
UNION ALL SELECT id FROM referral_events WHERE id LIKE 'ajs-%';

-- name: firsts
SELECT user_id, action, first_at, last_at, count FROM onboarding_actions;

-- name: lessons
SELECT user_id, lesson_id, completed FROM user_progress;

-- name: certificates
SELECT user_id, course_id FROM certificates;

-- name: referrals
SELECT referrer_org_id, referred_org_id, status::text FROM referrals;

-- name: rewards
SELECT org_id, referred_org_id, side FROM referral_rewards;

-- name: effects
SELECT type, subject, CASE WHEN type = 'certificate.issued' THEN data->>'courseId' END FROM effects;

-- name: messages
SELECT message_id FROM effects;

-- name: waiting
SELECT (SELECT count(*) FROM follow_ups) + (SELECT count(*) FROM deliveries WHERE status = 'pending');

-- name: ended
SELECT count(*) FROM deliveries WHERE status <> 'pending';

-- name: undelivered
SELECT type, status, tries, reason, round(extract(epoch FROM due_at - now())) AS due_in FROM deliveries
WHERE status <> 'delivered' LIMIT 10;

-- name: people
SELECT user_id FROM onboarding_actions UNION SELECT user_id FROM user_courses;
