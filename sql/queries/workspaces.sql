-- The table has no policy: each statement names the workspace.

-- name: workspace_read
SELECT id, name, settings, catalog_version FROM workspace WHERE id = $1;

-- name: workspace_read_settings
SELECT settings FROM workspace WHERE id = $1;

-- name: workspace_lock
SELECT id, name, settings FROM workspace WHERE id = $1 FOR NO KEY UPDATE;

-- name: workspace_change
-- $1 workspace, $2 settings.
UPDATE workspace SET settings = $2, catalog_version = catalog_version + 1 WHERE id = $1;

-- name: workspace_catalog_raise
-- With every change of campaigns or stores, in its transaction and after it: the row is locked for the shortest time.
UPDATE workspace SET catalog_version = catalog_version + 1 WHERE id = $1;

-- name: workspaces_all
SELECT id FROM workspace ORDER BY id;

-- name: audit_add
-- $1 workspace, $2 caller, $3 action, $4 subject.
INSERT INTO audit (workspace, caller, action, subject) VALUES ($1, $2, $3, $4);
