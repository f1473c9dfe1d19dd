-- name: turn_owner
-- $1 partitions, $2 owner, $3 their epochs. One row per partition that this owner still holds at this epoch; the lock keeps
-- a new owner's claim waiting until this commit is through, so that a deposed owner's commit is refused. KEY SHARE and no
-- more: the owner's own renewal, which changes neither owner nor epoch, must not meet it.
SELECT p.id FROM partition p JOIN unnest($1::smallint[], $3::bigint[]) q (id, epoch) ON p.id = q.id AND p.epoch = q.epoch
WHERE p.owner = $2 ORDER BY p.id FOR KEY SHARE OF p;

-- name: turn_lock
-- $1 users. The locked row is fresh even after a wait; all other tables need the statements that follow.
SELECT id, workspace, consents, rhythm, muted, locale, time_zone, clock_timestamp() AS now
FROM app_user WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- name: turn_catalog
-- $1 workspaces.
SELECT id, catalog_version FROM workspace WHERE id = ANY ($1::uuid[]);

-- name: turn_uses
-- $1 users, $2 start of the longest window of each. Reservations in use, newest first; the caps' own limits bound them.
SELECT t.id, r.at, r.campaign, r.store, r.fence, r.tags, r.visit
FROM unnest($1::uuid[], $2::timestamptz[]) t (id, since)
CROSS JOIN LATERAL (
    SELECT at, campaign, store, fence, tags, visit FROM reservation x
    WHERE x.user_id = t.id AND x.at > t.since AND x.state < 2 ORDER BY x.at DESC LIMIT 20000) r;

-- name: turn_open_visits
-- $1 users.
SELECT user_id, device, fence FROM visit WHERE user_id = ANY ($1::uuid[]) AND left_at IS NULL;

-- name: turn_known_visits
-- $1 visits of this turn's transitions: what an earlier attempt has already committed.
SELECT id, dwelt_at IS NOT NULL AS dwelt, left_at IS NOT NULL AS closed FROM visit WHERE id = ANY ($1::uuid[]);

-- name: turn_devices
-- $1 devices: those that the turn writes. Locked in the order in which enrolment and erasure lock theirs.
SELECT id, replay, push_lane, push_token IS NOT NULL AS reachable FROM device WHERE id = ANY ($1::uuid[])
ORDER BY id FOR NO KEY UPDATE;

-- name: turn_write
-- One statement for all that a turn decided; each block is a table's columns as arrays.
-- Visits opened (they may be closed in the same turn), visits continued, decisions, reservations, offers with their outbox
-- rows, devices. Returns how many rows each block touched: a conflict with another workspace's row would be silent otherwise.
WITH opened AS (
    INSERT INTO visit (id, workspace, user_id, device, fence, fence_version, entered_at, dwelt_at, left_at, closed_by,
                       enter_decision, dwell_decision, exit_decision)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::timestamptz[],
                         $8::timestamptz[], $9::timestamptz[], $10::text[], $11::uuid[], $12::uuid[], $13::uuid[])
    ON CONFLICT (id) DO NOTHING RETURNING 1),
continued AS (
    UPDATE visit v SET dwelt_at = COALESCE(v.dwelt_at, q.dwelt_at), dwell_decision = COALESCE(v.dwell_decision, q.dwell_decision),
        left_at = COALESCE(v.left_at, q.left_at), exit_decision = COALESCE(v.exit_decision, q.exit_decision),
        closed_by = CASE WHEN v.left_at IS NULL AND q.left_at IS NOT NULL THEN 'exit' ELSE v.closed_by END
    FROM unnest($14::uuid[], $15::timestamptz[], $16::timestamptz[], $17::uuid[], $18::uuid[])
        q (id, dwelt_at, left_at, dwell_decision, exit_decision)
    WHERE v.id = q.id RETURNING 1),
