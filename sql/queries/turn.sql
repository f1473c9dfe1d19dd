-- name: turn_lock
-- $1 users, $2 partitions, $3 owner, $4 the partitions' epochs. No user unless this owner still holds each of the partitions
-- at this epoch; the lock keeps a new owner's claim waiting until this commit is through, so that a deposed owner's commit
-- is refused. KEY SHARE and no more: the owner's own renewal, which changes neither owner nor epoch, must not meet it. The
-- users' locked rows are fresh even after a wait; all other tables need the statements that follow.
WITH held AS MATERIALIZED (
    SELECT p.id FROM partition p
    JOIN unnest($2::text::smallint[], $4::text::bigint[]) q (id, epoch) ON p.id = q.id AND p.epoch = q.epoch
    WHERE p.owner = $3 ORDER BY p.id FOR KEY SHARE OF p)
SELECT id, workspace, consents, rhythm, interactions, locale, time_zone, clock_timestamp() AS now, profile, refused,
    age = 'adult' AS adult, external_id IS NOT NULL AS named, created_at, drawn_as
FROM app_user WHERE id = ANY ((SELECT $1::text::uuid[])::uuid[])
  AND (SELECT count(*) FROM held) = cardinality($2::text::smallint[])  -- asked once and first
ORDER BY id FOR NO KEY UPDATE;

-- name: turn_owner
-- $1 partitions, $2 owner, $3 their epochs. How many of the partitions this owner still holds at this epoch.
SELECT count(*) FROM partition p JOIN unnest($1::text::smallint[], $3::text::bigint[]) q (id, epoch)
    ON p.id = q.id AND p.epoch = q.epoch
WHERE p.owner = $2;

-- name: turn_read
-- One row for all that is read of a turn, each kind an array of records. $1 workspaces, $2 users, $3 start of the longest
-- window of each in microseconds since 1970, $4 visits of this turn's transitions. Reservations in use, newest first; the
-- caps' own limits bound them. Known visits: what an earlier attempt has already committed. All devices of the users, the
-- turn's own among them, and where each is; a turn of theirs waits for the user's lock.
SELECT
    ARRAY(SELECT ROW(id, catalog_version) FROM workspace WHERE id = ANY ((SELECT $1::text::uuid[])::uuid[])) AS catalogs,
    ARRAY(
        SELECT ROW(t.id, r.at, r.campaign, r.store, r.fence, r.tags, r.visit, r.special, r.ghost, r.became)
        FROM unnest($2::text::uuid[], $3::text::bigint[]) t (id, since)
        CROSS JOIN LATERAL (
            SELECT at, campaign, store, fence, tags, visit, special, ghost, became FROM reservation x
            WHERE x.user_id = t.id AND x.at > 'epoch'::timestamptz + t.since * interval '1 us' AND x.state < 2
            ORDER BY x.at DESC LIMIT 20000) r) AS uses,
    ARRAY(
        SELECT ROW(id, dwelt_at IS NOT NULL, confirmed_at IS NOT NULL, left_at IS NOT NULL) FROM visit
        WHERE id = ANY ((SELECT $4::text::uuid[])::uuid[])) AS known,
    ARRAY(
        SELECT ROW(id, user_id, replay, push_lane, push_token IS NOT NULL, presence, platform) FROM device
        WHERE user_id = ANY ((SELECT $2::text::uuid[])::uuid[])) AS devices;

-- name: turn_budgets
-- The function of migration 0009. $1 workspaces, $2 owners, $3 days.
SELECT of_workspace, of_owner, on_day, total, today FROM turn_budgets($1::uuid[], $2::text[], $3::date[]);

-- name: turn_stays
-- $1 users, $2 since when of each, $3 visits of this turn. How often and how long each was in which fence, as far as their
-- newest 100 visits tell: only certain ones, and none that drove past.
SELECT t.id, v.fence, count(*) AS count, max(v.entered_at) AS last,
       array_agg(extract(epoch FROM v.left_at - v.entered_at)::float8) FILTER (WHERE v.left_at IS NOT NULL) AS dwelt
