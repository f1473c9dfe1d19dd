-- name: credentials_all
-- $1 workspace.
SELECT lane, sealed, facts, version, created_at, created_by FROM push_credential WHERE workspace = $1 ORDER BY lane;

-- name: credential_read
-- $1 workspace, $2 lane.
SELECT sealed FROM push_credential WHERE workspace = $1 AND lane = $2;

-- name: credential_put
-- $1 workspace, $2 lane, $3 sealed, $4 facts, $5 who. `xmax` is 0 in a row that is new.
INSERT INTO push_credential (workspace, lane, sealed, facts, created_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (workspace, lane) DO UPDATE SET sealed = excluded.sealed, facts = excluded.facts,
    version = push_credential.version + 1, created_at = clock_timestamp(), created_by = excluded.created_by
RETURNING lane, facts, version, created_at, created_by, xmax = 0 AS new;

-- name: credential_delete
-- $1 workspace, $2 lane.
DELETE FROM push_credential WHERE workspace = $1 AND lane = $2 RETURNING lane;

-- name: secrets_all
-- $1 workspaces, nil for the service itself. Every secret there is, by the name that it is sealed for.
SELECT workspace, lane AS name, sealed AS kept FROM push_credential WHERE workspace = ANY ($1::uuid[])
UNION ALL SELECT workspace, 'user_proof', user_proof FROM workspace_secret WHERE workspace = ANY ($1::uuid[])
UNION ALL SELECT workspace, 'interactions', interactions FROM workspace_secret WHERE workspace = ANY ($1::uuid[])
UNION ALL SELECT workspace, 'webhook ' || id, secret FROM webhook_endpoint WHERE workspace = ANY ($1::uuid[])
UNION ALL SELECT workspace, 'webhook ' || id, former FROM webhook_endpoint
    WHERE workspace = ANY ($1::uuid[]) AND former IS NOT NULL
UNION ALL SELECT workspace, 'service_key', secret FROM service_key WHERE workspace = ANY ($1::uuid[]);

-- name: secret_reseal
-- $1 workspace, $2 name, $3 as it was, $4 as it is now; of how many. What was replaced meanwhile is under the first key.
WITH credential AS (
    UPDATE push_credential SET sealed = $4 WHERE workspace = $1 AND lane = $2 AND sealed = $3 RETURNING 1),
own AS (
    UPDATE workspace_secret SET
        user_proof = CASE WHEN $2 = 'user_proof' THEN $4 ELSE user_proof END,
        interactions = CASE WHEN $2 = 'interactions' THEN $4 ELSE interactions END
    WHERE workspace = $1 AND ($2 = 'user_proof' AND user_proof = $3 OR $2 = 'interactions' AND interactions = $3)
    RETURNING 1),
endpoint AS (
    UPDATE webhook_endpoint SET
        secret = CASE secret WHEN $3 THEN $4 ELSE secret END, former = CASE former WHEN $3 THEN $4 ELSE former END
    WHERE workspace = $1 AND $2 = 'webhook ' || id AND $3 IN (secret, former) RETURNING 1),
service AS (
    UPDATE service_key SET secret = $4 WHERE workspace = $1 AND $2 = 'service_key' AND secret = $3 RETURNING 1)
SELECT (SELECT count(*) FROM credential) + (SELECT count(*) FROM own) + (SELECT count(*) FROM endpoint)
     + (SELECT count(*) FROM service);
