-- What a workspace's lanes sign in to push services with. The database holds no key that opens it: `sealed` is the key's
-- name (8 bytes), a nonce, and AES-256-GCM of the credential, bound to workspace and lane.
CREATE TABLE push_credential (
    workspace  uuid NOT NULL,
    lane       text NOT NULL CHECK (lane IN ('fcm', 'apns', 'webpush')),
    sealed     bytea NOT NULL,
    facts      bytea NOT NULL,                      -- what may be told of it: JSON of texts
    version    bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),  -- of this version
    created_by text NOT NULL,                       -- id of the key that set it
    PRIMARY KEY (workspace, lane)
);
ALTER TABLE push_credential ENABLE ROW LEVEL SECURITY;
ALTER TABLE push_credential FORCE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON push_credential USING
    (workspace = ANY ((SELECT nullif(current_setting('app.workspaces', true), '')::uuid[])::uuid[]));