FROM unnest($1::uuid[], $2::timestamptz[]) t (id, since)
CROSS JOIN LATERAL (
    SELECT fence, entered_at, left_at FROM visit x
    WHERE x.user_id = t.id AND x.entered_at > t.since AND x.id <> ALL ($3::uuid[])
      AND (x.confirmed_at IS NOT NULL OR x.fixes IS NULL) AND x.label IS DISTINCT FROM 'drove_past'
    ORDER BY x.entered_at DESC LIMIT 100) v
GROUP BY t.id, v.fence;

-- name: turn_write
-- The function of migration 0004. Columns travel as arrays, most of them as array literals, and instants as microseconds since
-- 1970: whoever sends them makes them a good deal faster so. $1 workspaces, $2 users, $3 partitions, $4 owner, $5 the
-- partitions' epochs, $6 workspaces reckoned with and $7 their catalogs' versions, $8 looked, $9 to $25 visits opened, $26 to
-- $36 visits continued, $37 to $40 devices.
SELECT turn_write(
    $1, $2::text::uuid[], $3::text::smallint[], $4, $5::text::bigint[], $6::text::uuid[], $7::text::bigint[], $8,
    $9::text::uuid[], $10::text::uuid[], $11::text::uuid[], $12::text::uuid[], $13::text[], $14::text::bigint[],
    $15::text::bigint[], $16::text::bigint[], $17::text::bigint[], $18::text::bigint[], $19::text::uuid[],
    $20::text::uuid[], $21::text::uuid[], $22::text::text[], $23::text::real[], $24::text::integer[], $25::text::real[],
    $26::text::uuid[], $27::text::bigint[], $28::text::bigint[], $29::text::bigint[], $30::text::uuid[],
    $31::text::uuid[], $32::text::uuid[], $33::text::text[], $34::text::real[], $35::text::integer[], $36::text::real[],
    $37::text::uuid[], $38::text::bigint[], $39::bytea[], $40::text::bigint[]);

-- name: turn_write_decisions
-- A turn that has decided, in one statement: `turn_write` in a transaction that holds the locks already, and then decisions,
-- reservations, offers with their outbox rows. Arrays and counts as above. $1 looked, $2 to $33 visits and devices, $34 to
-- $43 decisions, $44 to $65 their offers, and of people held out the places of those that were not made: these are kept from
-- the first, since nothing can release them, and charge no budget. $66 to $69 the campaigns that they passed over.
WITH visits AS MATERIALIZED (
    SELECT turn_write(
        NULL, '{}', '{}', NULL, '{}', '{}', '{}', $1,
        $2::text::uuid[], $3::text::uuid[], $4::text::uuid[], $5::text::uuid[], $6::text[], $7::text::bigint[],
        $8::text::bigint[], $9::text::bigint[], $10::text::bigint[], $11::text::bigint[], $12::text::uuid[],
        $13::text::uuid[], $14::text::uuid[], $15::text::text[], $16::text::real[], $17::text::integer[],
        $18::text::real[], $19::text::uuid[], $20::text::bigint[], $21::text::bigint[], $22::text::bigint[],
        $23::text::uuid[], $24::text::uuid[], $25::text::uuid[], $26::text::text[], $27::text::real[],
        $28::text::integer[], $29::text::real[], $30::text::uuid[], $31::text::bigint[], $32::bytea[],
        $33::text::bigint[]) AS written),
decided AS (
    INSERT INTO decision (id, workspace, user_id, campaign, at, outcome, reason, offer, receipt, snapshot)
    SELECT id, workspace, user_id, campaign, 'epoch'::timestamptz + at * interval '1 us', outcome, reason, offer, receipt,
           snapshot
    FROM unnest($34::text::uuid[], $35::text::uuid[], $36::text::uuid[], $37::text::uuid[], $38::text::bigint[],
                $39::text::text[], $40::text::text[], $41::text::uuid[], $42::bytea[], $43::bytea[])
        q (id, workspace, user_id, campaign, at, outcome, reason, offer, receipt, snapshot)
    WHERE (SELECT written FROM visits) RETURNING 1),  -- asked once and first, here and below
