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
