-- What is known of a person, and the segments that campaigns are for.
ALTER TABLE app_user
    ADD COLUMN profile bytea,                        -- JSON: attributes, stage, reason, since; only with the consent `profile`
    ADD COLUMN refused text[] NOT NULL DEFAULT '{}'; -- attributes not to be asked for again, whatever becomes of the profile

CREATE TABLE segment (
    workspace  uuid NOT NULL,
    id         text NOT NULL,
    body       bytea NOT NULL,                       -- JSON, see wire.SegmentBody
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (workspace, id)
);
ALTER TABLE segment ENABLE ROW LEVEL SECURITY;
ALTER TABLE segment FORCE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON segment USING
    (workspace = ANY ((SELECT nullif(current_setting('app.workspaces', true), '')::uuid[])::uuid[]));
