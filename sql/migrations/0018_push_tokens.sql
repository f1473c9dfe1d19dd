-- Push tokens that died, by the push service's word: a registration from before then is dead, a later one is another.
CREATE TABLE push_tombstone (
    workspace uuid NOT NULL,
    lane      text NOT NULL,
    token     bytea NOT NULL,                       -- its SHA-256
    died_at   timestamptz NOT NULL,
    PRIMARY KEY (workspace, lane, token)
);
CREATE INDEX push_tombstone_died ON push_tombstone (died_at);
ALTER TABLE push_tombstone ENABLE ROW LEVEL SECURITY;
ALTER TABLE push_tombstone FORCE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON push_tombstone USING
    (workspace = ANY ((SELECT nullif(current_setting('app.workspaces', true), '')::uuid[])::uuid[]));

-- The phone that an offer is pushed to where the token of the one that earned it had died; null: that one.
ALTER TABLE offer ADD COLUMN sent_to uuid;
