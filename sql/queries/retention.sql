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

-- name: retention_inside
-- $1 users. Their silent devices, and where each is.
SELECT id, user_id, presence FROM device
WHERE user_id = ANY ($1::uuid[]) AND presence IS NOT NULL AND received_at < clock_timestamp() - interval '24 hours';

-- name: retention_close
-- $1 open visits, $2 users of whom it is not known which are open: all of theirs are looked at. A visit that nobody ended
-- ends where the device was last seen: no transition, no decision.
UPDATE visit v SET left_at = GREATEST(v.entered_at, COALESCE(d.newest_at, v.entered_at)), closed_by = 'silence'
FROM device d WHERE (v.id = ANY ($1::uuid[]) OR v.user_id = ANY ($2::uuid[])) AND v.left_at IS NULL AND d.id = v.device
  AND d.received_at < clock_timestamp() - interval '24 hours';

-- name: retention_courses
-- $1 visits, $2 labels, $3 confidences, $4 fixes, $5 accuracies: how they went, as far as the devices' states tell.
UPDATE visit v SET label = q.label, confidence = q.confidence, fixes = q.fixes, accuracy_m = q.accuracy
FROM unnest($1::uuid[], $2::text[], $3::real[], $4::integer[], $5::real[]) q (id, label, confidence, fixes, accuracy)
WHERE v.id = q.id AND v.closed_by = 'silence';

-- name: retention_wipe
-- $1 users.
UPDATE device SET newest_at = NULL, presence = NULL, received_at = NULL
WHERE user_id = ANY ($1::uuid[]) AND received_at < clock_timestamp() - interval '24 hours';

-- Each of the following takes at most $1 rows a call: what has gathered for days must fit the statement's time too.
-- statement_timestamp() may stand in an index condition, clock_timestamp() may not.

-- name: retention_visits
DELETE FROM visit WHERE id = ANY (ARRAY(
    SELECT id FROM visit WHERE created_at < statement_timestamp() - interval '13 months' LIMIT $1));

-- name: retention_decisions
DELETE FROM decision WHERE id = ANY (ARRAY(
    SELECT id FROM decision WHERE created_at < statement_timestamp() - interval '90 days' LIMIT $1));

-- name: retention_reservations
-- Caps look back 31 days at most.
DELETE FROM reservation WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM reservation WHERE created_at < statement_timestamp() - interval '60 days' LIMIT $1));

-- name: retention_budget_days
-- Days of budgets, not their totals.
DELETE FROM budget WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM budget WHERE day > '-infinity' AND day < current_date - 60 LIMIT $1));

-- name: retention_offers
DELETE FROM offer WHERE id = ANY (ARRAY(
    SELECT id FROM offer f WHERE created_at < statement_timestamp() - interval '90 days'
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.offer = f.id) LIMIT $1));

-- name: retention_offer_events
DELETE FROM offer_event WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM offer_event WHERE at < statement_timestamp() - interval '13 months' LIMIT $1));

-- name: retention_idempotency
DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency WHERE created_at < statement_timestamp() - interval '24 hours' LIMIT $1));

-- name: retention_refresh_tokens
DELETE FROM refresh_token WHERE hash = ANY (ARRAY(
    SELECT hash FROM refresh_token WHERE expires_at < statement_timestamp() LIMIT $1));

-- name: retention_import_rows
-- What an import would write or undo is kept for a month; the fences themselves stay.
DELETE FROM import_row WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM import i JOIN import_row r ON r.import = i.id
    WHERE i.created_at < statement_timestamp() - interval '30 days' LIMIT $1));

-- name: retention_imports
-- After its rows: an import without them would be undone without a word.
DELETE FROM import WHERE id = ANY (ARRAY(
    SELECT id FROM import WHERE created_at < statement_timestamp() - interval '30 days' LIMIT $1));
