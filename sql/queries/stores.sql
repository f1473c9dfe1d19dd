-- name: store_put
-- $1 workspace, $2 id, $3 body. A row that was there has been updated, and xmax tells.
INSERT INTO store (workspace, id, body) VALUES ($1, $2, $3)
ON CONFLICT (workspace, id) DO UPDATE SET body = EXCLUDED.body, updated_at = clock_timestamp()
RETURNING xmax = 0 AS created, paused;

-- name: stores_count
SELECT count(*) FROM store WHERE workspace = $1;

-- name: store_get
-- With its breaker, where that is open.
SELECT s.id, s.body, s.paused, b.tripped_at, b.offers, b.opt_outs, b.per_1000 FROM store s
LEFT JOIN breaker b ON b.workspace = s.workspace AND b.kind = 'store' AND b.subject = s.id AND b.resumed_at IS NULL
WHERE s.workspace = $1 AND s.id = $2;

-- name: stores_page
-- $1 workspace, $2 the id before the page, $3 how many.
SELECT s.id, s.body, s.paused, b.tripped_at, b.offers, b.opt_outs, b.per_1000 FROM store s
LEFT JOIN breaker b ON b.workspace = s.workspace AND b.kind = 'store' AND b.subject = s.id AND b.resumed_at IS NULL
WHERE s.workspace = $1 AND s.id > $2 ORDER BY s.id LIMIT $3;

-- name: stores_all
SELECT id, body, paused FROM store WHERE workspace = $1;

-- name: store_pause
-- $1 workspace, $2 id, $3 whether. With what it was before; nothing where there is no such store.
WITH held AS (SELECT workspace, id, paused FROM store WHERE workspace = $1 AND id = $2 FOR NO KEY UPDATE)
UPDATE store s SET paused = $3 FROM held h WHERE s.workspace = h.workspace AND s.id = h.id RETURNING h.paused AS before;

-- name: store_delete
DELETE FROM store WHERE workspace = $1 AND id = $2 RETURNING id;
