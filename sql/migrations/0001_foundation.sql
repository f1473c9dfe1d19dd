-- The whole first schema. Rules that hold for every table:
--   * row-level security, forced, from the first day; the transaction-local setting `app.workspaces` lists the workspaces
--     of this turn and an unset or empty setting shows nothing (the sub-select is parsed once a statement, not once a row);
--   * only `workspace`, `partition` and `outbox` have no policy: they hold nothing of a person;
--   * no foreign key on the hot tables: the user lock already proves that the user exists (a test holds it instead);
--   * ids of visits, decisions and offers start with their time, so that inserts land on the same pages.

-- ---------------------------------------------------------------- who rents and who calls
CREATE TABLE workspace (
    id              uuid PRIMARY KEY,               -- uuid5 of the name: keys carry it, so the setting stands before the first read
    name            text NOT NULL UNIQUE,
    settings        bytea NOT NULL DEFAULT '{}',    -- JSON, see wire.Workspace
    catalog_version bigint NOT NULL DEFAULT 1,      -- raised with every change of settings, campaigns or stores
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE workspace_secret (
    workspace  uuid PRIMARY KEY,
    user_proof bytea NOT NULL                       -- HMAC key by which an app's backend vouches for a user
);

-- The service's own keys belong to no workspace: they live under the nil workspace and are as hidden as all else.
CREATE TABLE service_key (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace  uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    secret     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at timestamptz                          -- good for 15 minutes more
);

CREATE TABLE api_key (
    id          text PRIMARY KEY,
    workspace   uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('app', 'server', 'manager')),
    role        text CHECK (role IN ('viewer', 'editor', 'approver', 'owner')),
    replay      boolean NOT NULL DEFAULT false,
    secret_hash bytea NOT NULL,                     -- SHA-256 of 256 random bits
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at  timestamptz
);
CREATE INDEX api_key_workspace ON api_key (workspace);

