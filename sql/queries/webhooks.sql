-- Webhooks of the company's own systems. The queue has no policy: claims work across workspaces, and what a row points at has
-- one, so every other statement runs with the workspaces of its batch set.

-- name: webhooks_tell
-- $1 workspaces, $2 types, $3 persons or nulls, $4 instants, $5 bodies.
SELECT tell_endpoints($1, $2, $3, $4, $5);

-- name: webhooks_types
-- $1 workspace. What any endpoint of it wants to be told.
SELECT DISTINCT unnest(types) AS type FROM webhook_endpoint WHERE workspace = $1 AND disabled_at IS NULL;

-- name: webhooks_claim
-- $1 endpoints that have less room than others, $2 how many each of them takes, $3 how many any other takes, $4 most of all,
-- $5 lease in seconds. Every endpoint is asked by itself (the recursion steps from one to the next in the index), so that
-- what one has waiting hides no other's; in any order, so that none comes last each time. A lease that ran out is claimed
-- again under a new token. By unnest: a join with the locked rows is planned for as many as wait, and reads them all.
WITH RECURSIVE queue AS (
    (SELECT endpoint FROM webhook_delivery WHERE state IN ('due', 'leased') ORDER BY endpoint LIMIT 1)
    UNION ALL
    SELECT (SELECT d.endpoint FROM webhook_delivery d WHERE d.state IN ('due', 'leased') AND d.endpoint > q.endpoint
            ORDER BY d.endpoint LIMIT 1)
    FROM queue q WHERE q.endpoint IS NOT NULL),
next AS MATERIALIZED (
    SELECT d.endpoint, d.event FROM (SELECT endpoint FROM queue WHERE endpoint IS NOT NULL ORDER BY random()) q
    LEFT JOIN unnest($1::uuid[], $2::int[]) r (endpoint, room) ON r.endpoint = q.endpoint
    CROSS JOIN LATERAL (
        SELECT endpoint, event FROM webhook_delivery w
        WHERE w.endpoint = q.endpoint AND w.state IN ('due', 'leased') AND w.due <= statement_timestamp()
          AND (w.state = 'due' OR w.lease_until < clock_timestamp())
        ORDER BY w.due LIMIT coalesce(r.room, $3::int) FOR UPDATE SKIP LOCKED) d
    LIMIT $4),
locked AS (SELECT array_agg(endpoint) AS endpoints, array_agg(event) AS events FROM next)
UPDATE webhook_delivery d SET state = 'leased', token = d.token + 1, attempts = d.attempts + 1,
    lease_until = clock_timestamp() + make_interval(secs => $5)
FROM locked, unnest(locked.endpoints, locked.events) n (endpoint, event) WHERE d.endpoint = n.endpoint AND d.event = n.event
RETURNING d.endpoint, d.event, d.workspace, d.token, d.attempts;

-- name: webhooks_look
-- $1 endpoints, $2 events. What is to be sent of those claimed, where both are still there. A geofence is named set/id: the
-- first slash splits. Where it lies is read for who wants it alone.
SELECT e.id AS endpoint, e.workspace, v.id AS event, e.url, e.secret,
       CASE WHEN e.former_until > clock_timestamp() THEN e.former END AS former, v.type, v.at, v.body,
       (g.min_lat + g.max_lat) / 2 AS lat, (g.min_lon + g.max_lon) / 2 AS lon
FROM unnest($1::uuid[], $2::uuid[]) q (endpoint, event)
JOIN webhook_endpoint e ON e.id = q.endpoint AND e.disabled_at IS NULL
JOIN webhook_event v ON v.id = q.event
LEFT JOIN LATERAL (
    SELECT convert_from(v.body, 'UTF8')::json ->> 'fence' AS name
    WHERE e.coordinates AND v.type LIKE 'geofence.%' OFFSET 0) f ON true
LEFT JOIN LATERAL (
    SELECT v.workspace, split_part(f.name, '/', 1) AS set_id, substr(f.name, strpos(f.name, '/') + 1) AS external_id
    WHERE f.name IS NOT NULL OFFSET 0) n ON true
LEFT JOIN geofence g ON g.workspace = n.workspace AND g.set_id = n.set_id AND g.external_id = n.external_id;

-- name: webhooks_finish
-- $1 endpoints, $2 events, $3 their tokens, $4 states, $5 seconds until due again, $6 statuses, $7 milliseconds, $8 details, $9
-- whether it was tried: what was not gets its attempt back. An endpoint fails from its first bad answer to its next good one;
-- its row is locked before its deliveries, as who changes it locks them; where the answer is bad also because it may be disabled.
WITH q AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::float8[], $6::int[], $7::int[], $8::text[],
                         $9::bool[]) q (endpoint, event, token, state, after_s, status, ms, detail, tried)),
turned AS MATERIALIZED (
    SELECT e.id FROM webhook_endpoint e
    JOIN (SELECT endpoint, bool_or(state = 'delivered') AS good FROM q WHERE tried GROUP BY endpoint) j ON j.endpoint = e.id
    WHERE NOT j.good OR e.failing_since IS NOT NULL ORDER BY e.id FOR NO KEY UPDATE OF e),
