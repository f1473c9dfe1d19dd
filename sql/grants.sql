-- The rights of the program's own role, named by the transaction-local setting `geo_offers.app_role`. Applied after the
-- migrations, each time anew, by the owner: what stands here is all that the role has.
DO $$
DECLARE
    app  CONSTANT name := current_setting('geo_offers.app_role');
    item record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA public, schema_history TO %I', app);
    EXECUTE format('GRANT SELECT ON schema_history.migration TO %I', app);

    -- Only what we own: an own server's database may hold the tables of extensions or of another program.
    FOR item IN
        SELECT c.oid::regclass AS relation, c.relname, c.relkind
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = current_user::regrole
          AND c.relkind IN ('r', 'p', 'v', 'S')
        ORDER BY c.relname
    LOOP
        IF item.relkind = 'S' THEN
            EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO %I', item.relation, app);
        ELSE
            EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', item.relation, app);
            EXECUTE format(
                'GRANT %s ON TABLE %s TO %I',
                CASE item.relname
                    WHEN 'consent_ledger' THEN 'SELECT, INSERT'  -- append-only
                    WHEN 'consent_state' THEN 'SELECT'
                    ELSE 'SELECT, INSERT, UPDATE, DELETE'
                END,
                item.relation, app);
        END IF;
    END LOOP;
END $$;
