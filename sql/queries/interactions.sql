-- name: interactions_user
-- $1 workspace, $2 the app's own name for the person, $3 our id where that could be one: the name goes first.
SELECT id, consents, age, interactions FROM app_user
WHERE workspace = $1 AND id = coalesce((SELECT id FROM app_user WHERE workspace = $1 AND external_id = $2), $3)
FOR NO KEY UPDATE;

-- name: interactions_set
-- $1 user, $2 interactions or null, $3 when the first of them is forgotten or null.
UPDATE app_user SET interactions = $2, interactions_until = $3 WHERE id = $1;

-- name: interactions_read
SELECT interactions FROM app_user WHERE id = $1;

-- name: interactions_over
-- $1 most people. Those of whom something is to be forgotten, locked in the one order.
SELECT id, interactions FROM app_user WHERE id = ANY (ARRAY(
    SELECT id FROM app_user WHERE interactions_until <= statement_timestamp() LIMIT $1))
ORDER BY id FOR NO KEY UPDATE;
