-- The outbox has no policy: claims work across workspaces. What a row points at has one, so every other statement runs with
-- the workspaces of its batch set. Locks are taken in the order persons, devices, outbox rows, offers, reservations, budgets;
-- `outbox_take` locks persons after its outbox rows, and waits for none of them.

-- name: outbox_claim
-- $1 lane, $2 most rows, $3 lease in seconds. As the function says (migration `0026`).
SELECT * FROM outbox_claim($1, $2, $3);

-- name: outbox_look
-- $1 workspaces as an array literal, $2 offers, $3 their tokens, $4 lease in seconds. As the function says (migration `0026`).
SELECT * FROM outbox_look($1, $2, $3, $4);

-- name: outbox_take
-- $1 lane, $2 most rows, $3 lease in seconds, $4 most attempts. Claims, and looks at all of it that is neither stranded nor
-- out of attempts; what was not looked at, or was erased, has no `offer`. Each function sees what the one before it wrote.
WITH claimed AS MATERIALIZED (SELECT * FROM outbox_claim($1, $2, $3) WITH ORDINALITY),
good AS (
    SELECT array_agg(DISTINCT workspace)::text AS workspaces, array_agg(offer) AS offers, array_agg(token) AS tokens
    FROM claimed WHERE NOT stranded AND attempts <= $4)
SELECT c.offer AS claimed, c.workspace AS owner, c.token AS under, c.attempts, c.unanswered, c.stranded, l.*
FROM claimed c LEFT JOIN (
    SELECT l.* FROM good, outbox_look(good.workspaces, good.offers, good.tokens, $3) l) l ON l.offer = c.offer
ORDER BY c.ordinality;

-- name: outbox_dead_tokens
-- $1 workspaces, $2 lanes, $3 the tokens that were used, $4 since when they are dead; now where that was not said, and never
-- later. Whichever device has one by now loses it; a token that was registered since then is another one and stays. Locked
-- in the one order that everybody locks devices in.
WITH said AS MATERIALIZED (
    SELECT workspace, lane, token, least(max(at), clock_timestamp()) AS at
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) q (workspace, lane, token, at)
    GROUP BY workspace, lane, token),
dead AS (
    SELECT d.id FROM device d JOIN said q ON d.workspace = q.workspace AND d.push_lane = q.lane AND d.push_token = q.token
        AND (d.push_at IS NULL OR d.push_at <= q.at)
    ORDER BY d.id FOR NO KEY UPDATE OF d),
taken AS (UPDATE device d SET push_token = NULL, push_keys = NULL FROM dead WHERE d.id = dead.id RETURNING 1)
INSERT INTO push_tombstone (workspace, lane, token, died_at)
SELECT workspace, lane, sha256(convert_to(token, 'UTF8')), at FROM said ORDER BY 1, 2, 3
ON CONFLICT (workspace, lane, token) DO UPDATE SET died_at = greatest(push_tombstone.died_at, excluded.died_at);

-- name: outbox_close
-- As the function says (migration `0025`).
SELECT outbox_close($1, $2, $3, $4, $5, $6, $7) AS offer;

-- name: outbox_retry
-- $1 offers, $2 their tokens, $3 seconds from now, $4 attempts, $5 whether it may be shown. Never due after its expiry: then
-- it is finished.
UPDATE outbox b SET state = 'due', lease_until = NULL, attempts = q.attempts, ambiguous = b.ambiguous OR q.ambiguous,
    due = least(clock_timestamp() + make_interval(secs => q.after_s), o.expires_at)
FROM unnest($1::uuid[], $2::bigint[], $3::float8[], $4::int[], $5::bool[]) q (offer, token, after_s, attempts, ambiguous)
LEFT JOIN offer o ON o.id = q.offer
WHERE b.offer = q.offer AND b.token = q.token AND b.state <> 'due' RETURNING b.offer;

-- name: outbox_move
-- $1 offers, $2 their tokens, $3 the lanes of last resort, $4 the tokens that they were sent to, $5 push lanes served here, $6
-- those of them that need a workspace's credentials. The same offer to another token of the person's: the device's own where
-- it has a new one, else that of another phone that speaks for all of the person, the one that last took something. Its
-- attempts go along, so that a gateway which says of every token that it is dead comes to an end. With no such token it goes
-- to the lane of last resort, with all its attempts before it.
WITH ours AS MATERIALIZED (
    SELECT b.offer, b.workspace, q.lane, o.user_id, o.device, coalesce(o.sent_to, o.device) AS tried, q.dead
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) q (offer, token, lane, dead)
    JOIN outbox b ON b.offer = q.offer AND b.token = q.token AND b.state <> 'due'
    JOIN offer o ON o.id = b.offer),
