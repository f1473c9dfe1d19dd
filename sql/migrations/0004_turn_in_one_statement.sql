-- A turn that has nothing to ask between its locks and its write is one statement, and so its own transaction and one round
-- trip: `turn_write`. In a transaction that holds the locks already it is the write alone.

-- Whether these consents surely let the person be located: they are, letter for letter, as the program writes them, with
-- instants that there are, and say so. Of all others the program itself is the judge. They are taken apart at the quotation
-- marks and put together again, where a JSON reader would take more than one way to write for the same.
CREATE FUNCTION surely_located(consents bytea) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    said text;
    words text[];
    form CONSTANT text := '%s"%s":{"purpose":"%2$s","granted"%s"text_version":"%s","at":"%s"}';
    again text := '';
    before text := '';
    located boolean := false;
BEGIN
    said := convert_from(consents, 'UTF8');
    words := string_to_array(said, '"');
    IF said ~ '[\\[:cntrl:]]' THEN
        RETURN false;
    END IF;
    FOR place IN 2 .. cardinality(words) - 15 BY 16 LOOP
        IF (words[place] IN ('locate', 'offers', 'profile', 'measure') AND words[place] COLLATE "C" > before
            AND words[place + 7] IN (':true,', ':false,')
            AND translate(words[place + 14], '123456789', '000000000')
                IN ('0000-00-00T00:00:00Z', '0000-00-00T00:00:00.000000Z')
            AND substr(words[place + 14], 12, 2) < '24' AND substr(words[place + 14], 18, 2) < '60'
            AND words[place + 14]::timestamptz IS NOT NULL) IS NOT TRUE
        THEN
            RETURN false;
        END IF;
        again := again || format(form, CASE WHEN before = '' THEN '{' ELSE ',' END, words[place], words[place + 7],
                                 words[place + 10], words[place + 14]);
        before := words[place];
        located := located OR (before = 'locate' AND words[place + 7] = ':true,');
    END LOOP;
    RETURN located AND again || '}' = said;
EXCEPTION WHEN data_exception THEN
    RETURN false;
END $$;

ALTER TABLE app_user ADD COLUMN located boolean NOT NULL GENERATED ALWAYS AS (surely_located(consents)) STORED;

