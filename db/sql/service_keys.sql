-- name: create_service_key
-- the same key given again (a second `make up`) stays as it is
INSERT INTO service_keys (name, hash, scopes) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING;

-- name: revoke_service_key
UPDATE service_keys SET revoked_at = now()
WHERE (id::text = $1 OR name = $1) AND revoked_at IS NULL RETURNING hash;

-- name: find_service_key
SELECT id, name, scopes FROM service_keys WHERE hash = $1 AND revoked_at IS NULL;

-- name: list_service_keys
SELECT id, name, scopes, created_at, revoked_at FROM service_keys ORDER BY created_at, id;
