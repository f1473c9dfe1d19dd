-- name: segment_put
-- $1 workspace, $2 id, $3 body. A row that was there has been updated, and xmax tells.
INSERT INTO segment (workspace, id, body) VALUES ($1, $2, $3)
ON CONFLICT (workspace, id) DO UPDATE SET body = EXCLUDED.body, updated_at = clock_timestamp()
RETURNING xmax = 0 AS created;

-- name: segment_get
SELECT id, body FROM segment WHERE workspace = $1 AND id = $2;

-- name: segments_page
-- $1 workspace, $2 the id before the page, $3 how many.
SELECT id, body FROM segment WHERE workspace = $1 AND id > $2 ORDER BY id LIMIT $3;

-- name: segments_all
SELECT id, body FROM segment WHERE workspace = $1;

-- name: segment_delete
DELETE FROM segment WHERE workspace = $1 AND id = $2 RETURNING id;

-- name: campaigns_with_people
-- $1 workspace. Of the campaigns that have not ended, those that may name a segment or an attribute.
SELECT id, body FROM campaign WHERE workspace = $1 AND state <> 'ended'
  AND (position('"audience":{' in convert_from(body, 'UTF8')) > 0 OR position('"ask":"' in convert_from(body, 'UTF8')) > 0);

-- name: profile_lock
-- $1 user. Fresh even after a wait.
SELECT id, consents, profile, refused, age = 'adult' AS adult, external_id IS NOT NULL AS named, locale, time_zone, created_at
FROM app_user WHERE id = $1 FOR NO KEY UPDATE;

-- name: profile_read
SELECT id, consents, profile, refused, age = 'adult' AS adult, external_id IS NOT NULL AS named, locale, time_zone, created_at
FROM app_user WHERE id = $1;

-- name: profiles_read
-- $1 users, who are locked.
SELECT id, consents, profile, refused, age = 'adult' AS adult, external_id IS NOT NULL AS named, created_at
FROM app_user WHERE id = ANY ($1::uuid[]);

-- name: profiles_put
-- $1 users, $2 their profiles or nulls.
UPDATE app_user u SET profile = q.profile FROM unnest($1::uuid[], $2::bytea[]) q (id, profile) WHERE u.id = q.id;

-- name: profile_put
-- $1 user, $2 profile or null, $3 refused.
UPDATE app_user SET profile = $2, refused = $3 WHERE id = $1;

-- name: profile_speak
-- $1 user, $2 locale, $3 time zone; null leaves what is there.
UPDATE app_user SET locale = COALESCE($2, locale), time_zone = COALESCE($3, time_zone) WHERE id = $1;

-- name: profile_wipe
UPDATE app_user SET profile = NULL WHERE id = $1;

-- name: snapshots_forget
-- Receipts stay and say what was decided; what they were made of holds more of the person.
UPDATE decision SET snapshot = NULL WHERE user_id = $1 AND snapshot IS NOT NULL;

-- name: user_named
-- $1 workspace, $2 the app's own name for the person, $3 our id of them or null. A name that looks like an id is a name.
SELECT id FROM app_user WHERE workspace = $1 AND (external_id = $2 OR id = $3)
ORDER BY external_id IS NOT DISTINCT FROM $2 DESC LIMIT 1;
