-- Privacy: an erasure is carried out by one at a time; certificates of who was erased are gone, not unknown.
-- depends: 0015_sessions_aside

-- migrate: apply

-- Until `lease_until` the order is `holder`'s, who moves it ahead; without a holder it rests until then.
ALTER TABLE erasures ADD COLUMN holder uuid;
ALTER TABLE erasures ADD COLUMN lease_until timestamptz;
ALTER TABLE erasures ADD COLUMN tries int NOT NULL DEFAULT 0;
ALTER TABLE erasures ADD COLUMN stage text;
ALTER TABLE erasures ADD COLUMN failure text;

CREATE INDEX erasures_requested ON erasures (requested_at, id);

-- SHA-256 of the serials; nobody can tell from one whose it was, nor guess the other way round.
CREATE TABLE erased_certificates (digest bytea PRIMARY KEY);

-- migrate: rollback

DROP TABLE erased_certificates;
DROP INDEX erasures_requested;
ALTER TABLE erasures DROP COLUMN failure;
ALTER TABLE erasures DROP COLUMN stage;
ALTER TABLE erasures DROP COLUMN tries;
ALTER TABLE erasures DROP COLUMN lease_until;
ALTER TABLE erasures DROP COLUMN holder;
