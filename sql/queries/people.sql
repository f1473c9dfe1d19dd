-- name: devices_owners
-- $1 devices that a repeated request would make.
SELECT id, user_id FROM device WHERE id = ANY ($1::uuid[]);

-- name: users_add
-- Answers with those who were new. Two enrolments that name one new person at once: the second waits here for the first
-- to commit, adds nothing, and locks the row as it is then.
INSERT INTO app_user (id, workspace, partition, external_id, age, locale, time_zone)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[])
ON CONFLICT DO NOTHING RETURNING id;

-- name: users_lock
-- $1 users, in the one order that everybody locks users in.
SELECT id, consents, age FROM app_user WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- name: users_vouched
-- $1 users. Those of them for whom somebody with proof has spoken.
SELECT DISTINCT user_id FROM device WHERE user_id = ANY ($1::uuid[]) AND proven;

-- name: users_follow
-- $1 users, $2 ages, $3 locales, $4 time zones; null leaves what is there.
UPDATE app_user u SET age = COALESCE(q.age, u.age), locale = COALESCE(q.locale, u.locale),
    time_zone = COALESCE(q.time_zone, u.time_zone),
    profile = CASE WHEN COALESCE(q.age, u.age) = 'adult' THEN u.profile END  -- nobody else has one
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) q (id, age, locale, time_zone) WHERE u.id = q.id;

-- name: users_set_consents
UPDATE app_user u SET consents = q.consents FROM unnest($1::uuid[], $2::bytea[]) q (id, consents) WHERE u.id = q.id;

-- name: devices_add
-- A repeat under the same Idempotency-Key finds its device and makes new tokens for it: the epoch rises, the old ones die.
INSERT INTO device (id, workspace, user_id, platform, proven, replay)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::boolean[], $6::boolean[])
ON CONFLICT (id) DO UPDATE SET token_epoch = device.token_epoch + 1, refresh_used = 0
RETURNING id, user_id, token_epoch;

-- name: push_tokens_lock
-- $1 workspace, $2 lanes, $3 push tokens. After the users and before the devices: of two enrolments of one token at
-- once the second waits for the first to commit, and finds its device. Tokens share 64 locks a workspace, taken in
-- order: an array of a thousand must not fill the server's table of locks.
SELECT pg_advisory_xact_lock(hashtext($1::uuid::text), slot) FROM (
    SELECT DISTINCT hashtext(lane || ' ' || token) & 63 AS slot FROM unnest($2::text[], $3::text[]) q (lane, token)
    ORDER BY slot) slots;

-- name: devices_lock
-- $1 devices, $2 lanes and $3 push tokens: those that are here already, and those that lose their tokens. In the one order
-- that everybody locks devices in.
SELECT id FROM device WHERE id IN (
    SELECT unnest($1::uuid[]) UNION ALL
    SELECT d.id FROM unnest($2::text[], $3::text[]) q (lane, token)
    JOIN device d ON d.push_lane = q.lane AND d.push_token = q.token)
ORDER BY id FOR NO KEY UPDATE;

-- name: devices_of_user_lock
-- $1 user. In the one order that everybody locks devices in.
SELECT id FROM device WHERE user_id = $1 ORDER BY id FOR UPDATE;

-- name: push_tokens_set
-- $1 devices, $2 lanes, $3 tokens, $4 their keys, $5 when each was registered; now where it is not said, and never later.
-- One that has died since then is not taken. Returns the devices that are there.
UPDATE device d SET push_lane = q.lane, push_keys = q.keys, push_at = least(q.at, clock_timestamp()),
    push_ok_at = CASE WHEN (d.push_lane, d.push_token) = (q.lane, q.token) THEN d.push_ok_at END,
    push_token = CASE WHEN EXISTS (
        SELECT FROM push_tombstone t WHERE t.workspace = d.workspace AND t.lane = q.lane
          AND t.token = sha256(convert_to(q.token, 'UTF8')) AND t.died_at >= least(q.at, clock_timestamp()))
        THEN NULL ELSE q.token END
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) q (id, lane, token, keys, at)
WHERE d.id = q.id RETURNING d.id;

-- name: push_token_drop
-- $1 device.
UPDATE device SET push_lane = NULL, push_token = NULL, push_keys = NULL, push_at = NULL, push_ok_at = NULL
WHERE id = $1;

-- name: push_token_owner_moves
-- A push token that turns up on a new device leaves its old ones: sends follow the newest binding.
UPDATE device d SET push_token = NULL, push_lane = NULL, push_keys = NULL, push_at = NULL, push_ok_at = NULL
FROM unnest($1::uuid[], $2::text[], $3::text[]) q (id, lane, token)
WHERE d.push_lane = q.lane AND d.push_token = q.token AND d.id <> q.id;

