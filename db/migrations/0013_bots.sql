-- Sessions of declared bots: kept, marked, and not counted among people.
-- depends: 0012_privacy

-- migrate: apply

ALTER TABLE user_sessions ADD COLUMN is_bot boolean NOT NULL DEFAULT false;

-- migrate: rollback

ALTER TABLE user_sessions DROP COLUMN is_bot;
