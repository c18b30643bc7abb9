-- name: read_catalog
-- the body only when it is not the one that is known already
SELECT version, CASE WHEN version <> $1 THEN body END AS body FROM catalog;

-- name: store_catalog
-- the version is made of the body: storing the same again changes nothing; `parsed` is for views
INSERT INTO catalog (version, body, parsed) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET version = EXCLUDED.version, body = EXCLUDED.body, parsed = EXCLUDED.parsed, stored_at = now()
WHERE catalog.version <> EXCLUDED.version
RETURNING version;

-- name: keep_catalog
-- what was stored before stays
INSERT INTO catalog (version, body, parsed) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING RETURNING version;

-- name: list_flags
SELECT family, enabled, changed_at, changed_by FROM flags ORDER BY family;

-- name: set_flag
INSERT INTO flags (family, enabled, changed_by) VALUES ($1, $2, $3)
ON CONFLICT (family) DO UPDATE SET enabled = EXCLUDED.enabled, changed_at = now(), changed_by = EXCLUDED.changed_by
WHERE flags.enabled <> EXCLUDED.enabled;
