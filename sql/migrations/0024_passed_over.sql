-- Campaigns that a decision was not about, though somebody's arrival concerned them: why each was silent. It says nothing of
-- a person, and counts on when they are erased.
CREATE TABLE passed_over (
    workspace  uuid NOT NULL,
    campaign   uuid NOT NULL,
    at         timestamptz NOT NULL,
    reason     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX passed_over_campaign ON passed_over (campaign, at);
CREATE INDEX passed_over_age ON passed_over USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
ALTER TABLE passed_over ENABLE ROW LEVEL SECURITY;
ALTER TABLE passed_over FORCE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON passed_over USING
    (workspace = ANY ((SELECT nullif(current_setting('app.workspaces', true), '')::uuid[])::uuid[]));
