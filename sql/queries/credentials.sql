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

-- name: credential_reseal
-- $1 workspace, $2 lane, $3 as it was, $4 as it is now. One that was replaced meanwhile is under the first key already.
UPDATE push_credential SET sealed = $4 WHERE workspace = $1 AND lane = $2 AND sealed = $3 RETURNING lane;
