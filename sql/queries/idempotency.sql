-- name: idempotency_begin
-- $1 workspace, $2 caller, $3 key, $4 request hash. No row where the key is taken.
INSERT INTO idempotency AS i (workspace, caller, key, request_hash) VALUES ($1, $2, $3, $4)
ON CONFLICT (workspace, caller, key) DO UPDATE SET created_at = clock_timestamp()
    WHERE i.request_hash = excluded.request_hash AND i.status IS NULL AND i.created_at < clock_timestamp() - interval '60 s'
RETURNING key;

-- name: idempotency_read
SELECT request_hash, status, content_type, answer FROM idempotency WHERE workspace = $1 AND caller = $2 AND key = $3;

-- name: idempotency_finish
UPDATE idempotency SET status = $4, content_type = $5, answer = $6 WHERE workspace = $1 AND caller = $2 AND key = $3;

-- name: idempotency_forget
DELETE FROM idempotency WHERE workspace = $1 AND caller = $2 AND key = $3 AND status IS NULL;
