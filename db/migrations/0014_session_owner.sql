-- The user of a session is who came first by arrival, which no client can set; before, it was the newest.
-- depends: 0013_bots

-- migrate: apply

ALTER TABLE user_sessions RENAME COLUMN user_at TO user_received_at;

-- migrate: rollback

ALTER TABLE user_sessions RENAME COLUMN user_received_at TO user_at;
