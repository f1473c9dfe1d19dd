-- A record of sends that are through is one statement, and its own transaction: one round trip instead of three.

-- Ends offers that are still ours: takes them out of the outbox, keeps how each ended, and settles its slot. Returns those.
--
-- workspaces: as an array literal, where this is a transaction of its own; null where the transaction has named them.
-- slots: what becomes of the reservation (1 kept, 2 released). receipts: the push service's names for them.
-- In the app the phone had the offer in the answer to its ping: there it is always kept. Releasing needs no lock on the
-- person: a decision that still counts the slot is only stricter. A token that a push service takes is alive: noted once an
-- hour at most, and not where the device is locked just now.
CREATE FUNCTION outbox_close(
    workspaces text, offers uuid[], tokens bigint[], states text[], details text[], slots smallint[], receipts text[]
) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF workspaces IS NOT NULL THEN
        PERFORM set_config('app.workspaces', workspaces, true);
    END IF;
    RETURN QUERY
    WITH gone AS (
        DELETE FROM outbox b
        USING unnest(offers, tokens, states, details, slots, receipts) q (offer, token, state, detail, slot, receipt)
        WHERE b.offer = q.offer AND b.token = q.token AND b.state <> 'due'
        RETURNING q.offer, q.state, q.detail, CASE WHEN b.lane = 'inapp' THEN 1 ELSE q.slot END AS slot, q.receipt),
    closed AS (
        UPDATE offer o SET state = g.state, detail = g.detail, receipt = g.receipt, finished_at = clock_timestamp(),
            accepted_at = CASE WHEN g.state = 'accepted' THEN clock_timestamp() END
        FROM gone g WHERE o.id = g.offer RETURNING o.id, o.user_id, g.slot, g.state, coalesce(o.sent_to, o.device) AS device),
    alive AS (
        SELECT d.id FROM closed c JOIN device d ON d.id = c.device
        WHERE c.state = 'accepted' AND d.push_token IS NOT NULL
          AND (d.push_ok_at IS NULL OR d.push_ok_at < statement_timestamp() - interval '1 hour')
        FOR NO KEY UPDATE OF d SKIP LOCKED),
    noted AS (UPDATE device d SET push_ok_at = clock_timestamp() FROM alive WHERE d.id = alive.id RETURNING 1),
    settled AS (
        UPDATE reservation r SET state = c.slot FROM closed c WHERE r.user_id = c.user_id AND r.offer = c.id RETURNING 1)
    SELECT offer FROM gone;
END $$;
