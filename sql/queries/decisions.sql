-- name: decisions_page
-- $1 workspace, $2 the id before the page (newest first), $3 how many; nulls where not asked for: $4 campaign, $5 reason,
-- $6 since, $7 until.
SELECT id, user_id, campaign, at, outcome, reason, offer, receipt FROM decision
WHERE workspace = $1 AND id < $2::uuid AND ($4::uuid IS NULL OR campaign = $4) AND ($5::text IS NULL OR reason = $5)
  AND ($6::timestamptz IS NULL OR at >= $6) AND ($7::timestamptz IS NULL OR at < $7)
ORDER BY id DESC LIMIT $3;

-- name: decisions_page_of_users
-- As above, of some users: $8. The sort is by an expression, so that it is their decisions that are read and no others.
SELECT id, user_id, campaign, at, outcome, reason, offer, receipt FROM decision
WHERE workspace = $1 AND user_id = ANY ($8::uuid[]) AND id < $2::uuid AND ($4::uuid IS NULL OR campaign = $4)
  AND ($5::text IS NULL OR reason = $5) AND ($6::timestamptz IS NULL OR at >= $6) AND ($7::timestamptz IS NULL OR at < $7)
ORDER BY (id::text) COLLATE "C" DESC LIMIT $3;

-- name: decisions_counted
-- $1 workspace, $2 campaign, $3 since, $4 until. How many of the decisions that concerned it were offers of it (reason null),
-- and for which reason it was silent at the others.
SELECT reason, count(*) FROM (
    SELECT reason FROM decision WHERE workspace = $1 AND campaign = $2 AND at >= $3 AND at < $4
    UNION ALL
    SELECT reason FROM passed_over WHERE workspace = $1 AND campaign = $2 AND at >= $3 AND at < $4) concerned
GROUP BY reason ORDER BY count(*) DESC, reason;

-- name: decision_get
SELECT id, user_id, campaign, at, outcome, reason, offer, receipt FROM decision WHERE workspace = $1 AND id = $2;

-- name: decision_delivery
-- $1 workspace, $2 offer.
SELECT o.lane, o.state, o.detail, o.created_at, o.expires_at, o.accepted_at, o.finished_at, b.attempts, b.due
FROM offer o LEFT JOIN outbox b ON b.offer = o.id WHERE o.workspace = $1 AND o.id = $2;

-- name: decision_delivery_events
-- $1 offer.
SELECT type, at, reason FROM offer_event WHERE offer = $1;

-- name: decisions_users_named
-- $1 workspace, $2 the app's own name, $3 our id or null.
SELECT id FROM app_user WHERE workspace = $1 AND (external_id = $2 OR id = $3::uuid);

-- name: decision_snapshot
-- $1 workspace, $2 id, $3 for how long decisions are kept.
SELECT user_id, snapshot, receipt FROM decision
WHERE workspace = $1 AND id = $2 AND created_at >= statement_timestamp() - $3::text::interval;