-- name: refresh_tokens_drop
DELETE FROM refresh_token WHERE device = ANY ($1::uuid[]);

-- name: refresh_tokens_add
INSERT INTO refresh_token (hash, workspace, device, generation, expires_at)
SELECT hash, workspace, device, generation, clock_timestamp() + make_interval(secs => $5)
FROM unnest($1::bytea[], $2::uuid[], $3::uuid[], $4::integer[]) q (hash, workspace, device, generation);

-- name: refresh_token_find
-- $1 hash. The device's row is locked: two rotations at once take turns.
SELECT d.id, d.user_id, d.token_epoch, d.refresh_used, r.generation, r.expires_at < clock_timestamp() AS expired
FROM refresh_token r JOIN device d ON d.id = r.device WHERE r.hash = $1 FOR NO KEY UPDATE OF d;

-- name: refresh_used
-- $1 device, $2 generation, $3 hash of the token that is used. Its parent ends with this, and so do its siblings: they
-- become as old as the parent, whose use betrays a copy.
WITH used AS (UPDATE device SET refresh_used = $2 WHERE id = $1)
UPDATE refresh_token SET generation = $2 - 1 WHERE device = $1 AND generation = $2 AND hash <> $3;

-- name: refresh_tokens_forget_old
-- $1 device, $2 generation. Tokens of older generations stay some time: their use betrays a thief.
-- Of the successors of one token, whose answers were lost, the newest few are enough.
DELETE FROM refresh_token WHERE device = $1 AND (generation < $2 - 10 OR hash IN (
    SELECT hash FROM refresh_token WHERE device = $1 AND generation = $2 + 1
    ORDER BY expires_at DESC, hash OFFSET 8));

-- name: device_revoke
-- $1 device: the whole family of its tokens.
UPDATE device SET token_epoch = token_epoch + 1 WHERE id = $1;

-- name: user_lock
SELECT id, partition, external_id, consents, rhythm, age, locale, time_zone, created_at
FROM app_user WHERE id = $1 FOR NO KEY UPDATE;

-- name: user_read
SELECT id, partition, external_id, consents, rhythm, interactions, age, locale, time_zone, created_at, profile, refused,
    age = 'adult' AS adult, external_id IS NOT NULL AS named, drawn_as
FROM app_user WHERE id = $1;

-- name: user_has_others
-- $1 user, $2 device.
SELECT EXISTS (SELECT FROM device WHERE user_id = $1 AND id <> $2);

-- name: user_set_rhythm
UPDATE app_user SET rhythm = $2 WHERE id = $1;

-- name: sends_cancel
-- $1 user, $2 what ended them, $3 device or null for all of the person's. What is due or leased is gone; of a row in
-- state 'sending' bytes may be under way, and it is waited for. Slots are kept: whoever agrees anew would find their caps
-- reset. Returns what was ended.
WITH gone AS (
    DELETE FROM outbox o USING offer f
    WHERE f.user_id = $1 AND ($3::uuid IS NULL OR f.device = $3) AND o.offer = f.id AND o.state IN ('due', 'leased')
    RETURNING o.offer, o.ambiguous),
marked AS (
    UPDATE offer f SET state = CASE WHEN g.ambiguous THEN 'ambiguous' ELSE 'cancelled' END, detail = $2,
        finished_at = clock_timestamp()
    FROM gone g WHERE f.id = g.offer RETURNING f.id, f.user_id, f.lane, f.state, f.detail),
kept AS (
    UPDATE reservation r SET state = 1 FROM marked m WHERE r.user_id = m.user_id AND r.offer = m.id RETURNING 1)
SELECT id AS offer, lane, state, detail FROM marked;

-- name: sends_under_way
-- $1 user, $2 device or null for all of the person's.
SELECT count(*) FROM outbox o JOIN offer f ON f.id = o.offer
WHERE f.user_id = $1 AND ($2::uuid IS NULL OR f.device = $2) AND o.state = 'sending';

-- name: sends_give_up
-- $1 user, $2 device or null for all of the person's. The wait is over: whether it was shown is not known, and it is not
-- repeated. Returns what was ended.
WITH gone AS (
    DELETE FROM outbox o USING offer f
    WHERE f.user_id = $1 AND ($2::uuid IS NULL OR f.device = $2) AND o.offer = f.id AND o.state = 'sending'
    RETURNING o.offer),
marked AS (
    UPDATE offer f SET state = 'ambiguous', detail = 'withdrawn while under way', finished_at = clock_timestamp()
    FROM gone g WHERE f.id = g.offer RETURNING f.id, f.user_id, f.lane, f.state, f.detail),
