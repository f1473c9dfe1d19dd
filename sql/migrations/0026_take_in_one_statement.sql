-- A dispatcher claims and looks at what it has claimed in one statement (`outbox_take` of the queries), which is its own
-- transaction: one round trip instead of four. Parameters are numbered here, since the columns have their names.

-- $1 lane, $2 most rows, $3 lease in seconds. A lease that ran out is claimed again under a new token; the records check the
-- token. A row that comes back from `sending` went unanswered: the first time that becomes the mark `ambiguous`, the second
-- time the row stays `sending`, so that the count outlives a crash before its record. Attempts count here, so that a row
-- which kills its process runs out. statement_timestamp() may stand in an index condition, clock_timestamp() may not.
-- By unnest, since a join with the locked rows themselves is planned for a tenth of the table, and then reads all of it. Along
-- the index and no other way: a plan from when there was no backlog gathers all that is due and sorts it, and comes each time
-- upon what has been deleted since the last VACUUM, where a walk along the index marks it, and passes it from then on.
CREATE FUNCTION outbox_claim(text, integer, float8)
RETURNS TABLE (offer uuid, workspace uuid, token bigint, attempts integer, unanswered integer, stranded boolean)
LANGUAGE plpgsql SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH next AS (
        SELECT offer, state, ambiguous FROM outbox
        WHERE lane = $1 AND due <= statement_timestamp() AND (state = 'due' OR lease_until < clock_timestamp())
        ORDER BY due LIMIT $2 FOR UPDATE SKIP LOCKED),
    locked AS (SELECT array_agg(offer) AS offers, array_agg(state) AS states, array_agg(ambiguous) AS doubts FROM next)
    UPDATE outbox b SET state = CASE WHEN n.ambiguous AND n.state = 'sending' THEN 'sending' ELSE 'leased' END,
        lease_until = clock_timestamp() + make_interval(secs => $3), token = b.token + 1, attempts = b.attempts + 1,
        ambiguous = n.ambiguous OR n.state = 'sending'
    FROM locked, unnest(locked.offers, locked.states, locked.doubts) n (offer, state, ambiguous) WHERE b.offer = n.offer
    RETURNING b.offer, b.workspace, b.token, b.attempts, n.ambiguous::int + (n.state = 'sending')::int AS unanswered,
        n.state = 'sending' AS stranded;
END $$;

