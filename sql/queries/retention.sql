-- name: retention_workspaces
SELECT id FROM workspace;

-- name: retention_touch
-- $1 devices, $2 when each was last heard of. Inside something and alive: the row says so, once an hour at most.
UPDATE device d SET received_at = q.heard FROM unnest($1::uuid[], $2::timestamptz[]) q (id, heard)
WHERE d.id = q.id AND d.received_at < q.heard - interval '1 hour';

-- name: retention_silent
-- Devices not heard of for a day; their users are locked first, like everybody does.
SELECT DISTINCT d.user_id FROM device d WHERE d.presence IS NOT NULL AND d.received_at < clock_timestamp() - interval '24 hours'
ORDER BY d.user_id LIMIT $1;

-- name: retention_lock
SELECT id FROM app_user WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- name: retention_close
-- $1 users. A visit that nobody ended ends where the device was last seen: no transition, no decision.
UPDATE visit v SET left_at = GREATEST(v.entered_at, COALESCE(d.newest_at, v.entered_at)), closed_by = 'silence'
FROM device d WHERE v.user_id = ANY ($1::uuid[]) AND v.left_at IS NULL AND d.id = v.device
  AND d.received_at < clock_timestamp() - interval '24 hours';

-- name: retention_wipe
-- $1 users.
UPDATE device SET newest_at = NULL, presence = NULL, received_at = NULL
WHERE user_id = ANY ($1::uuid[]) AND received_at < clock_timestamp() - interval '24 hours';

-- name: retention_visits
DELETE FROM visit WHERE entered_at < clock_timestamp() - interval '13 months';

-- name: retention_decisions
DELETE FROM decision WHERE at < clock_timestamp() - interval '90 days';

-- name: retention_reservations
-- Caps look back 31 days at most.
DELETE FROM reservation WHERE at < clock_timestamp() - interval '60 days';

-- name: retention_offers
DELETE FROM offer f WHERE created_at < clock_timestamp() - interval '90 days'
  AND NOT EXISTS (SELECT FROM outbox o WHERE o.offer = f.id);

-- name: retention_offer_events
DELETE FROM offer_event WHERE at < clock_timestamp() - interval '13 months';

-- name: retention_idempotency
DELETE FROM idempotency WHERE created_at < clock_timestamp() - interval '24 hours';

-- name: retention_refresh_tokens
DELETE FROM refresh_token WHERE expires_at < clock_timestamp();

-- name: retention_imports
-- What an import would write or undo is kept for a month; the fences themselves stay.
DELETE FROM import_row r USING import i WHERE r.import = i.id AND i.created_at < clock_timestamp() - interval '30 days';
