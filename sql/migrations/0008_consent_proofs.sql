-- A row of the ledger may say more: the text's locale, the SHA-256 of what was shown or of another record the app keeps, and
-- the phone's own time. Which of these come under its hash is its form; the rows that are here keep theirs.
ALTER TABLE consent_ledger
    ADD COLUMN form smallint NOT NULL DEFAULT 1 CHECK (form IN (1, 2)),
    ADD COLUMN locale text,
    ADD COLUMN proof bytea CHECK (octet_length(proof) = 32),
    ADD COLUMN said_at timestamptz;
CREATE INDEX consent_ledger_subject ON consent_ledger (workspace, subject, purpose, seq);

-- What is in force: each subject's newest word on each purpose. `app_user.consents` is its copy beside the lock of a turn.
CREATE VIEW consent_state WITH (security_invoker = true) AS
SELECT DISTINCT ON (workspace, subject, purpose)
    workspace, subject, purpose, granted, text_version, locale, proof, surface, said_at, at, seq
FROM consent_ledger ORDER BY workspace, subject, purpose, seq DESC;

-- As in 0004, and each word may end with the number of its row in the ledger.
CREATE OR REPLACE FUNCTION surely_located(consents bytea) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    said text;
    words text[];
    form CONSTANT text := '%s"%s":{"purpose":"%2$s","granted"%s"text_version":"%s","at":"%s"%s}';
    again text := '';
    before text := '';
    row_of text;
    place integer := 2;
    located boolean := false;
BEGIN
    said := convert_from(consents, 'UTF8');
    words := string_to_array(said, '"');
    IF said ~ '[\\[:cntrl:]]' THEN
        RETURN false;
    END IF;
    WHILE place < cardinality(words) LOOP
        IF (words[place] IN ('locate', 'offers', 'profile', 'measure') AND words[place] COLLATE "C" > before
            AND words[place + 7] IN (':true,', ':false,')
            AND translate(words[place + 14], '123456789', '000000000')
                IN ('0000-00-00T00:00:00Z', '0000-00-00T00:00:00.000000Z')
            AND substr(words[place + 14], 12, 2) < '24' AND substr(words[place + 14], 18, 2) < '60'
            AND words[place + 14]::timestamptz IS NOT NULL) IS NOT TRUE
        THEN
            RETURN false;
        END IF;
        row_of := CASE WHEN words[place + 16] = 'seq' THEN substring(words[place + 17] FROM '^:([1-9][0-9]{0,17})\}') END;
        again := again || format(form, CASE WHEN before = '' THEN '{' ELSE ',' END, words[place], words[place + 7],
                                 words[place + 10], words[place + 14], COALESCE(',"seq":' || row_of, ''));
        before := words[place];
        located := located OR (before = 'locate' AND words[place + 7] = ':true,');
        place := place + CASE WHEN row_of IS NULL THEN 16 ELSE 18 END;
    END LOOP;
    RETURN located AND again || '}' = said;
EXCEPTION WHEN data_exception THEN
    RETURN false;
END $$;

-- What was told of an offer goes with it; this finds what was told in that moment.
CREATE INDEX offer_event_age ON offer_event USING brin (at) WITH (pages_per_range = 32, autosummarize = on);