others AS (
    INSERT INTO passed_over (workspace, campaign, at, reason)
    SELECT workspace, campaign, 'epoch'::timestamptz + at * interval '1 us', reason
    FROM unnest($66::text::uuid[], $67::text::uuid[], $68::text::bigint[], $69::text::text[])
        q (workspace, campaign, at, reason)
    WHERE (SELECT written FROM visits) RETURNING 1),
made AS MATERIALIZED (
    SELECT user_id, 'epoch'::timestamptz + at * interval '1 us' AS at, offer, workspace, campaign, store, fence, tags, device,
           decision, visit, trigger, lane, message, 'epoch'::timestamptz + created * interval '1 us' AS created_at,
           'epoch'::timestamptz + expires * interval '1 us' AS expires_at, partition, categories, special, campaign_day,
           store_day, ghost
    FROM unnest($44::text::uuid[], $45::text::bigint[], $46::text::uuid[], $47::text::uuid[], $48::text::uuid[], $49::text[],
                $50::text[], $51::text[], $52::text::uuid[], $53::text::uuid[], $54::text::uuid[], $55::text::text[],
                $56::text::text[], $57::bytea[], $58::text::bigint[], $59::text::bigint[], $60::text::smallint[],
                $61::text[], $62::text::boolean[], $63::text::date[], $64::text::date[], $65::text::boolean[])
        q (user_id, at, offer, workspace, campaign, store, fence, tags, device, decision, visit, trigger, lane, message,
           created, expires, partition, categories, special, campaign_day, store_day, ghost)
    WHERE (SELECT written FROM visits)),
reserved AS (
    INSERT INTO reservation (user_id, at, offer, workspace, campaign, store, fence, tags, visit, categories, special,
                             campaign_day, store_day, ghost, state)
    SELECT user_id, at, offer, workspace, campaign, store, fence,
           CASE WHEN tags = '' THEN '{}' ELSE string_to_array(tags, E'\x1f') END, visit,
           CASE WHEN categories = '' THEN '{}' ELSE string_to_array(categories, E'\x1f') END, special, campaign_day,
           store_day, ghost, ghost::int
    FROM made RETURNING 1),
offered AS (
    INSERT INTO offer (id, workspace, user_id, device, decision, campaign, fence, visit, trigger, lane, message, created_at,
                       expires_at)
    SELECT offer, workspace, user_id, device, decision, campaign, fence, visit, trigger, lane, message, created_at,
           expires_at FROM made WHERE NOT ghost RETURNING 1),
due AS (
    INSERT INTO outbox (offer, workspace, partition, lane, due)
    SELECT offer, workspace, partition, lane, created_at FROM made WHERE NOT ghost RETURNING 1)
SELECT (SELECT count(*) FROM decided) AS decided, (SELECT count(*) FROM due) AS due;

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
SELECT d.id, d.user_id, d.workspace, u.partition, d.replay, d.proven, d.token_epoch, d.presence, u.consents, u.age,
    u.rhythm
FROM device d JOIN app_user u ON u.id = d.user_id WHERE d.id = ANY ($1::uuid[]) ORDER BY d.id FOR SHARE OF d;

-- name: nearby_person
-- $1 user, $2 device. As `turn_lock`, without a lock: nothing is decided by it that anybody has to wait for.
SELECT u.id, u.workspace, u.consents, u.rhythm, u.interactions, u.locale, u.time_zone, clock_timestamp() AS now, u.profile,
    u.refused, u.age = 'adult' AS adult, u.external_id IS NOT NULL AS named, u.created_at, u.drawn_as, d.platform, w.catalog_version
FROM app_user u JOIN device d ON d.user_id = u.id JOIN workspace w ON w.id = u.workspace
WHERE u.id = $1 AND d.id = $2;

-- name: nearby_spent
-- $1 workspace, $2 budgets, $3 their days. What each has given, without a lock; 0 where nobody has looked at it yet.
SELECT q.owner, coalesce(t.used, 0) AS total, coalesce(b.used, 0) AS today
FROM unnest($2::text[], $3::date[]) q (owner, day)
LEFT JOIN budget t ON t.workspace = $1 AND t.owner = q.owner AND t.day = '-infinity'
LEFT JOIN budget b ON b.workspace = $1 AND b.owner = q.owner AND b.day = q.day;
