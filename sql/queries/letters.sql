-- name: letters_page
-- $1 workspace, $2 state, $3 lane or null, $4 and $5 instant and id before the page (newest first), $6 how many.
SELECT o.id, o.user_id, o.campaign, o.lane, o.state, o.detail, o.created_at, o.expires_at, o.finished_at,
       coalesce(r.state <> 2, false) AS kept, b.attempts, b.due
FROM offer o
LEFT JOIN reservation r ON r.user_id = o.user_id AND r.offer = o.id
LEFT JOIN outbox b ON b.offer = o.id
WHERE o.workspace = $1 AND o.state = $2 AND ($3::text IS NULL OR o.lane = $3) AND (o.created_at, o.id) < ($4, $5::uuid)
ORDER BY o.created_at DESC, o.id DESC LIMIT $6;

-- name: letters_counted
-- $1 workspace.
SELECT lane, state, count(*), min(created_at) AS oldest_at FROM offer
WHERE workspace = $1 AND created_at > statement_timestamp() - interval '24 hours'
GROUP BY lane, state ORDER BY lane, state;

-- name: letter_person
-- $1 offer. Locks the person, as a decision about them does.
SELECT u.id FROM offer o JOIN app_user u ON u.id = o.user_id WHERE o.id = $1 FOR NO KEY UPDATE OF u;

-- name: letter_look
-- $1 offer, $2 its person. `taken`: whether another offer, or the place of one, was made for the person since.
SELECT o.state, o.lane, o.expires_at <= clock_timestamp() AS expired, coalesce(r.state, 2) AS slot, EXISTS (
    SELECT FROM reservation x WHERE x.user_id = $2 AND x.offer <> $1 AND x.state < 2 AND x.created_at > o.created_at) AS taken
FROM offer o LEFT JOIN reservation r ON r.user_id = $2 AND r.offer = o.id WHERE o.id = $1;

-- name: letter_purses
-- $1 offer, $2 its person. The budgets that it took from when it was made, and whose they are: bodies of a campaign, a store.
SELECT r.workspace, q.owner, q.day, q.body FROM reservation r CROSS JOIN LATERAL (VALUES
    ('campaign/' || r.campaign, r.campaign_day, (SELECT c.body FROM campaign c WHERE c.id = r.campaign)),
    ('store/' || r.store, r.store_day, (SELECT s.body FROM store s WHERE s.workspace = r.workspace AND s.id = r.store))
) q (owner, day, body)
WHERE r.user_id = $2 AND r.offer = $1 AND q.day IS NOT NULL AND q.body IS NOT NULL;

-- name: letter_again
-- $1 offer, $2 its person, $3 partition.
WITH again AS (
    UPDATE offer SET state = 'queued', detail = NULL, finished_at = NULL WHERE id = $1 RETURNING id, workspace, lane),
held AS (UPDATE reservation SET state = 0 WHERE user_id = $2 AND offer = $1 RETURNING 1)
INSERT INTO outbox (offer, workspace, partition, lane, due)
SELECT id, workspace, $3, lane, clock_timestamp() FROM again WHERE EXISTS (SELECT FROM held);
