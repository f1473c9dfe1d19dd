-- name: proof_workspaces
SELECT id, name FROM workspace ORDER BY name;

-- name: proof_head
-- $1 workspace.
SELECT seq, hash FROM consent_head WHERE workspace = $1;

-- name: proof_heads
SELECT workspace, seq, hash FROM consent_head ORDER BY workspace;

-- name: proof_rows_beyond
-- $1 workspace. Row and head are written together: what one snapshot shows beyond the head was not written here.
SELECT min(l.seq) FROM consent_ledger l LEFT JOIN consent_head h ON h.workspace = l.workspace
WHERE l.workspace = $1 AND l.seq > COALESCE(h.seq, 0);

-- name: proof_people
-- $1 workspace, $2 after whom, $3 how many.
SELECT u.id, u.consents, s.salt FROM app_user u LEFT JOIN consent_salt s ON s.user_id = u.id
WHERE u.workspace = $1 AND u.id > $2 ORDER BY u.id LIMIT $3;

-- name: proof_people_locked
-- $1 users. What they say is being changed by nobody while this is held.
SELECT u.id, u.consents, s.salt FROM app_user u LEFT JOIN consent_salt s ON s.user_id = u.id
WHERE u.id = ANY ($1::uuid[]) ORDER BY u.id FOR SHARE OF u;

-- name: proof_states
-- $1 workspace, $2 subjects.
SELECT subject, purpose, granted, text_version, at, seq FROM consent_state
WHERE workspace = $1 AND subject = ANY ($2::bytea[]);
