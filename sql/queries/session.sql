-- name: isolation
SHOW transaction_isolation

-- name: begin
-- $1 the workspaces of this transaction as an array literal; gone with the commit. Sent as it is, in one go: ids of ours
-- need no quoting.
BEGIN; SELECT set_config('app.workspaces', $1, true)
