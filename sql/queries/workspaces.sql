-- The table has no policy: each statement names the workspace.

-- name: workspace_read
-- With whether the whole installation is paused, and the lanes that the workspace has credentials for.
SELECT id, name, settings, catalog_version, (SELECT paused FROM installation) AS all_paused,
    ARRAY(SELECT c.lane FROM push_credential c WHERE c.workspace = w.id) AS push_lanes
FROM workspace w WHERE id = $1;

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

-- name: installation_pause
-- $1 whether. Each send reads it; turns read it with a newer catalog.
UPDATE installation SET paused = $1 WHERE paused <> $1 RETURNING paused;

-- name: workspaces_catalog_raise
-- In the order of ids, as nobody else locks more than one.
WITH found AS (SELECT id FROM workspace ORDER BY id FOR NO KEY UPDATE)
UPDATE workspace w SET catalog_version = catalog_version + 1 FROM found WHERE w.id = found.id;

-- name: audit_add_all
-- $1 workspaces, $2 caller, $3 action, $4 subject.
INSERT INTO audit (workspace, caller, action, subject) SELECT q.id, $2, $3, $4 FROM unnest($1::uuid[]) q (id);

-- name: caps_in_force
-- $1 workspace. The most rules that can hold for one decision: the workspace's, and the most of any store and of any campaign.
SELECT cap_rules(w.settings) AS workspace,
       coalesce((SELECT max(cap_rules) FROM store WHERE workspace = w.id AND cap_rules > 0), 0) AS store,
       coalesce((SELECT max(cap_rules) FROM campaign WHERE workspace = w.id AND state <> 'ended'), 0) AS campaign
FROM workspace w WHERE w.id = $1;

-- name: workspaces_all
SELECT id FROM workspace ORDER BY id;

-- name: audit_add
-- $1 workspace, $2 caller, $3 action, $4 subject.
INSERT INTO audit (workspace, caller, action, subject) VALUES ($1, $2, $3, $4);

-- name: audit_page
-- $1 workspace, $2 the id before the page (newest first), $3 how many.
SELECT id, at, caller, action, subject FROM audit WHERE workspace = $1 AND id < $2 ORDER BY id DESC LIMIT $3;
