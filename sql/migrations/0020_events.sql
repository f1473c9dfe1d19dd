-- Events for the company's own systems: where they go, what they say, and the queue of each endpoint. They are written by the
-- transaction that does what they tell of: by the turn itself, and of everything else by triggers, whichever path did it.
CREATE TABLE webhook_endpoint (
    id            uuid PRIMARY KEY,
    workspace     uuid NOT NULL,
    url           text NOT NULL,
    types         text[] NOT NULL,
    secret        bytea NOT NULL,                   -- HMAC key
    former        bytea,                            -- the one before, which signs too until
    former_until  timestamptz,
    coordinates   boolean NOT NULL DEFAULT false,   -- of the geofence; where a person was is told to nobody
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    failing_since timestamptz,                      -- absent = the last answer was good, or there was none yet
    disabled_at   timestamptz,
    disabled_why  text
);
CREATE INDEX webhook_endpoint_workspace ON webhook_endpoint (workspace, id);

CREATE TABLE webhook_event (
    id         uuid PRIMARY KEY,
    workspace  uuid NOT NULL,
    type       text NOT NULL,
    user_id    uuid,                                -- whom it tells of: it is erased with them
    at         timestamptz NOT NULL,
    body       bytea NOT NULL,                      -- JSON: `data` of what is sent
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX webhook_event_user ON webhook_event (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX webhook_event_age ON webhook_event USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX webhook_event_kept ON webhook_event (workspace, created_at);

-- The queue, and afterwards what became of each. No policy, as claims work across workspaces: it holds nothing of a person.
CREATE TABLE webhook_delivery (
    endpoint    uuid NOT NULL,
    event       uuid NOT NULL,
    workspace   uuid NOT NULL,
    due         timestamptz NOT NULL DEFAULT clock_timestamp(),
    state       text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'leased', 'delivered', 'failed')),
    lease_until timestamptz,
    token       bigint NOT NULL DEFAULT 0,          -- fencing: a late record under an old token changes nothing
    attempts    integer NOT NULL DEFAULT 0,         -- counted at the claim
    status      integer,                            -- of the last answer; absent = there was none
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (endpoint, event)
) WITH (fillfactor = 75, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX webhook_delivery_due ON webhook_delivery (endpoint, due) WHERE state IN ('due', 'leased');
CREATE INDEX webhook_delivery_event ON webhook_delivery (event);
CREATE INDEX webhook_delivery_log ON webhook_delivery (endpoint, created_at, event);
CREATE INDEX webhook_delivery_age ON webhook_delivery USING brin (created_at)
    WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE webhook_attempt (
    endpoint  uuid NOT NULL,
    event     uuid NOT NULL,
    workspace uuid NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    status    integer,                              -- absent = no answer
    ms        integer NOT NULL,
    detail    text
);
CREATE INDEX webhook_attempt_of ON webhook_attempt (endpoint, event);
CREATE INDEX webhook_attempt_age ON webhook_attempt USING brin (at) WITH (pages_per_range = 32, autosummarize = on);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['webhook_endpoint', 'webhook_event', 'webhook_attempt'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_workspace ON %I USING '
            '(workspace = ANY ((SELECT nullif(current_setting(''app.workspaces'', true), '''')::uuid[])::uuid[]))', name);
    END LOOP;
END $$;

-- Keeps the events that some endpoint of their workspace wants, and queues each for every one of those.
CREATE FUNCTION tell_endpoints(workspaces uuid[], types text[], users uuid[], instants timestamptz[], bodies bytea[])
RETURNS void LANGUAGE sql AS $$
    WITH told AS MATERIALIZED (
        SELECT gen_random_uuid() AS id, q.* FROM unnest(workspaces, types, users, instants, bodies)
            q (workspace, type, user_id, at, body)),
    wanted AS MATERIALIZED (
        SELECT e.id AS endpoint, t.id AS event, t.workspace FROM told t
        JOIN webhook_endpoint e ON e.workspace = t.workspace AND t.type = ANY (e.types) AND e.disabled_at IS NULL),
    kept AS (
        INSERT INTO webhook_event (id, workspace, type, user_id, at, body)
        SELECT id, workspace, type, user_id, at, body FROM told WHERE id IN (SELECT event FROM wanted))
    INSERT INTO webhook_delivery (endpoint, event, workspace) SELECT endpoint, event, workspace FROM wanted;
$$;

-- What the company's gateway heard of the way to the screen stands beside what the person did there.
ALTER TABLE offer_event DROP CONSTRAINT offer_event_type_check, ADD CONSTRAINT offer_event_type_check
    CHECK (type IN ('delivered', 'shown', 'opened', 'dismissed', 'muted', 'redeemed', 'failed'));

-- ---------------------------------------------------------------- what tells by itself
CREATE FUNCTION tell_of_offers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_endpoint) THEN  -- of the transaction's workspaces: the policy sees to that
        PERFORM tell_endpoints(
            array_agg(n.workspace),
            array_agg(CASE n.state WHEN 'shown' THEN 'offer.shown' WHEN 'expired' THEN 'offer.expired' ELSE 'offer.sent' END),
            array_agg(n.user_id), array_agg(n.finished_at),
            array_agg(convert_to(json_build_object(
                'offer', n.id, 'user', n.user_id, 'device', n.device, 'campaign', n.campaign, 'fence', n.fence,
                'lane', n.lane, 'state', n.state)::text, 'UTF8')))
        FROM before b JOIN after n ON n.id = b.id
        WHERE n.state <> b.state AND n.state IN ('accepted', 'ambiguous', 'shown', 'expired') HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER offer_told AFTER UPDATE ON offer REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION tell_of_offers();

CREATE FUNCTION tell_of_offer_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_endpoints(
        ARRAY[NEW.workspace], ARRAY['offer.' || NEW.type], ARRAY[NEW.user_id], ARRAY[NEW.at],
        ARRAY[convert_to(json_build_object(
            'offer', o.id, 'user', o.user_id, 'device', o.device, 'campaign', o.campaign, 'fence', o.fence,
            'lane', o.lane, 'state', o.state)::text, 'UTF8')])
    FROM offer o WHERE o.id = NEW.offer;
    RETURN NULL;
END $$;
CREATE TRIGGER offer_event_told AFTER INSERT ON offer_event FOR EACH ROW
    WHEN (NEW.type IN ('opened', 'redeemed')) EXECUTE FUNCTION tell_of_offer_event();

CREATE FUNCTION tell_of_consents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_endpoint) THEN
        PERFORM tell_endpoints(
            array_agg(NEW.workspace), array_agg('consent.changed'::text), array_agg(NEW.id),
            array_agg((n.value ->> 'at')::timestamptz),
            array_agg(convert_to(json_build_object(
                'user', NEW.id, 'purpose', n.key, 'granted', n.value -> 'granted',
                'text_version', n.value -> 'text_version')::text, 'UTF8')))
        FROM jsonb_each(convert_from(NEW.consents, 'UTF8')::jsonb) n
        LEFT JOIN jsonb_each(convert_from(OLD.consents, 'UTF8')::jsonb) b ON b.key = n.key
        WHERE n.value IS DISTINCT FROM b.value HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER consents_told AFTER UPDATE OF consents ON app_user FOR EACH ROW
    WHEN (OLD.consents IS DISTINCT FROM NEW.consents) EXECUTE FUNCTION tell_of_consents();

CREATE FUNCTION tell_of_campaign() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_endpoints(
        ARRAY[NEW.workspace], ARRAY['campaign.paused'], ARRAY[NULL::uuid], ARRAY[NEW.updated_at],
        ARRAY[convert_to(json_build_object('campaign', NEW.id)::text, 'UTF8')]);
    RETURN NULL;
END $$;
CREATE TRIGGER campaign_told AFTER UPDATE OF state ON campaign FOR EACH ROW
    WHEN (NEW.state = 'paused' AND OLD.state <> 'paused') EXECUTE FUNCTION tell_of_campaign();
