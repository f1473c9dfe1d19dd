-- The person's rhythm is one value: what they muted moves from its own column into it. What they have not set stays unset, so
-- that the default goes on holding for it. A rhythm that cannot be read allows no offer and stays as it is.
DO $$
DECLARE
    person record;
BEGIN
    PERFORM set_config('app.workspaces', (SELECT coalesce(array_agg(id), '{}') FROM workspace)::text, true);
    FOR person IN SELECT id, rhythm, muted FROM app_user WHERE muted <> '{}' LOOP
        BEGIN
            UPDATE app_user
            SET rhythm = convert_to(
                (coalesce(convert_from(person.rhythm, 'UTF8')::jsonb, '{}')
                    || jsonb_build_object('mute', jsonb_build_object('campaigns', to_jsonb(person.muted))))::text, 'UTF8')
            WHERE id = person.id;
        EXCEPTION WHEN data_exception THEN
            NULL;
        END;
    END LOOP;
END $$;
ALTER TABLE app_user DROP COLUMN muted;

ALTER TABLE reservation
    ADD COLUMN categories text[] NOT NULL DEFAULT '{}',  -- what the offer may be muted by, beside its campaign and store
    ADD COLUMN special boolean NOT NULL DEFAULT false,   -- out of the person's budget for special offers
    ADD COLUMN became smallint NOT NULL DEFAULT 0        -- what was told of it, see people/backoff.py: the greatest counts
        CHECK (became BETWEEN 0 AND 7);

-- Offers that people opted out of, by the three answers that say so: few among all, and what breakers are tripped by.
CREATE INDEX reservation_unwanted ON reservation (workspace, created_at) WHERE became IN (3, 5, 6);

-- A campaign, store or fence that too many opted out of. One row each; a later trip overwrites it.
CREATE TABLE breaker (
    workspace  uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('campaign', 'store', 'fence')),
    subject    text NOT NULL,                       -- the campaign's id, the store that gaps count by, set/id
    tripped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    offers     integer NOT NULL,
    opt_outs   integer NOT NULL,
    per_1000   integer NOT NULL,                    -- the bound that was passed
    resumed_at timestamptz,                         -- absent = it is open; offers of before count no more
    PRIMARY KEY (workspace, kind, subject)
);
ALTER TABLE breaker ENABLE ROW LEVEL SECURITY;
ALTER TABLE breaker FORCE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON breaker USING
    (workspace = ANY ((SELECT nullif(current_setting('app.workspaces', true), '')::uuid[])::uuid[]));