done AS (
    UPDATE webhook_delivery d SET state = q.state, status = coalesce(q.status, d.status), lease_until = NULL,
        attempts = d.attempts - (NOT q.tried)::int, due = clock_timestamp() + make_interval(secs => q.after_s)
    FROM q WHERE d.endpoint = q.endpoint AND d.event = q.event AND d.token = q.token AND d.state = 'leased'
      AND (SELECT count(*) FROM turned) >= 0
    RETURNING q.*, d.workspace),
logged AS (
    INSERT INTO webhook_attempt (endpoint, event, workspace, status, ms, detail)
    SELECT endpoint, event, workspace, status, ms, detail FROM done WHERE tried),
judged AS (SELECT endpoint, bool_or(state = 'delivered') AS good FROM done WHERE tried GROUP BY endpoint)
UPDATE webhook_endpoint e SET failing_since = CASE WHEN NOT j.good THEN clock_timestamp() END
FROM judged j WHERE e.id = j.endpoint AND j.good = (e.failing_since IS NOT NULL);

-- name: webhooks_drop
-- $1 endpoints, $2 events. Of what is erased or disabled nothing is sent.
DELETE FROM webhook_delivery d USING unnest($1::uuid[], $2::uuid[]) q (endpoint, event)
WHERE d.endpoint = q.endpoint AND d.event = q.event AND d.state = 'leased'
  AND NOT EXISTS (SELECT FROM webhook_event v WHERE v.id = d.event);

-- name: webhooks_disable
-- $1 endpoints that are gone, $2 endpoints that too much waits for, $3 endpoints that failed, $4 for how many seconds one may.
UPDATE webhook_endpoint SET disabled_at = clock_timestamp(),
    disabled_why = CASE WHEN id = ANY ($1::uuid[]) THEN 'gone' WHEN id = ANY ($2::uuid[]) THEN 'backlog' ELSE 'failing' END
WHERE disabled_at IS NULL AND (id = ANY ($1::uuid[] || $2::uuid[]) OR (
    id = ANY ($3::uuid[]) AND failing_since < clock_timestamp() - make_interval(secs => $4)))
RETURNING id, workspace, disabled_why;

-- name: webhooks_backlogs
-- $1 how many events may wait for an endpoint. Those that more wait for, found as the claim finds all that have any.
WITH RECURSIVE queue AS (
    (SELECT endpoint, workspace FROM webhook_delivery WHERE state IN ('due', 'leased') ORDER BY endpoint LIMIT 1)
    UNION ALL
    SELECT n.endpoint, n.workspace FROM queue q CROSS JOIN LATERAL (
        SELECT d.endpoint, d.workspace FROM webhook_delivery d
        WHERE d.state IN ('due', 'leased') AND d.endpoint > q.endpoint ORDER BY d.endpoint LIMIT 1) n)
SELECT endpoint, workspace FROM queue q WHERE EXISTS (
    SELECT FROM webhook_delivery d WHERE d.endpoint = q.endpoint AND d.state IN ('due', 'leased') OFFSET $1::bigint);

-- name: webhooks_give_up
-- $1 endpoints, $2 how many at most. What waits for those of them that are disabled, or gone; a replay brings it back.
WITH given_up AS MATERIALIZED (
    SELECT w.endpoint, w.event FROM unnest($1::uuid[]) q (endpoint) CROSS JOIN LATERAL (
        SELECT d.endpoint, d.event FROM webhook_delivery d
        WHERE d.endpoint = q.endpoint AND d.state IN ('due', 'leased') ORDER BY d.due LIMIT $2) w
    WHERE NOT EXISTS (SELECT FROM webhook_endpoint e WHERE e.id = q.endpoint AND e.disabled_at IS NULL) LIMIT $2),
listed AS (SELECT array_agg(endpoint) AS endpoints, array_agg(event) AS events FROM given_up)
UPDATE webhook_delivery d SET state = 'failed', lease_until = NULL
FROM listed, unnest(listed.endpoints, listed.events) g (endpoint, event)
WHERE d.endpoint = g.endpoint AND d.event = g.event AND d.state IN ('due', 'leased');

-- name: webhooks_oldest
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM webhook_delivery
WHERE state IN ('due', 'leased');

-- name: webhooks_insert
-- $1 id, $2 workspace, $3 url, $4 types, $5 secret, $6 coordinates, $7 the most a workspace may have. Who asks again under the
-- same id has not had the answer, and so not the secret: it is a new one.
INSERT INTO webhook_endpoint (id, workspace, url, types, secret, coordinates)
SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT count(*) FROM webhook_endpoint WHERE workspace = $2 AND id <> $1) < $7::int
ON CONFLICT (id) DO UPDATE SET secret = EXCLUDED.secret RETURNING id;

-- name: webhooks_read
-- $1 workspace, $2 id.
SELECT id, url, types, coordinates, created_at, failing_since, disabled_at, disabled_why,
       CASE WHEN former_until > clock_timestamp() THEN former_until END AS former_until
FROM webhook_endpoint WHERE workspace = $1 AND id = $2;

