-- Budgets of campaigns and stores, ghosts of people held out, and how many cap rules a body has.

-- How many offers a budget has given: at all (the day -infinity, whose row is the budget's lock) and by day. What is counted
-- are reservations that are not released: the triggers below follow them, whoever writes them. There is a row once a decision
-- has looked at the budget; what was given before it was set is not counted.
CREATE TABLE budget (
    workspace uuid NOT NULL,
    owner     text NOT NULL,                        -- campaign/<id> or store/<id>
    day       date NOT NULL,                        -- of the workspace's zone, of the store's for a store
    used      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace, owner, day)
) WITH (fillfactor = 50);
ALTER TABLE budget ENABLE ROW LEVEL SECURITY;
ALTER TABLE budget FORCE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON budget
    USING (workspace = ANY ((SELECT nullif(current_setting('app.workspaces', true), '')::uuid[])::uuid[]));

ALTER TABLE reservation
    ADD COLUMN ghost        boolean NOT NULL DEFAULT false,  -- of an offer that was not made, for the sake of a holdout
    ADD COLUMN campaign_day date,                            -- on which it counts for the campaign's budget, if that has one
    ADD COLUMN store_day    date;

-- Adds to what the budgets of some reservations have given. Everybody locks budgets in the order of their keys.
CREATE FUNCTION budget_add(
    workspaces uuid[], campaigns uuid[], stores text[], campaign_days date[], store_days date[], counts integer[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF workspaces IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO budget AS b (workspace, owner, day, used)
    SELECT q.workspace, o.owner, t.day, sum(q.n)
    FROM unnest(workspaces, campaigns, stores, campaign_days, store_days, counts)
        q (workspace, campaign, store, campaign_day, store_day, n)
    CROSS JOIN LATERAL (VALUES ('campaign/' || q.campaign, q.campaign_day), ('store/' || q.store, q.store_day)) o (owner, day)
    CROSS JOIN LATERAL (VALUES ('-infinity'::date), (o.day)) t (day)
    WHERE o.day IS NOT NULL
    GROUP BY 1, 2, 3 HAVING sum(q.n) <> 0 ORDER BY 1, 2, 3
    ON CONFLICT (workspace, owner, day) DO UPDATE SET used = b.used + excluded.used;
END $$;

CREATE FUNCTION budget_take() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM budget_add(array_agg(workspace), array_agg(campaign), array_agg(store), array_agg(campaign_day),
                       array_agg(store_day), array_agg(1))
    FROM coming WHERE state < 2 AND (campaign_day IS NOT NULL OR store_day IS NOT NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER budget_take AFTER INSERT ON reservation REFERENCING NEW TABLE AS coming
    FOR EACH STATEMENT EXECUTE FUNCTION budget_take();

-- What is released is given back on the day on which it was taken; what was shown all the same is taken again.
CREATE FUNCTION budget_give_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM budget_add(array_agg(workspace), array_agg(campaign), array_agg(store), array_agg(campaign_day),
                       array_agg(store_day), array_agg(n))
    FROM (SELECT *, 1 AS n FROM coming UNION ALL SELECT *, -1 FROM going) q
    WHERE state < 2 AND (campaign_day IS NOT NULL OR store_day IS NOT NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER budget_give_back AFTER UPDATE ON reservation REFERENCING OLD TABLE AS going NEW TABLE AS coming
    FOR EACH STATEMENT EXECUTE FUNCTION budget_give_back();

-- Locks budgets, and says of each what it has given. After the lock of the turn's users and before deciding, so that nobody
-- else gives meanwhile what this turn has seen to be left. Each statement has a snapshot of its own: what is read after the
-- lock is fresh.
CREATE FUNCTION turn_budgets(workspaces uuid[], owners text[], days date[])
    RETURNS TABLE (of_workspace uuid, of_owner text, on_day date, total bigint, today bigint) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO budget (workspace, owner, day)
    SELECT DISTINCT q.w, q.o, '-infinity'::date FROM unnest(workspaces, owners) q (w, o) ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    PERFORM FROM budget b JOIN (SELECT DISTINCT w, o FROM unnest(workspaces, owners) q (w, o)) q
        ON b.workspace = q.w AND b.owner = q.o
    WHERE b.day = '-infinity' ORDER BY b.workspace, b.owner FOR NO KEY UPDATE OF b;
    RETURN QUERY
    SELECT q.w, q.o, q.d, t.used, coalesce(b.used, 0) FROM unnest(workspaces, owners, days) q (w, o, d)
    JOIN budget t ON t.workspace = q.w AND t.owner = q.o AND t.day = '-infinity'
    LEFT JOIN budget b ON b.workspace = q.w AND b.owner = q.o AND b.day = q.d;
END $$;

-- How many cap rules a stored body has; none where it cannot be read.
CREATE FUNCTION cap_rules(body bytea) RETURNS smallint LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN coalesce(jsonb_array_length(convert_from(body, 'UTF8')::jsonb -> 'caps'), 0);
EXCEPTION WHEN data_exception THEN
    RETURN 0;
END $$;
ALTER TABLE campaign ADD COLUMN cap_rules smallint NOT NULL GENERATED ALWAYS AS (cap_rules(body)) STORED;
ALTER TABLE store ADD COLUMN cap_rules smallint NOT NULL GENERATED ALWAYS AS (cap_rules(body)) STORED;
CREATE INDEX store_capped ON store (workspace, cap_rules) WHERE cap_rules > 0;