moved AS (
    UPDATE outbox b SET lane = coalesce(d.push_lane, m.lane), state = 'due', lease_until = NULL,
        attempts = CASE WHEN d.id IS NULL THEN 0 ELSE b.attempts END, due = clock_timestamp()
    FROM ours m LEFT JOIN LATERAL (
        SELECT x.id, x.push_lane FROM device x
        WHERE x.user_id = m.user_id AND NOT x.replay AND x.push_token IS DISTINCT FROM m.dead
          AND x.push_token IS NOT NULL AND x.push_lane = ANY ($5::text[]) AND (x.id = m.tried OR x.proven)
          AND (x.push_lane <> ALL ($6::text[]) OR EXISTS (
              SELECT FROM push_credential c WHERE c.workspace = m.workspace AND c.lane = x.push_lane))
        ORDER BY x.id <> m.tried, x.push_ok_at DESC NULLS LAST, x.push_at DESC NULLS LAST, x.id LIMIT 1) d ON true
    WHERE b.offer = m.offer RETURNING b.offer, b.lane, nullif(d.id, m.device) AS sent_to),
told AS (UPDATE offer o SET lane = m.lane, sent_to = m.sent_to FROM moved m WHERE o.id = m.offer RETURNING 1)
SELECT offer FROM moved;

-- name: outbox_strays
-- $1 lanes served here.
SELECT DISTINCT workspace FROM outbox WHERE lane <> ALL ($1::text[]);

-- name: outbox_adopt
-- $1 lanes served here, $2 the one of them that takes what is on others. What may be on a screen already ends as ambiguous
-- and keeps its slot: no other lane overwrites it there. Returns how many are left, under a lease that runs.
WITH stray AS (
    SELECT offer, ambiguous OR state = 'sending' AS unanswered FROM outbox
    WHERE lane <> ALL ($1::text[]) AND (state = 'due' OR lease_until < clock_timestamp())
    ORDER BY offer FOR UPDATE SKIP LOCKED),
moved AS (
    UPDATE outbox b SET lane = $2, state = 'due', lease_until = NULL, token = b.token + 1, attempts = 0,
        due = clock_timestamp()
    FROM stray s WHERE b.offer = s.offer AND NOT s.unanswered RETURNING b.offer),
ended AS (DELETE FROM outbox b USING stray s WHERE b.offer = s.offer AND s.unanswered RETURNING b.offer),
told AS (UPDATE offer o SET lane = $2 FROM moved m WHERE o.id = m.offer RETURNING 1),
closed AS (
    UPDATE offer o SET state = 'ambiguous', detail = 'unanswered', finished_at = clock_timestamp()
    FROM ended e WHERE o.id = e.offer RETURNING o.id, o.user_id),
kept AS (
    UPDATE reservation r SET state = 1 FROM closed c WHERE r.user_id = c.user_id AND r.offer = c.id RETURNING 1)
SELECT (SELECT count(*) FROM outbox WHERE lane <> ALL ($1::text[])) - (SELECT count(*) FROM stray);

-- name: outbox_hasten
-- $1 lane, $2 devices. By the person's offers: they are few and indexed.
WITH waiting AS (
    SELECT b.offer FROM device d
    JOIN offer o ON o.user_id = d.user_id AND o.device = d.id AND o.state = 'queued'
    JOIN outbox b ON b.offer = o.id
    WHERE d.id = ANY ($2::uuid[]) AND b.lane = $1 AND b.state = 'due' AND b.due > clock_timestamp()
    ORDER BY b.offer FOR UPDATE OF b SKIP LOCKED)
UPDATE outbox b SET due = clock_timestamp() FROM waiting w WHERE b.offer = w.offer;

-- name: outbox_recall
-- $1 workspaces, $2 campaign or null for any, $3 store or null for any. What a switch has silenced is looked at now, and so
-- ended, instead of when its next try is due. What is under way is left.
WITH waiting AS (
    SELECT b.offer FROM outbox b JOIN offer o ON o.id = b.offer
    LEFT JOIN reservation r ON r.user_id = o.user_id AND r.offer = o.id
    WHERE b.workspace = ANY ($1::uuid[]) AND b.state = 'due' AND b.due > clock_timestamp()
      AND ($2::uuid IS NULL OR o.campaign = $2) AND ($3::text IS NULL OR coalesce(r.store, o.fence) = $3)
    ORDER BY b.offer FOR UPDATE OF b SKIP LOCKED)
UPDATE outbox b SET due = clock_timestamp() FROM waiting w WHERE b.offer = w.offer;

-- name: outbox_shown_lock
-- $1 offer, $2 device: the offer's own, or one that speaks for all of its person. The person's lock keeps an erasure from
-- leaving the event behind.
SELECT u.id FROM offer o JOIN app_user u ON u.id = o.user_id JOIN device d ON d.id = $2 AND d.user_id = u.id
WHERE o.id = $1 AND (d.id = o.device OR d.proven) FOR SHARE OF u;

