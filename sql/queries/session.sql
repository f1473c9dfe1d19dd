-- name: isolation
SHOW transaction_isolation

-- name: set_workspaces
-- $1 the workspaces of this transaction as an array literal; gone with the commit.
SELECT set_config('app.workspaces', $1, true)