settled AS (
    UPDATE reservation r SET state = 1 FROM marked m WHERE r.user_id = m.user_id AND r.offer = m.id RETURNING 1)
SELECT id AS offer, lane, state, detail FROM marked;

-- name: presence_wipe
-- $1 user.
UPDATE device SET newest_at = NULL, presence = NULL, received_at = NULL WHERE user_id = $1 AND presence IS NOT NULL;

-- name: visits_forget
-- $1 user, $2 whether those that ended stay. What was to be told of them goes with them: the queue drops what it points at.
WITH told AS (
    DELETE FROM webhook_event WHERE user_id = $1 AND type LIKE 'geofence.%' AND NOT $2 RETURNING 1)
DELETE FROM visit WHERE user_id = $1 AND NOT ($2 AND left_at IS NOT NULL);

-- name: consent_salts_add
INSERT INTO consent_salt (user_id, workspace, salt) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[])
ON CONFLICT DO NOTHING;

-- name: consent_salts
SELECT user_id, salt FROM consent_salt WHERE user_id = ANY ($1::uuid[]);

-- name: consent_head_open
INSERT INTO consent_head (workspace, seq, hash) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING;

-- name: consent_head_lock
-- The last lock that any transaction takes.
SELECT seq, hash FROM consent_head WHERE workspace = $1 FOR UPDATE;

-- name: consent_head_move
UPDATE consent_head SET seq = $2, hash = $3 WHERE workspace = $1;

-- name: consent_ledger_append
INSERT INTO consent_ledger (workspace, seq, subject, purpose, granted, text_version, surface, at, prev_hash, hash, form,
                            locale, proof, said_at)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::text[], $5::boolean[], $6::text[], $7::text[],
                     $8::timestamptz[], $9::bytea[], $10::bytea[], $11::smallint[], $12::text[], $13::bytea[],
                     $14::timestamptz[]);

-- name: consent_ledger_read
-- $1 workspace, $2 after which seq, $3 how many.
SELECT workspace, seq, subject, purpose, granted, text_version, surface, at, prev_hash, hash, form, locale, proof, said_at
FROM consent_ledger WHERE workspace = $1 AND seq > $2 ORDER BY seq LIMIT $3;

-- name: consent_ledger_of
-- $1 workspace, $2 subjects, $3 after which seq, $4 how many.
SELECT workspace, seq, subject, purpose, granted, text_version, surface, at, prev_hash, hash, form, locale, proof, said_at
FROM consent_ledger WHERE workspace = $1 AND subject = ANY ($2::bytea[]) AND seq > $3 ORDER BY seq LIMIT $4;

-- name: consent_ledger_surface
-- $1 workspace, $2 subjects, $3 surface.
SELECT DISTINCT subject, purpose FROM consent_ledger
WHERE workspace = $1 AND subject = ANY ($2::bytea[]) AND surface = $3;

-- name: export_devices
SELECT id, platform, push_lane, push_token, push_keys, push_at, push_ok_at, created_at FROM device
WHERE user_id = $1 AND ($2::uuid IS NULL OR id = $2) ORDER BY created_at, id;

-- name: export_events
-- $1 offers.
SELECT offer, type, at, reason FROM offer_event WHERE offer = ANY ($1::uuid[]) ORDER BY at, type;

-- Pages of what is held of a person: $1 user, $2 and $3 the instant and id before the page, $4 how many, $5 device or
-- null for all of the person's.

-- name: export_visits
SELECT id, device, fence, entered_at, confirmed_at, dwelt_at, left_at, closed_by, label, confidence, fixes, accuracy_m
FROM visit
WHERE user_id = $1 AND (entered_at, id) > ($2::timestamptz, $3::uuid) AND ($5::uuid IS NULL OR device = $5)
ORDER BY entered_at, id LIMIT $4;

-- name: export_offers
SELECT id, campaign, fence, message, lane, created_at, expires_at, state FROM offer
WHERE user_id = $1 AND (created_at, id) > ($2::timestamptz, $3::uuid) AND ($5::uuid IS NULL OR device = $5)
ORDER BY created_at, id LIMIT $4;

-- name: export_decisions
-- Without a device: which one a decision is of is known by the visits that its receipt names.
SELECT id, user_id, campaign, at, outcome, reason, offer, receipt, snapshot FROM decision
WHERE user_id = $1 AND (at, id) > ($2::timestamptz, $3::uuid) ORDER BY at, id LIMIT $4;

-- name: export_reservations
SELECT r.offer AS id, r.at, r.campaign, r.store, r.fence, r.state FROM reservation r
WHERE r.user_id = $1 AND (r.at, r.offer) > ($2::timestamptz, $3::uuid)
  AND ($5::uuid IS NULL OR EXISTS (SELECT FROM offer o WHERE o.id = r.offer AND o.device = $5))