-- name: outbox_shown
-- $1 offers, $2 their persons, $3 what became of each, as the phone says or the company, $4 the reasons given, $5 both as the
-- number that back-off counts by, $6 when, or null for now. Whatever that is, the offer was seen, and that stands, whatever
-- state it was in. Returns whether that is news, and whether this event is. The count orders the locks: outbox rows, then
-- offers.
WITH q AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::smallint[], $6::timestamptz[])
        q (offer, person, type, reason, became, at)),
seen AS MATERIALIZED (SELECT offer, person, max(became) AS became FROM q GROUP BY offer, person),
gone AS (DELETE FROM outbox WHERE offer = ANY ($1::uuid[]) RETURNING 1),
shown AS (
    UPDATE offer o SET state = 'shown', detail = NULL, finished_at = clock_timestamp()
    FROM seen s WHERE o.id = s.offer AND o.state <> 'shown' AND (SELECT count(*) FROM gone) >= 0 RETURNING o.id),
kept AS (
    UPDATE reservation r SET state = 1, became = greatest(r.became, s.became)
    FROM seen s WHERE r.user_id = s.person AND r.offer = s.offer AND (r.state <> 1 OR r.became < s.became) RETURNING 1),
told AS (
    INSERT INTO offer_event (offer, type, workspace, user_id, reason, at)
    SELECT o.id, q.type, o.workspace, o.user_id, q.reason,
           coalesce(least(greatest(q.at, o.created_at), clock_timestamp()), clock_timestamp())
    FROM q JOIN offer o ON o.id = q.offer
    ON CONFLICT (offer, type) DO NOTHING RETURNING offer, type)
SELECT q.offer, EXISTS (SELECT FROM shown s WHERE s.id = q.offer) AS news,
       EXISTS (SELECT FROM told t WHERE t.offer = q.offer AND t.type = q.type) AS told
FROM q;

-- name: receipts_people
-- $1 offers. The persons they were made for, whose lock orders what becomes of an offer; the statement after it is fresh.
SELECT id FROM app_user WHERE id = ANY (ARRAY(SELECT user_id FROM offer WHERE id = ANY ($1::uuid[])))
ORDER BY id FOR NO KEY UPDATE;

-- name: receipts_busy
-- $1 offers. Locks what of them waits to be sent, and tells those of which somebody holds the row now.
WITH free AS MATERIALIZED (
    SELECT offer FROM outbox WHERE offer = ANY ($1::uuid[]) FOR UPDATE SKIP LOCKED)
SELECT offer FROM outbox WHERE offer = ANY ($1::uuid[]) AND offer NOT IN (SELECT offer FROM free);

-- name: receipts_offers
-- $1 offers. Those that are there, and whose.
SELECT id, user_id FROM offer WHERE id = ANY ($1::uuid[]);

-- name: receipts_note
-- $1 offers, $2 delivered or failed, $3 reasons, $4 when. What the gateway heard of the way to the screen, not what the person
-- did: it undoes nothing. An offer that went unanswered has arrived after all; one of which it is known that it was never
-- shown, and of which nobody has said otherwise, gives its slot back.
WITH q AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) q (offer, type, reason, at)),
told AS (
    INSERT INTO offer_event (offer, type, workspace, user_id, reason, at)
    SELECT o.id, q.type, o.workspace, o.user_id, q.reason, least(greatest(q.at, o.created_at), clock_timestamp())
    FROM q JOIN offer o ON o.id = q.offer
    ON CONFLICT (offer, type) DO NOTHING RETURNING offer, type, reason),
arrived AS (
    UPDATE offer o SET state = 'accepted', detail = NULL
    FROM told t WHERE o.id = t.offer AND t.type = 'delivered' AND o.state = 'ambiguous' RETURNING 1),
unseen AS (
    UPDATE offer o SET state = 'failed', detail = 'not_shown'
    FROM told t WHERE o.id = t.offer AND t.type = 'failed' AND t.reason = 'not_shown' AND o.state IN ('accepted', 'ambiguous')
      AND NOT EXISTS (SELECT FROM q WHERE q.offer = t.offer AND q.type = 'delivered')
      AND NOT EXISTS (SELECT FROM offer_event e WHERE e.offer = t.offer AND e.type <> 'failed')
    RETURNING o.id, o.user_id),
released AS (
    UPDATE reservation r SET state = 2 FROM unseen u WHERE r.user_id = u.user_id AND r.offer = u.id RETURNING 1)
SELECT q.offer, EXISTS (SELECT FROM told t WHERE t.offer = q.offer AND t.type = q.type) AS told FROM q;

-- name: outbox_oldest
-- $1 lane. Seconds for which the oldest row has waited, those included that a back-off or a slowed gateway holds; 0 where
-- there is none. In the app an offer waits for its phone: there only what is due counts.
SELECT coalesce(extract(epoch FROM clock_timestamp() - CASE $1 WHEN 'inapp' THEN
    (SELECT min(due) FROM outbox WHERE lane = 'inapp' AND due <= statement_timestamp())
    ELSE (SELECT min(since) FROM outbox WHERE lane = $1) END), 0)::float8;