-- Writes a turn's visits and device rows. Each statement of it has a snapshot of its own, as one in a transaction has: what
-- is asked after the lock is fresh.
--
-- Alone (workspaces given, as an array literal) it locks first: the partitions, which `holder` must own at these epochs, and
-- the people, who must all be there and surely be located; false where they are not, and nothing is written. It keeps what it
-- has written only where no workspace has a newer catalog than is reckoned with.
-- In a transaction that has locked, workspaces and holder are NULL, and people, partitions and catalogs empty.
--
-- Visits opened (they may be closed in the same turn), visits continued, devices: locked in the order in which enrolment and
-- erasure lock theirs. Instants are microseconds since 1970. SQL keeps silent of conflicts, so the rows that each block
-- touches are counted. Fails with GO001 where a catalog is newer, or who has not looked would have written a visit that is
-- there, or is gone; with GO002 where one that was looked for is there all the same, or a device is gone.
CREATE FUNCTION turn_write(
    workspaces text, people uuid[], partitions smallint[], holder text, epochs bigint[], catalogs uuid[], versions bigint[],
    looked boolean,
    new_id uuid[], new_workspace uuid[], new_user uuid[], new_device uuid[], new_fence text[], new_version bigint[],
    new_entered bigint[], new_confirmed bigint[], new_dwelt bigint[], new_gone bigint[],
    new_on_enter uuid[], new_on_dwell uuid[], new_on_exit uuid[],
    new_label text[], new_confidence real[], new_fixes integer[], new_accuracy real[],
    old_id uuid[], old_confirmed bigint[], old_dwelt bigint[], old_gone bigint[],
    old_on_enter uuid[], old_on_dwell uuid[], old_on_exit uuid[],
    old_label text[], old_confidence real[], old_fixes integer[], old_accuracy real[],
    seen_device uuid[], seen_newest bigint[], seen_presence bytea[], seen_received bigint[]
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    done record;
BEGIN
    IF workspaces IS NOT NULL THEN
        PERFORM set_config('app.workspaces', workspaces, true);
        WITH held AS MATERIALIZED (
            SELECT p.id FROM partition p
            JOIN unnest(partitions, epochs) q (id, epoch) ON p.id = q.id AND p.epoch = q.epoch
            WHERE p.owner = holder ORDER BY p.id FOR KEY SHARE OF p),
        present AS MATERIALIZED (
            SELECT located FROM app_user
            WHERE id = ANY (people) AND (SELECT count(*) FROM held) = cardinality(partitions)  -- asked once and first
            ORDER BY id FOR NO KEY UPDATE)
        SELECT count(*) AS located INTO done FROM present WHERE located;
        IF done.located <> cardinality(people) THEN
            RETURN false;
        END IF;
    END IF;

    WITH opened AS (
        INSERT INTO visit (id, workspace, user_id, device, fence, fence_version, entered_at, confirmed_at, dwelt_at, left_at,
                           closed_by, enter_decision, dwell_decision, exit_decision, label, confidence, fixes, accuracy_m)
        SELECT id, workspace, user_id, device, fence, version, 'epoch'::timestamptz + entered * interval '1 us',
               'epoch'::timestamptz + confirmed * interval '1 us', 'epoch'::timestamptz + dwelt * interval '1 us',
               'epoch'::timestamptz + gone * interval '1 us', CASE WHEN gone IS NOT NULL THEN 'exit' END,
               on_enter, on_dwell, on_exit, label, confidence, fixes, accuracy
        FROM unnest(new_id, new_workspace, new_user, new_device, new_fence, new_version, new_entered, new_confirmed,
                    new_dwelt, new_gone, new_on_enter, new_on_dwell, new_on_exit, new_label, new_confidence, new_fixes,
                    new_accuracy)
            q (id, workspace, user_id, device, fence, version, entered, confirmed, dwelt, gone, on_enter, on_dwell, on_exit,
               label, confidence, fixes, accuracy)
        ON CONFLICT (id) DO NOTHING RETURNING 1),
    continued AS (
        UPDATE visit v SET confirmed_at = COALESCE(v.confirmed_at, 'epoch'::timestamptz + q.confirmed * interval '1 us'),
            enter_decision = COALESCE(v.enter_decision, q.on_enter),
            dwelt_at = COALESCE(v.dwelt_at, 'epoch'::timestamptz + q.dwelt * interval '1 us'),
            dwell_decision = COALESCE(v.dwell_decision, q.on_dwell), left_at = 'epoch'::timestamptz + q.gone * interval '1 us',
            exit_decision = q.on_exit, closed_by = CASE WHEN q.gone IS NOT NULL THEN 'exit' END,
            label = q.label, confidence = q.confidence, fixes = q.fixes, accuracy_m = q.accuracy
        FROM unnest(old_id, old_confirmed, old_dwelt, old_gone, old_on_enter, old_on_dwell, old_on_exit, old_label,
                    old_confidence, old_fixes, old_accuracy)
            q (id, confirmed, dwelt, gone, on_enter, on_dwell, on_exit, label, confidence, fixes, accuracy)
        WHERE v.id = q.id AND v.left_at IS NULL AND (v.dwelt_at IS NULL OR q.dwelt IS NULL)
          AND (v.confirmed_at IS NULL OR q.confirmed IS NULL) RETURNING 1),
    held AS MATERIALIZED (
        SELECT id FROM device WHERE id = ANY (seen_device) ORDER BY id FOR NO KEY UPDATE),
    seen AS (
        UPDATE device d SET newest_at = 'epoch'::timestamptz + q.newest * interval '1 us', presence = q.presence,
            received_at = 'epoch'::timestamptz + q.received * interval '1 us'
        FROM unnest(seen_device, seen_newest, seen_presence, seen_received) q (id, newest, presence, received)
        WHERE d.id = q.id AND (SELECT count(*) FROM held) > 0 RETURNING 1)  -- asked once and first: all are locked by then
    SELECT (SELECT count(*) FROM opened) = cardinality(new_id) AS opened,
           (SELECT count(*) FROM continued) = cardinality(old_id) AS continued,
           (SELECT count(*) FROM seen) = cardinality(seen_device) AS seen,
           EXISTS (SELECT FROM workspace w JOIN unnest(catalogs, versions) q (id, version) ON w.id = q.id
                   WHERE w.catalog_version > q.version) AS newer
    INTO done;
    IF done.newer OR NOT (looked OR (done.opened AND done.continued)) THEN
        RAISE EXCEPTION 'a visit or a catalog is not as the turn reckons with' USING ERRCODE = 'GO001';
    ELSIF NOT (done.opened AND done.seen) THEN
        RAISE EXCEPTION 'a visit of the turn is there already, or a device of it is gone' USING ERRCODE = 'GO002';
    END IF;
    RETURN true;
END $$;
