-- The newest sessions of people, however many bots there are: one index, people and bots each in the order of time.
-- depends: 0019_onboarding_days

-- migrate: apply

DROP INDEX user_sessions_begun;
CREATE INDEX user_sessions_begun ON user_sessions (is_bot, at, session_id);

-- migrate: rollback

DROP INDEX user_sessions_begun;
CREATE INDEX user_sessions_begun ON user_sessions (at DESC, session_id);
