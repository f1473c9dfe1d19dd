-- name: workspace_make
INSERT INTO workspace (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: workspace_secret_make
-- $1 workspace, $2 by which its backend vouches for users, $3 by which it signs interactions and receipts.
INSERT INTO workspace_secret (workspace, user_proof, interactions) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: workspace_secrets
SELECT user_proof, interactions FROM workspace_secret WHERE workspace = $1;

-- name: workspace_secret_replace
-- $1 workspace, $2 and $3 as above; null leaves each as it is.
UPDATE workspace_secret SET user_proof = coalesce($2, user_proof), interactions = coalesce($3, interactions)
WHERE workspace = $1 RETURNING workspace;

-- name: api_key_add
INSERT INTO api_key (id, workspace, kind, role, replay, secret_hash) VALUES ($1, $2, $3, $4, $5, $6);

-- name: api_key_find
SELECT id, workspace, kind, role, replay FROM api_key
WHERE workspace = $1 AND id = $2 AND secret_hash = $3 AND revoked_at IS NULL;

-- name: api_keys_list
SELECT id, kind, role, replay, created_at, revoked_at FROM api_key WHERE workspace = $1 ORDER BY created_at, id;

-- name: api_key_revoke
UPDATE api_key SET revoked_at = clock_timestamp() WHERE workspace = $1 AND id = $2 AND revoked_at IS NULL RETURNING id;

-- name: service_keys
SELECT id, secret, retired_at FROM service_key
WHERE retired_at IS NULL OR retired_at > clock_timestamp() - make_interval(secs => $1) ORDER BY id;

-- name: service_keys_lock
-- One process makes or rotates keys at a time.
SELECT pg_advisory_xact_lock(hashtext('geo_offers.service_key'));

-- name: service_keys_retire
UPDATE service_key SET retired_at = clock_timestamp() WHERE retired_at IS NULL;

-- name: service_key_add
INSERT INTO service_key (secret) VALUES ($1);

-- name: service_keys_forget
DELETE FROM service_key WHERE retired_at < clock_timestamp() - make_interval(secs => $1);
