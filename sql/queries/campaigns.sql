-- name: campaign_add
-- $1 id, $2 workspace, $3 body, $4 author. Nothing where the id is there: a call that was made before.
INSERT INTO campaign (id, workspace, body, state, author) VALUES ($1, $2, $3, 'draft', $4)
ON CONFLICT (id) DO NOTHING RETURNING id, body, state, version, assessment, 0 AS approvals;

-- name: campaigns_count
-- $1 workspace. Those that can still say something.
SELECT count(*) FROM campaign WHERE workspace = $1 AND state <> 'ended';

-- name: campaign_get
-- With the breaker by which it has paused itself.
SELECT c.id, c.body, c.state, c.version, c.assessment,
       (SELECT count(*) FROM campaign_approval a WHERE a.campaign = c.id AND a.version = c.version) AS approvals,
       b.tripped_at, b.offers, b.opt_outs, b.per_1000
FROM campaign c
LEFT JOIN breaker b ON b.workspace = c.workspace AND b.kind = 'campaign' AND b.subject = c.id::text
    AND b.resumed_at IS NULL AND c.state = 'paused'
WHERE c.workspace = $1 AND c.id = $2;

-- name: campaign_lock
SELECT id, body, state, version, assessment, author,
       (SELECT count(*) FROM campaign_approval a WHERE a.campaign = c.id AND a.version = c.version) AS approvals
FROM campaign c WHERE workspace = $1 AND id = $2 FOR NO KEY UPDATE;

-- name: campaign_replace
-- $1 workspace, $2 id, $3 body, $4 author.
UPDATE campaign SET body = $3, author = $4, state = 'draft', version = version + 1, assessment = NULL,
    updated_at = clock_timestamp()
WHERE workspace = $1 AND id = $2 RETURNING id, body, state, version, assessment, 0 AS approvals;

-- name: campaign_move
-- $1 workspace, $2 id, $3 state, $4 the assessment or null for the one that is there.
UPDATE campaign c SET state = $3, assessment = COALESCE($4, assessment), updated_at = clock_timestamp()
WHERE workspace = $1 AND id = $2
RETURNING id, body, state, version, assessment,
          (SELECT count(*) FROM campaign_approval a WHERE a.campaign = c.id AND a.version = c.version) AS approvals;

-- name: campaign_agree
-- $1 workspace, $2 id, $3 approver. Returns whether this one had not agreed to this version before.
INSERT INTO campaign_approval (campaign, version, approver, workspace)
SELECT id, version, $3, workspace FROM campaign WHERE workspace = $1 AND id = $2
ON CONFLICT DO NOTHING RETURNING true;

-- name: campaigns_agreed
-- $1 workspace. Those that somebody had to agree to, and that say something now or may again.
SELECT id, body FROM campaign WHERE workspace = $1 AND state IN ('approved', 'paused')
  AND (convert_from(assessment, 'UTF8')::json ->> 'approvers')::int > 0
ORDER BY id FOR NO KEY UPDATE;

-- name: campaigns_ask_anew
-- $1 workspace, $2 campaigns. Under a new version, to which nobody has agreed.
UPDATE campaign SET state = 'submitted', version = version + 1, updated_at = clock_timestamp()
WHERE workspace = $1 AND id = ANY ($2::uuid[]);

-- name: campaigns_page
-- $1 workspace, $2 and $3 the created_at and id before the page, $4 how many.
SELECT c.id, c.body, c.state, c.version, c.assessment, c.created_at,
       (SELECT count(*) FROM campaign_approval a WHERE a.campaign = c.id AND a.version = c.version) AS approvals,
       b.tripped_at, b.offers, b.opt_outs, b.per_1000
FROM campaign c
LEFT JOIN breaker b ON b.workspace = c.workspace AND b.kind = 'campaign' AND b.subject = c.id::text
    AND b.resumed_at IS NULL AND c.state = 'paused'
WHERE c.workspace = $1 AND (c.created_at, c.id) > ($2::timestamptz, $3::uuid) ORDER BY c.created_at, c.id LIMIT $4;

-- name: campaigns_decided
-- $1 workspace. Those that an arrival may concern: the approved, and the paused, whose silence has its reason.
SELECT id, body, state, version FROM campaign WHERE workspace = $1 AND state IN ('approved', 'paused') ORDER BY id;

-- name: campaign_reach
-- $1 workspace, and one of: $2 set, $3 tags. How many geofences these are, counted to $4. Tags are looked for in the bytes
-- that we have written ourselves: parsing a million outlines would take seconds, and a name that is a tag too only
-- makes the reach look wider.
SELECT count(*) FROM (
    SELECT FROM geofence g
    WHERE workspace = $1 AND ($2::text IS NULL OR set_id = $2)
      AND ($3::text[] IS NULL OR EXISTS (
          SELECT FROM unnest($3::text[]) t (tag) WHERE position(convert_to(t.tag, 'UTF8') IN g.feature) > 0))
    LIMIT $4) reached;

-- name: campaign_sensitive
-- $1 workspace, and one of: $2 set, $3 tags as above, $4 geofences by their names. Whether one of these lies over a private
-- place, approved or not.
SELECT EXISTS (
    SELECT FROM geofence g
    WHERE workspace = $1 AND private_places IS NOT NULL AND ($2::text IS NULL OR set_id = $2)
      AND ($3::text[] IS NULL OR EXISTS (
          SELECT FROM unnest($3::text[]) t (tag) WHERE position(convert_to(t.tag, 'UTF8') IN g.feature) > 0))
      AND ($4::text[] IS NULL OR set_id || '/' || external_id = ANY ($4::text[])));

-- name: key_age
-- $1 workspace, $2 key. In days.
SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 / 86400 FROM api_key WHERE workspace = $1 AND id = $2;
