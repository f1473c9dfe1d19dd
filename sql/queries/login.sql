-- The log-in's statements: $1 is the person without a name whose device logs in, $2 the one it becomes a device of.

-- name: log_in_lock
-- $1 both, in the one order that everybody locks users in.
SELECT id, external_id, consents, age, profile, refused, rhythm, interactions FROM app_user WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- name: log_in_prove
-- $1 device, $2 whether this log-in proves whose it is.
UPDATE device SET proven = proven OR $2 WHERE id = $1 RETURNING token_epoch;

-- name: log_in_person
-- $3 whether the named person is new: they take over all, their place in draws too; else what they said holds, and only adds
-- up. $4 age, $5 rhythm.
UPDATE app_user b SET age = $4, rhythm = $5, drawn_as = CASE WHEN $3 THEN a.id ELSE b.drawn_as END,
    locale = CASE WHEN $3 THEN a.locale ELSE b.locale END, time_zone = COALESCE(b.time_zone, a.time_zone),
    refused = ARRAY(SELECT unnest(a.refused) UNION SELECT unnest(b.refused) ORDER BY 1)
FROM app_user a WHERE a.id = $1 AND b.id = $2;

-- name: log_in_device
-- $1 device, $2 whose it is now, $3 whether that is proven. What it is inside of stays with it.
UPDATE device SET user_id = $2, proven = $3 WHERE id = $1 RETURNING token_epoch;

-- name: log_in_offers
-- $3 the named person's partition. What caps count moves with or without a word on the profile: it protects the person.
WITH reserved AS (UPDATE reservation SET user_id = $2 WHERE user_id = $1 RETURNING 1),
events AS (UPDATE offer_event SET user_id = $2 WHERE offer IN (SELECT id FROM offer WHERE user_id = $1) RETURNING 1),
due AS (UPDATE outbox o SET partition = $3 FROM offer f WHERE f.user_id = $1 AND o.offer = f.id RETURNING 1)
UPDATE offer SET user_id = $2 WHERE user_id = $1;

-- name: log_in_history
WITH decided AS (UPDATE decision SET user_id = $2 WHERE user_id = $1 RETURNING 1)
UPDATE visit SET user_id = $2 WHERE user_id = $1;

-- name: log_in_no_history
-- What has not ended is the present and moves with the device; the decision of an offer moves with the offer.
WITH decided AS (UPDATE decision SET user_id = $2 WHERE user_id = $1 AND offer IS NOT NULL RETURNING 1),
undecided AS (DELETE FROM decision WHERE user_id = $1 AND offer IS NULL RETURNING 1),
present AS (UPDATE visit SET user_id = $2 WHERE user_id = $1 AND left_at IS NULL RETURNING 1)
DELETE FROM visit WHERE user_id = $1 AND left_at IS NOT NULL;

-- name: log_in_end
-- $3 workspace. That a manager searched for the person stays findable for their erasure.
WITH audited AS (UPDATE audit SET subject = $2::uuid::text WHERE workspace = $3 AND lower(subject) = $1::uuid::text)
DELETE FROM app_user WHERE id = $1;
