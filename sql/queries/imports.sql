-- name: import_add
-- $1 id, $2 workspace, $3 set, $4 counts.
INSERT INTO import (id, workspace, set_id, state, counts) VALUES ($1, $2, $3, 'previewed', $4);

-- name: import_rows_add
-- $1 import, $2 workspace; then a column each of: row, status, report, external id, feature.
INSERT INTO import_row (import, workspace, row, status, report, external_id, feature)
SELECT $1::uuid, $2::uuid, q.* FROM unnest($3::int[], $4::text[], $5::bytea[], $6::text[], $7::bytea[]) q;

-- name: import_read
SELECT id, set_id, state, counts FROM import WHERE workspace = $1 AND id = $2;

-- name: import_lock
SELECT id, set_id, state, counts FROM import WHERE workspace = $1 AND id = $2 FOR NO KEY UPDATE;

-- name: import_rows_read
-- $1 workspace, $2 import, $3 the first row, $4 the first that is not asked for: with a limit instead, a plan without an
-- order would read all rows that are left for each page.
SELECT row, status, external_id, report, version FROM import_row
WHERE workspace = $1 AND import = $2 AND row >= $3 AND row < $4 ORDER BY row;

-- name: import_rows_to_apply
-- $1 workspace, $2 import.
SELECT row, external_id, feature FROM import_row
WHERE workspace = $1 AND import = $2 AND status <> 'refused' ORDER BY row;

-- name: import_rows_applied
-- $1 import; then a column each of: row, status, what was there before, the version that the apply made.
UPDATE import_row r SET status = q.status, before = q.before, version = q.version
FROM unnest($2::int[], $3::text[], $4::bytea[], $5::bigint[]) q (row, status, before, version)
WHERE r.import = $1 AND r.row = q.row;

-- name: import_rows_to_undo
-- $1 workspace, $2 import. Rows that changed nothing have no version.
SELECT row, external_id, before, version, report FROM import_row
WHERE workspace = $1 AND import = $2 AND version IS NOT NULL ORDER BY row;

-- name: import_rows_report
-- $1 import; then a column each of: row, report.
UPDATE import_row r SET report = q.report FROM unnest($2::int[], $3::bytea[]) q (row, report)
WHERE r.import = $1 AND r.row = q.row;

-- name: import_set_state
-- $1 workspace, $2 import, $3 state, $4 counts.
UPDATE import SET state = $3, counts = $4 WHERE workspace = $1 AND id = $2;

-- name: import_previews_forget
-- $1 workspace, $2 how many stay. Previews that nobody applied make room for new ones.
WITH old AS (
    DELETE FROM import WHERE workspace = $1 AND id IN (
        SELECT id FROM import WHERE workspace = $1 AND state = 'previewed' ORDER BY created_at DESC, id OFFSET $2)
    RETURNING id)
DELETE FROM import_row WHERE workspace = $1 AND import IN (SELECT id FROM old);
