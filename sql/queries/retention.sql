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

-- Each of the following takes at most $1 rows a call, and of those what is older than $2, an interval as text: what has
-- gathered for days must fit the statement's time too. statement_timestamp() may stand in an index condition,
-- clock_timestamp() may not.

-- name: retention_visits
DELETE FROM visit WHERE id = ANY (ARRAY(
    SELECT id FROM visit WHERE created_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_decisions
DELETE FROM decision WHERE id = ANY (ARRAY(
    SELECT id FROM decision WHERE created_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_passed_over
DELETE FROM passed_over WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM passed_over WHERE created_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_reservations
DELETE FROM reservation WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM reservation WHERE created_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_budget_days
-- Days of budgets, not their totals.
DELETE FROM budget WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM budget WHERE day > '-infinity' AND day < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_offers
-- With what was told of them: erasure and export find it by its offer.
WITH old AS MATERIALIZED (
    SELECT id FROM offer f WHERE created_at < statement_timestamp() - $2::text::interval
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.offer = f.id) LIMIT $1),
told AS (DELETE FROM offer_event WHERE offer = ANY (ARRAY(SELECT id FROM old)) RETURNING 1)
DELETE FROM offer WHERE id = ANY (ARRAY(SELECT id FROM old));

-- name: retention_offer_events
-- What was told of an offer in the moment in which it went.
DELETE FROM offer_event WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM offer_event e WHERE at < statement_timestamp() - $2::text::interval
      AND NOT EXISTS (SELECT FROM offer f WHERE f.id = e.offer) LIMIT $1));

-- name: retention_webhook_events
DELETE FROM webhook_event WHERE id = ANY (ARRAY(
    SELECT id FROM webhook_event WHERE created_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_webhook_deliveries
DELETE FROM webhook_delivery WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM webhook_delivery WHERE created_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_webhook_attempts
DELETE FROM webhook_attempt WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM webhook_attempt WHERE at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_idempotency
DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency WHERE created_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_refresh_tokens
DELETE FROM refresh_token WHERE hash = ANY (ARRAY(
    SELECT hash FROM refresh_token WHERE expires_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_push_tombstones
DELETE FROM push_tombstone WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM push_tombstone WHERE died_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_import_rows
-- What an import would write or undo; the fences themselves stay.
DELETE FROM import_row WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM import i JOIN import_row r ON r.import = i.id
    WHERE i.created_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_imports
-- After its rows: an import without them would be undone without a word.
DELETE FROM import WHERE id = ANY (ARRAY(
    SELECT id FROM import WHERE created_at < statement_timestamp() - $2::text::interval LIMIT $1));

-- name: retention_overdue
-- $1 kinds and $2 for how long each is kept. Of each kind of which something is left that should be gone: for how many
-- seconds the oldest of it should have been.
WITH kept AS (SELECT kind, keep::interval AS keep FROM unnest($1::text[], $2::text[]) q (kind, keep)),
bound AS (SELECT kind, statement_timestamp() - keep AS until FROM kept),
oldest (kind, at) AS (
    SELECT 'device_states', (SELECT min(received_at) FROM device WHERE presence IS NOT NULL
        AND received_at < (SELECT until FROM bound WHERE kind = 'device_states'))
    UNION ALL SELECT 'visits', (SELECT min(created_at) FROM visit
        WHERE created_at < (SELECT until FROM bound WHERE kind = 'visits'))
    UNION ALL SELECT 'decisions', (SELECT min(created_at) FROM decision
        WHERE created_at < (SELECT until FROM bound WHERE kind = 'decisions'))
    UNION ALL SELECT 'passed_over', (SELECT min(created_at) FROM passed_over
        WHERE created_at < (SELECT until FROM bound WHERE kind = 'passed_over'))
    UNION ALL SELECT 'reservations', (SELECT min(created_at) FROM reservation
        WHERE created_at < (SELECT until FROM bound WHERE kind = 'reservations'))
    UNION ALL SELECT 'budget_days', (SELECT min(day)::timestamptz FROM budget
        WHERE day > '-infinity' AND day < (SELECT until FROM bound WHERE kind = 'budget_days'))
    UNION ALL SELECT 'offers', (SELECT min(created_at) FROM offer f
        WHERE created_at < (SELECT until FROM bound WHERE kind = 'offers')
          AND NOT EXISTS (SELECT FROM outbox o WHERE o.offer = f.id))
    UNION ALL SELECT 'offer_events', (SELECT min(at) FROM offer_event e
        WHERE at < (SELECT until FROM bound WHERE kind = 'offer_events')
          AND NOT EXISTS (SELECT FROM offer f WHERE f.id = e.offer))
    UNION ALL SELECT 'webhook_events', (SELECT min(created_at) FROM webhook_event
        WHERE created_at < (SELECT until FROM bound WHERE kind = 'webhook_events'))
    UNION ALL SELECT 'webhook_deliveries', (SELECT min(created_at) FROM webhook_delivery
        WHERE created_at < (SELECT until FROM bound WHERE kind = 'webhook_deliveries'))
    UNION ALL SELECT 'webhook_attempts', (SELECT min(at) FROM webhook_attempt
        WHERE at < (SELECT until FROM bound WHERE kind = 'webhook_attempts'))
    UNION ALL SELECT 'idempotency', (SELECT min(created_at) FROM idempotency
        WHERE created_at < (SELECT until FROM bound WHERE kind = 'idempotency'))
    UNION ALL SELECT 'refresh_tokens', (SELECT min(expires_at) FROM refresh_token
        WHERE expires_at < (SELECT until FROM bound WHERE kind = 'refresh_tokens'))
    UNION ALL SELECT 'push_tombstones', (SELECT min(died_at) FROM push_tombstone
        WHERE died_at < (SELECT until FROM bound WHERE kind = 'push_tombstones'))
    UNION ALL SELECT 'imports', (SELECT min(created_at) FROM import
        WHERE created_at < (SELECT until FROM bound WHERE kind = 'imports')))
SELECT o.kind, extract(epoch FROM b.until - o.at)::float8 AS seconds
FROM oldest o JOIN bound b ON b.kind = o.kind WHERE o.at IS NOT NULL;