decided AS (
    INSERT INTO decision (id, workspace, user_id, campaign, at, outcome, reason, offer, receipt)
    SELECT * FROM unnest($19::uuid[], $20::uuid[], $21::uuid[], $22::uuid[], $23::timestamptz[], $24::text[], $25::text[],
                         $26::uuid[], $27::bytea[]) RETURNING 1),
reserved AS (
    INSERT INTO reservation (user_id, at, offer, workspace, campaign, store, fence, tags, visit)
    SELECT user_id, at, offer, workspace, campaign, store, fence,
           CASE WHEN tags = '' THEN '{}' ELSE string_to_array(tags, E'\x1f') END, visit
    FROM unnest($28::uuid[], $29::timestamptz[], $30::uuid[], $31::uuid[], $32::uuid[], $33::text[], $34::text[], $35::text[],
                $38::uuid[]) q (user_id, at, offer, workspace, campaign, store, fence, tags, visit) RETURNING 1),
offered AS (
    INSERT INTO offer (id, workspace, user_id, device, decision, campaign, fence, visit, trigger, lane, message, created_at,
                       expires_at)
    SELECT * FROM unnest($30::uuid[], $31::uuid[], $28::uuid[], $36::uuid[], $37::uuid[], $32::uuid[], $34::text[],
                         $38::uuid[], $39::text[], $40::text[], $41::bytea[], $42::timestamptz[], $43::timestamptz[])
    RETURNING 1),
due AS (
    INSERT INTO outbox (offer, workspace, partition, lane, due)
    SELECT * FROM unnest($30::uuid[], $31::uuid[], $44::smallint[], $40::text[], $42::timestamptz[]) RETURNING 1),
seen AS (
    UPDATE device d SET newest_at = q.newest_at, presence = q.presence, received_at = q.received_at
    FROM unnest($45::uuid[], $46::timestamptz[], $47::bytea[], $48::timestamptz[]) q (id, newest_at, presence, received_at)
    WHERE d.id = q.id RETURNING 1)
SELECT (SELECT count(*) FROM opened) AS opened, (SELECT count(*) FROM continued) AS continued,
       (SELECT count(*) FROM decided) AS decided, (SELECT count(*) FROM due) AS due, (SELECT count(*) FROM seen) AS seen;

-- name: partitions_claim
-- $1 owner, $2 lease in seconds. Takes what is free, renews what is ours; the epoch rises when the owner changes. What is
-- free is locked FOR UPDATE, which waits for no commit in flight but leaves its partition for the next call; what is ours
-- is renewed beside them (a plain update and KEY SHARE do not conflict), however busy it is.
WITH free AS (
    SELECT id FROM partition WHERE owner IS DISTINCT FROM $1 AND (owner IS NULL OR until < clock_timestamp())
    ORDER BY id FOR UPDATE SKIP LOCKED)
UPDATE partition SET epoch = epoch + (owner IS DISTINCT FROM $1)::int, owner = $1,
    until = clock_timestamp() + make_interval(secs => $2)
WHERE owner = $1 OR id IN (SELECT id FROM free)
RETURNING id, epoch;

-- name: partitions_release
-- $1 owner.
UPDATE partition SET owner = NULL, until = NULL WHERE owner = $1;

-- name: load_devices_lock
-- $1 devices. Waits for a commit of these people that is still under way: its connection may have broken, and whoever sent it
-- does not know what became of it. What it wrote is seen by the statement after this one, not by this one.
SELECT id FROM app_user WHERE id IN (SELECT user_id FROM device WHERE id = ANY ($1::uuid[])) ORDER BY id FOR SHARE;

-- name: load_devices
-- $1 devices. What the partition's owner keeps in memory of each. The lock waits for tokens that are just being revoked.
SELECT d.id, d.user_id, d.workspace, u.partition, d.replay, d.proven, d.token_epoch, d.presence, u.consents, u.age
FROM device d JOIN app_user u ON u.id = d.user_id WHERE d.id = ANY ($1::uuid[]) ORDER BY d.id FOR SHARE OF d;
