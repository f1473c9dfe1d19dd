-- name: rehearsal_people
-- $1 workspace, $2 the id before the page, $3 how many, $4 since, $5 until, $6 the beginning of the names of a set's fences or
-- null, $7 fences. The next people by id: `here` says whether one was at one of the fences in that time. Of their phones the
-- newest that can be reached, else the newest.
SELECT u.id, u.consents, u.rhythm, u.interactions, u.locale, u.time_zone, u.profile, u.refused, u.age = 'adult' AS adult,
       u.external_id IS NOT NULL AS named, u.created_at, u.drawn_as, d.platform, d.push_lane,
       EXISTS (SELECT FROM visit v WHERE v.user_id = u.id AND v.entered_at >= $4 AND v.entered_at < $5
               AND (starts_with(v.fence, $6::text) OR v.fence = ANY ($7::text[]))) AS here
FROM (SELECT * FROM app_user WHERE workspace = $1 AND id > $2 ORDER BY id LIMIT $3) u
LEFT JOIN LATERAL (
    SELECT platform, CASE WHEN push_token IS NOT NULL THEN push_lane END AS push_lane FROM device x
    WHERE x.user_id = u.id ORDER BY push_token IS NULL, created_at DESC LIMIT 1) d ON true
ORDER BY u.id;

-- name: rehearsal_visits
-- $1 users, $2 since, $3 until. Of each the newest 500. One that ended without an exit has none.
SELECT t.id AS user_id, v.id, v.fence, v.entered_at, v.confirmed_at, v.dwelt_at, v.left_at, v.confidence, v.fixes
FROM unnest($1::uuid[]) t (id)
CROSS JOIN LATERAL (
    SELECT id, fence, entered_at, confirmed_at, dwelt_at, CASE WHEN closed_by = 'exit' THEN left_at END AS left_at,
           confidence, fixes
    FROM visit x WHERE x.user_id = t.id AND x.entered_at >= $2 AND x.entered_at < $3
    ORDER BY x.entered_at DESC LIMIT 500) v;

-- name: rehearsal_uses
-- $1 users, $2 since, $3 until. Reservations in use.
SELECT user_id, at, campaign, store, fence, tags, visit, special, ghost, became FROM reservation
WHERE user_id = ANY ($1::uuid[]) AND at > $2 AND at < $3 AND state < 2;
