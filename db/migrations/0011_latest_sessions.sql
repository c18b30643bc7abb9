-- The newest sessions, for operators. A BRIN, as sessions come nearly in the order of their beginnings: a few pages.
-- depends: 0010_analytics

-- migrate: apply

CREATE INDEX user_sessions_begun ON user_sessions USING brin (at);

-- migrate: rollback

DROP INDEX user_sessions_begun;