-- ---------------------------------------------------------------- people and their phones
CREATE TABLE app_user (
    id          uuid PRIMARY KEY,
    workspace   uuid NOT NULL,
    partition   smallint NOT NULL CHECK (partition BETWEEN 0 AND 255),
    external_id text,                               -- the app's own name for the person, if it gave one
    consents    bytea NOT NULL DEFAULT '{}',        -- JSON purpose -> {granted, text_version, at}; the ledger is the proof
    rhythm      bytea,                              -- JSON; absent = the default rhythm
    muted       uuid[] NOT NULL DEFAULT '{}',       -- campaigns
    age         text NOT NULL DEFAULT 'adult' CHECK (age IN ('adult', 'minor', 'unknown')),
    locale      text NOT NULL DEFAULT 'en',
    time_zone   text,                               -- absent = the workspace's
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX app_user_external ON app_user (workspace, external_id) WHERE external_id IS NOT NULL;

CREATE TABLE device (
    id            uuid PRIMARY KEY,
    workspace     uuid NOT NULL,
    user_id       uuid NOT NULL,
    platform      text NOT NULL CHECK (platform IN ('ios', 'android', 'web', 'other')),
    proven        boolean NOT NULL DEFAULT false,   -- enrolled with proof of the user: may read and erase all of the user's
    replay        boolean NOT NULL DEFAULT false,   -- no age, future or rate bound; offers stay in the app
    push_lane     text,
    push_token    text,
    locale        text NOT NULL DEFAULT 'en',
    time_zone     text,
    token_epoch   integer NOT NULL DEFAULT 0,       -- raising it revokes all access tokens
    refresh_used  integer NOT NULL DEFAULT 0,       -- highest generation of refresh token ever used
    newest_at     timestamptz,                      -- of the last fix that caused a transition
    presence      bytea,                            -- JSON per fence: visit id, enter; never a coordinate
    received_at   timestamptz,                      -- ours, for retention and the stale-visit close
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);
CREATE INDEX device_user ON device (user_id);
-- A push token that turns up again is looked for among all phones, at every enrolment.
CREATE INDEX device_push ON device (push_token) WHERE push_token IS NOT NULL;

CREATE TABLE refresh_token (
    hash       bytea PRIMARY KEY,                   -- SHA-256
    workspace  uuid NOT NULL,
    device     uuid NOT NULL,
    generation integer NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX refresh_token_device ON refresh_token (device);

-- ---------------------------------------------------------------- consent: append-only, hash-chained per workspace
CREATE TABLE consent_salt (
    user_id   uuid PRIMARY KEY,
    workspace uuid NOT NULL,
    salt      bytea NOT NULL                        -- destroyed at erasure: the proof stays, the person does not
);

CREATE TABLE consent_head (
    workspace uuid PRIMARY KEY,
    seq       bigint NOT NULL,
    hash      bytea NOT NULL
);

CREATE TABLE consent_ledger (
    workspace    uuid NOT NULL,
    seq          bigint NOT NULL,
    subject      bytea NOT NULL,                    -- HMAC-SHA256(salt, user id)
    purpose      text NOT NULL CHECK (purpose IN ('locate', 'offers', 'profile', 'measure')),
    granted      boolean NOT NULL,
    text_version text NOT NULL,
    surface      text NOT NULL,                     -- enrol, device, erasure
    at           timestamptz NOT NULL,
    prev_hash    bytea NOT NULL,
    hash         bytea NOT NULL,
    PRIMARY KEY (workspace, seq)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'consent_ledger is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER consent_ledger_append_only BEFORE UPDATE OR DELETE ON consent_ledger
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER consent_ledger_no_truncate BEFORE TRUNCATE ON consent_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- ---------------------------------------------------------------- places
CREATE TABLE store (
    workspace  uuid NOT NULL,
    id         text NOT NULL,
    body       bytea NOT NULL,                      -- JSON, see wire.Store
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (workspace, id)
);

CREATE SEQUENCE geofence_version;
CREATE TABLE geofence (
    workspace   uuid NOT NULL,
    set_id      text NOT NULL,
    external_id text NOT NULL,
    version     bigint NOT NULL DEFAULT nextval('geofence_version'),
    feature     bytea NOT NULL,                     -- the GeoJSON Feature as normalised, JSON
    min_lat     double precision NOT NULL,
    min_lon     double precision NOT NULL,
    max_lat     double precision NOT NULL,
    max_lon     double precision NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (workspace, set_id, external_id)
);
CREATE INDEX geofence_box ON geofence (workspace, min_lat, max_lat);

CREATE TABLE import (
    id         uuid PRIMARY KEY,
    workspace  uuid NOT NULL,
    set_id     text NOT NULL,
    state      text NOT NULL CHECK (state IN ('previewed', 'applied', 'undone')),
    counts     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX import_workspace ON import (workspace, created_at, id);

CREATE TABLE import_row (
    import      uuid NOT NULL,
    row         integer NOT NULL,
    workspace   uuid NOT NULL,
    status      text NOT NULL CHECK (status IN ('new', 'changed', 'unchanged', 'refused')),
    report      bytea NOT NULL,                     -- JSON: pointer, code, detail, notes
    external_id text,
    feature     bytea,                              -- what apply writes
    before      bytea,                              -- what undo puts back
    version     bigint,                             -- the fence version that apply made
    PRIMARY KEY (import, row)
);

-- ---------------------------------------------------------------- offers
CREATE TABLE campaign (
    id         uuid PRIMARY KEY,
    workspace  uuid NOT NULL,
    body       bytea NOT NULL,                      -- JSON, see wire.CampaignBody
    state      text NOT NULL CHECK (state IN ('draft', 'submitted', 'approved', 'paused', 'ended')),
    version    bigint NOT NULL DEFAULT 1,
    author     text NOT NULL,                       -- id of the key that wrote it last
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX campaign_workspace ON campaign (workspace, created_at, id);

CREATE TABLE visit (
    id              uuid PRIMARY KEY,               -- hash of (workspace, device, fence, entered_at), time first
    workspace       uuid NOT NULL,
    user_id         uuid NOT NULL,
    device          uuid NOT NULL,
    fence           text NOT NULL,
    fence_version   bigint NOT NULL,
    entered_at      timestamptz NOT NULL,
    dwelt_at        timestamptz,
    left_at         timestamptz,
    closed_by       text CHECK (closed_by IN ('exit', 'silence', 'withdrawal')),
    -- each (visit, transition) belongs to exactly one decision: one column each, set once
    enter_decision  uuid,
    dwell_decision  uuid,
    exit_decision   uuid,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 75);
CREATE INDEX visit_open ON visit (user_id) WHERE left_at IS NULL;
CREATE INDEX visit_user ON visit (user_id, entered_at);

CREATE TABLE decision (
    id        uuid PRIMARY KEY,
    workspace uuid NOT NULL,
    user_id   uuid NOT NULL,
    campaign  uuid,
    at        timestamptz NOT NULL,
    outcome   text NOT NULL CHECK (outcome IN ('offer', 'suppressed')),
    reason    text,
    offer     uuid,
    receipt   bytea NOT NULL,                       -- JSON
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX decision_user ON decision (user_id, at);
CREATE INDEX decision_list ON decision (workspace, id);

CREATE TABLE reservation (
    user_id   uuid NOT NULL,
    at        timestamptz NOT NULL,
    offer     uuid NOT NULL,
    workspace uuid NOT NULL,
    campaign  uuid NOT NULL,
    store     text NOT NULL,
    fence     text NOT NULL,
    tags      text[] NOT NULL DEFAULT '{}',
    visit     uuid,
    state     smallint NOT NULL DEFAULT 0,          -- 0 held, 1 kept, 2 released
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, at, offer)
);

CREATE TABLE offer (
    id          uuid PRIMARY KEY,
    workspace   uuid NOT NULL,
    user_id     uuid NOT NULL,
    device      uuid NOT NULL,
    decision    uuid NOT NULL,
    campaign    uuid NOT NULL,
    fence       text NOT NULL,
    visit       uuid,
    trigger     text NOT NULL,
    lane        text NOT NULL,
    message     bytea NOT NULL,                     -- JSON: title, body, link, data
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'accepted', 'shown', 'ambiguous', 'expired', 'cancelled', 'failed')),
    detail      text,
    finished_at timestamptz
) WITH (fillfactor = 75);
CREATE INDEX offer_user ON offer (user_id, created_at);

-- What is kept is kept for a time of ours: a recorded trip's `at` is years ago, and its rows are not old for that. Rows are
-- written in the order of these instants and never change them: some pages of index for a million rows.
CREATE INDEX visit_age ON visit USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX decision_age ON decision USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX reservation_age ON reservation USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX offer_age ON offer USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE offer_event (
    offer     uuid NOT NULL,
    type      text NOT NULL CHECK (type IN ('shown', 'opened', 'dismissed', 'muted')),
    workspace uuid NOT NULL,
    user_id   uuid NOT NULL,
    reason    text,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (offer, type)
);

CREATE TABLE outbox (
    offer       uuid PRIMARY KEY,                   -- one offer is due once; a resend keeps its id
    workspace   uuid NOT NULL,
    partition   smallint NOT NULL,
    lane        text NOT NULL,
    due         timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'leased', 'sending')),
    lease_until timestamptz,
    token       bigint NOT NULL DEFAULT 0,          -- fencing: a late finish under an old token changes nothing
    attempts    integer NOT NULL DEFAULT 0,         -- counted at the claim, so that a crasher runs out
    ambiguous   boolean NOT NULL DEFAULT false      -- bytes have left once without an answer
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX outbox_due ON outbox (lane, due);

-- ---------------------------------------------------------------- calls and owners
CREATE TABLE idempotency (
    workspace    uuid NOT NULL,
    caller       text NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       integer,                           -- absent while the call runs
    content_type text,
    answer       bytea,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (workspace, caller, key)
);

CREATE TABLE audit (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace uuid NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    caller    text NOT NULL,
    action    text NOT NULL,
    subject   text NOT NULL
);
CREATE INDEX audit_subject ON audit (workspace, subject);

CREATE TABLE partition (
    id    smallint PRIMARY KEY CHECK (id BETWEEN 0 AND 255),
    owner text,
    epoch bigint NOT NULL DEFAULT 0,                -- every commit checks it: a deposed owner's commit is refused
    until timestamptz
);
INSERT INTO partition (id) SELECT generate_series(0, 255);

-- ---------------------------------------------------------------- the one policy
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'workspace_secret', 'service_key', 'api_key', 'app_user', 'device', 'refresh_token', 'consent_salt', 'consent_head',
        'consent_ledger', 'store', 'geofence', 'import', 'import_row', 'campaign', 'visit', 'decision', 'reservation',
        'offer', 'offer_event', 'idempotency', 'audit'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_workspace ON %I USING '
            '(workspace = ANY ((SELECT nullif(current_setting(''app.workspaces'', true), '''')::uuid[])::uuid[]))', name);
    END LOOP;
END $$;