-- $1 workspaces as an array literal, null where there are none, $2 offers, $3 their tokens, $4 lease in seconds.
-- For rows that are still ours: locks their persons, gives all that the re-check judges by, and marks them as being sent;
-- what is judged otherwise is ended by its record. What was erased goes. The lock stays until the commit, so that a
-- withdrawal comes either before this look or after the mark. What the person has said is read from the locked row itself,
-- which is its newest version; nothing waits for a lock, so all else is of the same moment. A person who is locked just now
-- is left out (`locked` is false): one busy person must not hold the lane.
-- A fence is named set/id: the first slash splits. OFFSET 0 keeps the split out of the join's condition, where row-level
-- security would not let it reach the key's index (text functions are not leakproof, nor is coalesce: hence the CASE).
-- Whether a fence is active is looked for in its bytes, which we have written ourselves, without spaces: parsing an outline
-- of 2,000 corners takes ten times as long, and in a text the quotes would stand escaped. A device that takes its push by
-- another lane now has no address on this one. Instants are microseconds since 1970: one that the program's type for them
-- cannot hold fails here (infinity), before anything is marked, or in the program's judging, and not in between.
CREATE FUNCTION outbox_look(text, uuid[], bigint[], float8)
RETURNS TABLE (
    offer uuid, workspace uuid, token bigint, lane text, catalog_version bigint, settings bytea, locked boolean,
    interactions bytea, consents bytea, rhythm bytea, time_zone text, whole boolean, user_id uuid, decision uuid,
    campaign uuid, fence text, trigger text, message bytea, created_us bigint, expires_us bigint, store text,
    categories text[], device uuid, platform text, replay boolean, push_token text, push_keys text, campaign_state text,
    all_paused boolean, visit_known boolean, left_us bigint, tripped boolean, store_paused boolean, fence_live boolean,
    now_us bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF $1 IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('app.workspaces', $1, true);
    RETURN QUERY
    WITH looked AS MATERIALIZED (
        SELECT b.offer, b.workspace, b.token, b.lane, w.catalog_version, w.settings, p.id IS NOT NULL AS locked,
               p.interactions, p.consents, p.rhythm, p.time_zone,
               o.id IS NOT NULL AND d.id IS NOT NULL AND (p.id IS NOT NULL OR EXISTS (
                   SELECT FROM app_user u WHERE u.id = o.user_id)) AS whole,
               o.user_id, o.decision, o.campaign, o.fence, o.trigger, o.message,
               (extract(epoch FROM o.created_at) * 1000000)::bigint AS created_us,
               (extract(epoch FROM o.expires_at) * 1000000)::bigint AS expires_us,
               coalesce(r.store, o.fence) AS store, coalesce(r.categories, '{}') AS categories,
               d.id AS device, d.platform, d.replay, CASE WHEN d.push_lane = b.lane THEN d.push_token END AS push_token,
               CASE WHEN d.push_lane = b.lane THEN d.push_keys END AS push_keys, c.state AS campaign_state,
               (SELECT paused FROM installation) AS all_paused, v.id IS NOT NULL AS visit_known,
               (extract(epoch FROM v.left_at) * 1000000)::bigint AS left_us, EXISTS (
                   SELECT FROM breaker k WHERE k.workspace = b.workspace AND k.resumed_at IS NULL
                     AND (k.kind, k.subject) IN (('store', r.store), ('fence', o.fence))) AS tripped,
               EXISTS (SELECT FROM store s WHERE s.workspace = b.workspace AND s.id = r.store AND s.paused) AS store_paused,
               coalesce(position('"active":false'::bytea IN g.feature) = 0, false) AS fence_live
        FROM unnest($2, $3) q (offer, token)
        JOIN outbox b ON b.offer = q.offer AND b.token = q.token AND b.state <> 'due'
        JOIN workspace w ON w.id = b.workspace
        LEFT JOIN offer o ON o.id = b.offer
        LEFT JOIN LATERAL (
            SELECT u.id, u.consents, u.rhythm, u.time_zone, u.interactions FROM app_user u
            WHERE u.id = o.user_id FOR SHARE SKIP LOCKED) p ON true
        LEFT JOIN device d ON d.id = CASE WHEN o.sent_to IS NULL THEN o.device ELSE o.sent_to END
        LEFT JOIN campaign c ON c.id = o.campaign
        LEFT JOIN visit v ON v.id = o.visit
        LEFT JOIN reservation r ON r.user_id = o.user_id AND r.offer = o.id
        LEFT JOIN LATERAL (
            SELECT o.workspace, split_part(o.fence, '/', 1) AS set_id,
                   substr(o.fence, strpos(o.fence, '/') + 1) AS external_id OFFSET 0) f ON true
        LEFT JOIN geofence g ON g.workspace = f.workspace AND g.set_id = f.set_id AND g.external_id = f.external_id),
    marked AS (
        UPDATE outbox b SET state = 'sending', lease_until = clock_timestamp() + make_interval(secs => $4)
        FROM looked l WHERE b.offer = l.offer AND b.token = l.token AND l.whole AND l.locked AND b.state <> 'due'
        RETURNING l.*),
    erased AS (DELETE FROM outbox b USING looked l WHERE b.offer = l.offer AND b.token = l.token AND NOT l.whole)
    SELECT *, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us FROM marked
    UNION ALL SELECT *, 0 FROM looked WHERE whole AND NOT locked;
END $$;
