-- name: event_lock
-- $1 workspace, $2 id.
SELECT id, body, rule, version, author, approvals FROM event WHERE workspace = $1 AND id = $2 FOR NO KEY UPDATE;

-- name: event_get
-- $1 workspace, $2 id.
SELECT e.id, e.body, e.rule, e.version, e.approvals, n.value, n.at, n.is_on
FROM event e LEFT JOIN event_number n ON n.workspace = e.workspace AND n.event = e.id
WHERE e.workspace = $1 AND e.id = $2;

-- name: event_put
-- $1 workspace, $2 id, $3 body, $4 rule, $5 author. Nobody has approved what is new.
INSERT INTO event (workspace, id, body, rule, author) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (workspace, id) DO UPDATE SET body = EXCLUDED.body, rule = EXCLUDED.rule, author = EXCLUDED.author,
    version = event.version + 1, approvals = '{}', updated_at = clock_timestamp();

-- name: event_approve
-- $1 workspace, $2 id, $3 key.
UPDATE event SET approvals = array_append(approvals, $3) WHERE workspace = $1 AND id = $2;

-- name: event_delete
WITH number AS (DELETE FROM event_number WHERE workspace = $1 AND event = $2)
DELETE FROM event WHERE workspace = $1 AND id = $2 RETURNING id;

-- name: events_count
SELECT count(*) FROM event WHERE workspace = $1;

-- name: events_page
-- $1 workspace, $2 the id before the page, $3 how many.
SELECT e.id, e.body, e.rule, e.version, e.approvals, n.value, n.at, n.is_on
FROM event e LEFT JOIN event_number n ON n.workspace = e.workspace AND n.event = e.id
WHERE e.workspace = $1 AND e.id > $2 ORDER BY e.id LIMIT $3;

-- name: events_rules
-- $1 workspace.
SELECT id, rule, cardinality(approvals) AS approvals FROM event WHERE workspace = $1;

-- name: events_known
-- $1 workspace, $2 ids.
SELECT id FROM event WHERE workspace = $1 AND id = ANY ($2::text[]);

-- name: event_number_get
-- $1 workspace, $2 event.
SELECT value, at, is_on FROM event_number WHERE workspace = $1 AND event = $2;

-- name: event_number_put
-- $1 workspace, $2 event, $3 value, $4 its instant, $5 whether the event is on by it.
INSERT INTO event_number (workspace, event, value, at, is_on) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (workspace, event) DO UPDATE SET value = EXCLUDED.value, at = EXCLUDED.at, is_on = EXCLUDED.is_on;

-- name: event_number_drop
DELETE FROM event_number WHERE workspace = $1 AND event = $2;

-- name: turn_numbers
-- $1 workspaces and $2 events, side by side.
SELECT n.workspace, n.event, n.value, n.at, n.is_on
FROM unnest($1::uuid[], $2::text[]) q (workspace, event)
JOIN event_number n ON n.workspace = q.workspace AND n.event = q.event;

-- name: campaigns_bodies
-- $1 workspace. Of those that can still say something.
SELECT id, body FROM campaign WHERE workspace = $1 AND state <> 'ended';
