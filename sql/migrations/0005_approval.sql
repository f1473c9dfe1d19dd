-- How risky a campaign was found when it was handed in, and who agreed to this version of it. The author of a version is
-- in `campaign`; any edit makes a new version, which nobody has agreed to yet.
ALTER TABLE campaign ADD COLUMN assessment bytea;     -- JSON, see wire.Assessment; absent while nobody has handed it in
UPDATE campaign SET assessment = convert_to('{"risk":0,"reasons":[],"approvers":0}', 'UTF8') WHERE state IN ('approved', 'paused');
UPDATE campaign SET assessment = convert_to('{"risk":1,"reasons":["It was handed in before risks were kept."],"approvers":1}', 'UTF8')
WHERE state = 'submitted';

CREATE TABLE campaign_approval (
    campaign  uuid NOT NULL,
    version   bigint NOT NULL,
    approver  text NOT NULL,                          -- id of the key
    workspace uuid NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (campaign, version, approver)
);
ALTER TABLE campaign_approval ENABLE ROW LEVEL SECURITY;
ALTER TABLE campaign_approval FORCE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON campaign_approval
    USING (workspace = ANY ((SELECT nullif(current_setting('app.workspaces', true), '')::uuid[])::uuid[]));
CREATE INDEX audit_list ON audit (workspace, id);
