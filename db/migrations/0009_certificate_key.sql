-- Certificates: what their serials are made with, of this installation alone.
-- depends: 0008_usage

-- migrate: apply

CREATE TABLE certificate_key (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    key uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO certificate_key DEFAULT VALUES;

-- migrate: rollback

DROP TABLE certificate_key;