ORDER BY r.at, r.offer LIMIT $4;

-- name: decisions_recent
-- $1 user, $2 how many. Newest first.
SELECT id, user_id, campaign, at, outcome, reason, offer, receipt FROM decision
WHERE user_id = $1 ORDER BY at DESC, id DESC LIMIT $2;

-- name: export_visits_of_device
-- $1 visits, $2 device.
SELECT id FROM visit WHERE id = ANY ($1::uuid[]) AND device = $2;

-- name: erase_device
-- $1 user, $2 device, $3 workspace: what this device caused. What another one caused and was moved to it goes back to that
-- one. Returns how many devices the person still has.
WITH moved_back AS (UPDATE offer SET sent_to = NULL WHERE user_id = $1 AND sent_to = $2 AND device <> $2 RETURNING 1),
offers AS (DELETE FROM offer WHERE user_id = $1 AND device = $2 RETURNING id),
events AS (DELETE FROM offer_event e USING offers o WHERE e.offer = o.id RETURNING 1),
told AS (
    DELETE FROM webhook_event WHERE user_id = $1 AND convert_from(body, 'UTF8')::json ->> 'device' = $2::text RETURNING 1),
reserved AS (
    DELETE FROM reservation r WHERE r.user_id = $1 AND (r.offer IN (SELECT id FROM offers) OR r.ghost AND r.visit IN (
        SELECT id FROM visit WHERE user_id = $1 AND device = $2)) RETURNING 1),
visits AS (DELETE FROM visit WHERE user_id = $1 AND device = $2 RETURNING enter_decision, dwell_decision, exit_decision),
decisions AS (
    DELETE FROM decision d USING visits v WHERE d.id IN (v.enter_decision, v.dwell_decision, v.exit_decision) RETURNING 1),
tokens AS (DELETE FROM refresh_token WHERE device = $2 RETURNING 1),
answers AS (DELETE FROM idempotency WHERE workspace = $3 AND caller = $2::text RETURNING 1),
gone AS (DELETE FROM device WHERE id = $2 RETURNING 1)
SELECT count(*) FROM device WHERE user_id = $1 AND id <> $2;

-- name: erase_user
-- $1 user, $2 workspace: everything but the consent ledger and the salt of its subject, which goes last.
-- That a manager searched for the person stays in the audit; whom they searched for does not.
WITH events AS (DELETE FROM offer_event WHERE offer IN (SELECT id FROM offer WHERE user_id = $1) RETURNING 1),
told AS (DELETE FROM webhook_event WHERE user_id = $1 RETURNING 1),
tokens AS (DELETE FROM refresh_token WHERE device IN (SELECT id FROM device WHERE user_id = $1) RETURNING 1),
offers AS (DELETE FROM offer WHERE user_id = $1 RETURNING 1),
reserved AS (DELETE FROM reservation WHERE user_id = $1 RETURNING 1),
visits AS (DELETE FROM visit WHERE user_id = $1 RETURNING 1),
decisions AS (DELETE FROM decision WHERE user_id = $1 RETURNING 1),
devices AS (DELETE FROM device WHERE user_id = $1 RETURNING 1),
answers AS (
    DELETE FROM idempotency WHERE workspace = $2
      AND caller = ANY (ARRAY(SELECT id::text FROM device WHERE user_id = $1)) RETURNING 1),
audited AS (
    UPDATE audit a SET subject = 'erased' FROM app_user u
    WHERE u.id = $1 AND a.workspace = $2 AND (a.subject = u.external_id OR lower(a.subject) = u.id::text) RETURNING 1)
DELETE FROM app_user WHERE id = $1;

-- name: consent_salt_destroy
-- $1 user, after the ledger's last rows of them: whose rows these are cannot be told any more.
DELETE FROM consent_salt WHERE user_id = $1;

-- name: inbox
-- $1 user, $2 device or null for all of the person's, $3 and $4 where the page begins, $5 how many. Newest first.
SELECT id, campaign, fence, message, lane, created_at, expires_at FROM offer
WHERE user_id = $1 AND ($2::uuid IS NULL OR device = $2) AND state <> 'cancelled'
  AND (created_at, id) < ($3::timestamptz, $4::uuid)
ORDER BY created_at DESC, id DESC LIMIT $5;

-- name: offer_of_user
-- $1 offer, $2 user, $3 device or null.
SELECT id, campaign FROM offer WHERE id = $1 AND user_id = $2 AND ($3::uuid IS NULL OR device = $3);

-- name: workspace_settings
SELECT id, name, settings FROM workspace WHERE id = $1;
