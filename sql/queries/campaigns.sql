-- name: campaign_add
-- $1 id, $2 workspace, $3 body, $4 author. Nothing where the id is there: a call that was made before.
INSERT INTO campaign (id, workspace, body, state, author) VALUES ($1, $2, $3, 'draft', $4)
ON CONFLICT (id) DO NOTHING RETURNING id, body, state, version;

-- name: campaigns_count
-- $1 workspace. Those that can still say something.
SELECT count(*) FROM campaign WHERE workspace = $1 AND state <> 'ended';

-- name: campaign_get
-- With the breaker by which it has paused itself.
SELECT c.id, c.body, c.state, c.version, b.tripped_at, b.offers, b.opt_outs, b.per_1000 FROM campaign c
LEFT JOIN breaker b ON b.workspace = c.workspace AND b.kind = 'campaign' AND b.subject = c.id::text
    AND b.resumed_at IS NULL AND c.state = 'paused'
WHERE c.workspace = $1 AND c.id = $2;

-- name: campaign_lock
SELECT id, body, state, version, author FROM campaign WHERE workspace = $1 AND id = $2 FOR NO KEY UPDATE;

-- name: campaign_replace
-- $1 workspace, $2 id, $3 body, $4 author.
UPDATE campaign SET body = $3, author = $4, state = 'draft', version = version + 1, updated_at = clock_timestamp()
WHERE workspace = $1 AND id = $2 RETURNING id, body, state, version;

-- name: campaign_move
-- $1 workspace, $2 id, $3 state.
UPDATE campaign SET state = $3, updated_at = clock_timestamp() WHERE workspace = $1 AND id = $2
RETURNING id, body, state, version;

-- name: campaigns_page
-- $1 workspace, $2 and $3 the created_at and id before the page, $4 how many.
SELECT c.id, c.body, c.state, c.version, c.created_at, b.tripped_at, b.offers, b.opt_outs, b.per_1000 FROM campaign c
LEFT JOIN breaker b ON b.workspace = c.workspace AND b.kind = 'campaign' AND b.subject = c.id::text
    AND b.resumed_at IS NULL AND c.state = 'paused'
WHERE c.workspace = $1 AND (c.created_at, c.id) > ($2::timestamptz, $3::uuid) ORDER BY c.created_at, c.id LIMIT $4;

-- name: campaigns_decided
-- $1 workspace. Those that an arrival may concern: the approved, and the paused, whose silence has its reason.
SELECT id, body, state, version FROM campaign WHERE workspace = $1 AND state IN ('approved', 'paused') ORDER BY id;
