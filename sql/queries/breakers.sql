-- name: breaker_suspects
-- $1 workspace, $2 days looked at, $3 opt-outs per 1,000 offers that are borne, $4 least offers. Campaigns, stores and fences
-- past the bound, by the offers made since their breaker was last resumed. Opt-outs are few and indexed; who has too few of
-- them for the least of offers is not counted further. A fence is judged by `wrong_place` alone.
WITH said AS (
    SELECT campaign, store, fence, became, created_at FROM reservation
    WHERE workspace = $1 AND became IN (3, 5, 6) AND state < 2
      AND created_at > statement_timestamp() - make_interval(days => $2)
    ORDER BY created_at DESC LIMIT 200000),
suspect AS (
    SELECT k.kind, k.subject, count(*) AS opt_outs, coalesce(b.resumed_at, '-infinity') AS since
    FROM said s
    CROSS JOIN LATERAL (VALUES ('campaign', s.campaign::text), ('store', s.store), ('fence', s.fence)) k (kind, subject)
    LEFT JOIN breaker b ON b.workspace = $1 AND b.kind = k.kind AND b.subject = k.subject
    WHERE (k.kind <> 'fence' OR s.became = 3) AND (b.kind IS NULL OR s.created_at > b.resumed_at)
    GROUP BY k.kind, k.subject, b.resumed_at HAVING count(*) * 1000 > $3::bigint * $4::bigint)
SELECT s.kind, s.subject, s.opt_outs, count(*) AS offers
FROM suspect s
JOIN (
    SELECT k.kind, k.subject, r.created_at FROM reservation r
    CROSS JOIN LATERAL (VALUES ('campaign', r.campaign::text), ('store', r.store), ('fence', r.fence)) k (kind, subject)
    WHERE r.workspace = $1 AND r.state < 2 AND r.created_at > statement_timestamp() - make_interval(days => $2)) o
    ON o.kind = s.kind AND o.subject = s.subject AND o.created_at > s.since
GROUP BY s.kind, s.subject, s.opt_outs HAVING count(*) >= $4 AND s.opt_outs * 1000 > $3::bigint * count(*)
ORDER BY s.kind, s.subject;

-- name: breaker_trip
-- $1 workspace, $2 kind, $3 subject, $4 offers, $5 opt-outs, $6 the bound. Nothing where it is open already.
INSERT INTO breaker AS b (workspace, kind, subject, offers, opt_outs, per_1000) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (workspace, kind, subject) DO UPDATE SET tripped_at = clock_timestamp(), offers = EXCLUDED.offers,
    opt_outs = EXCLUDED.opt_outs, per_1000 = EXCLUDED.per_1000, resumed_at = NULL
WHERE b.resumed_at IS NOT NULL
RETURNING subject;

-- name: breaker_pause_campaign
-- $1 workspace, $2 campaign. Nothing where it speaks no more anyway.
UPDATE campaign SET state = 'paused', updated_at = clock_timestamp()
WHERE workspace = $1 AND id = $2 AND state = 'approved' RETURNING id;

-- name: breaker_resume
-- $1 workspace, $2 kind, $3 subject. Nothing where it is not open.
UPDATE breaker SET resumed_at = clock_timestamp()
WHERE workspace = $1 AND kind = $2 AND subject = $3 AND resumed_at IS NULL RETURNING subject;

-- name: breakers_open
-- $1 workspace.
SELECT kind, subject FROM breaker WHERE workspace = $1 AND resumed_at IS NULL;

-- name: breakers_page
-- $1 workspace, $2 and $3 the kind and subject before the page, $4 how many.
SELECT kind, subject, tripped_at, offers, opt_outs, per_1000 FROM breaker
WHERE workspace = $1 AND resumed_at IS NULL AND (kind, subject) > ($2, $3) ORDER BY kind, subject LIMIT $4;