-- name: webhooks_lock
SELECT id, disabled_at FROM webhook_endpoint WHERE workspace = $1 AND id = $2 FOR NO KEY UPDATE;

-- name: webhooks_page
-- $1 workspace, $2 the id before the page, $3 how many.
SELECT id, url, types, coordinates, created_at, failing_since, disabled_at, disabled_why,
       CASE WHEN former_until > clock_timestamp() THEN former_until END AS former_until
FROM webhook_endpoint WHERE workspace = $1 AND id > $2 ORDER BY id LIMIT $3;

-- name: webhooks_change
-- $1 id, $2 url, $3 types, $4 coordinates, $5 whether disabled; null leaves each as it is.
UPDATE webhook_endpoint SET url = coalesce($2, url), types = coalesce($3, types), coordinates = coalesce($4, coordinates),
    disabled_at = CASE WHEN $5::bool IS NULL THEN disabled_at WHEN $5 THEN coalesce(disabled_at, clock_timestamp()) END,
    disabled_why = CASE WHEN $5::bool IS NULL THEN disabled_why WHEN $5 THEN coalesce(disabled_why, 'asked') END,
    failing_since = CASE WHEN $5::bool IS NOT DISTINCT FROM false THEN NULL ELSE failing_since END
WHERE id = $1;

-- name: webhooks_rotate
-- $1 id, $2 secret, $3 for how many seconds the one before signs too.
UPDATE webhook_endpoint SET former = secret, former_until = clock_timestamp() + make_interval(secs => $3), secret = $2
WHERE id = $1 RETURNING former_until;

-- name: webhooks_delete
-- $1 workspace, $2 id. Events that another endpoint wants stay until they are old.
WITH queued AS (DELETE FROM webhook_delivery WHERE endpoint = $2 AND workspace = $1 RETURNING 1),
attempts AS (DELETE FROM webhook_attempt WHERE endpoint = $2 RETURNING 1)
DELETE FROM webhook_endpoint WHERE workspace = $1 AND id = $2 RETURNING id;

-- name: webhooks_deliveries
-- $1 workspace, $2 endpoint, $3 and $4 the instant and event before the page (newest first), $5 how many.
SELECT d.event, v.type, v.at, d.created_at, d.state, d.attempts, d.status, CASE WHEN d.state IN ('due', 'leased') THEN d.due END AS due,
       ARRAY(SELECT ROW(a.at, a.status, a.ms, a.detail) FROM webhook_attempt a
             WHERE a.endpoint = d.endpoint AND a.event = d.event ORDER BY a.at DESC LIMIT 20) AS log
FROM webhook_delivery d JOIN webhook_event v ON v.id = d.event
WHERE d.workspace = $1 AND d.endpoint = $2 AND (d.created_at, d.event) < ($3::timestamptz, $4::uuid)
ORDER BY d.created_at DESC, d.event DESC LIMIT $5;

-- name: webhooks_replay
-- $1 workspace, $2 endpoint, $3 event, of its types or told it before. Whatever became of it; what is under way is left.
INSERT INTO webhook_delivery AS d (endpoint, event, workspace)
SELECT e.id, v.id, v.workspace FROM webhook_event v JOIN webhook_endpoint e ON e.id = $2
WHERE v.workspace = $1 AND v.id = $3
  AND (v.type = ANY (e.types) OR EXISTS (SELECT FROM webhook_delivery b WHERE b.endpoint = e.id AND b.event = v.id))
ON CONFLICT (endpoint, event) DO UPDATE SET state = CASE d.state WHEN 'leased' THEN 'leased' ELSE 'due' END,
    due = CASE d.state WHEN 'leased' THEN d.due ELSE clock_timestamp() END,
    attempts = CASE d.state WHEN 'leased' THEN d.attempts ELSE 0 END
RETURNING event;

-- name: webhooks_replay_since
-- $1 workspace, $2 endpoint, $3 instant, $4 most. All events of its types since then that it has not taken.
WITH missed AS (
    SELECT v.id FROM webhook_event v JOIN webhook_endpoint e ON e.id = $2 AND v.type = ANY (e.types)
    LEFT JOIN webhook_delivery d ON d.endpoint = e.id AND d.event = v.id
    WHERE v.workspace = $1 AND v.created_at >= $3::timestamptz AND (d.event IS NULL OR d.state = 'failed')
    ORDER BY v.created_at LIMIT $4)
INSERT INTO webhook_delivery AS d (endpoint, event, workspace) SELECT $2, id, $1 FROM missed
ON CONFLICT (endpoint, event) DO UPDATE SET state = 'due', due = clock_timestamp(), attempts = 0
RETURNING event;

-- name: webhooks_test
-- $1 workspace, $2 endpoint, $3 event, $4 its type, $5 body. To this endpoint alone, whatever it wants else; a repeat of the
-- call is the same event.
WITH told AS (
    INSERT INTO webhook_event (id, workspace, type, at, body) VALUES ($3, $1, $4, clock_timestamp(), $5)
    ON CONFLICT (id) DO NOTHING RETURNING id)
INSERT INTO webhook_delivery (endpoint, event, workspace) SELECT $2, id, $1 FROM told;
