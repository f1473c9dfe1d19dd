-- What goes on around an offer: events of a workspace, numbers fed to them, and what people did. Of a person it is kept
-- with their row: it is read under their lock with all else, and goes when they go.
CREATE TABLE event (
    workspace  uuid NOT NULL,
    id         text NOT NULL,
    version    bigint NOT NULL DEFAULT 1,
    body       bytea NOT NULL,                      -- JSON, see wire.EventBody
    rule       bytea NOT NULL,                      -- JSON, see offers/context.py: what decisions read of it
    author     text NOT NULL,                       -- id of the key that wrote it last
    approvals  text[] NOT NULL DEFAULT '{}',        -- ids of keys; of news alone
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (workspace, id)
);

-- Without a place among the catalog's versions: a number may come every second.
CREATE TABLE event_number (
    workspace uuid NOT NULL,
    event     text NOT NULL,
    value     double precision NOT NULL,
    at        timestamptz NOT NULL,
    is_on     boolean NOT NULL,
    PRIMARY KEY (workspace, event)
) WITH (fillfactor = 50);

ALTER TABLE app_user
    ADD COLUMN interactions       bytea,            -- JSON list, see offers/context.py
    ADD COLUMN interactions_until timestamptz;      -- the first of them is forgotten then
CREATE INDEX app_user_interactions ON app_user (interactions_until) WHERE interactions_until IS NOT NULL;

-- By which the company signs what people did, where it does not call with a key: 244 random bits.
ALTER TABLE workspace_secret
    ADD COLUMN interactions bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['event', 'event_number'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_workspace ON %I USING '
            '(workspace = ANY ((SELECT nullif(current_setting(''app.workspaces'', true), '''')::uuid[])::uuid[]))', name);
    END LOOP;
END $$;
