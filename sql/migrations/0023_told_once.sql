-- An offer is told as sent once: a receipt that says later that it did arrive makes `ambiguous` into `accepted`, which is no
-- second sending. As shown it is told as of when somebody saw it, not of when we heard of that.
CREATE OR REPLACE FUNCTION tell_of_offers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_endpoint) THEN  -- of the transaction's workspaces: the policy sees to that
        PERFORM tell_endpoints(
            array_agg(n.workspace),
            array_agg(CASE n.state WHEN 'shown' THEN 'offer.shown' WHEN 'expired' THEN 'offer.expired' ELSE 'offer.sent' END),
            array_agg(n.user_id),
            array_agg(CASE WHEN n.state = 'shown' THEN coalesce(
                (SELECT min(e.at) FROM offer_event e WHERE e.offer = n.id AND e.type NOT IN ('delivered', 'failed')),
                n.finished_at) ELSE n.finished_at END),
            array_agg(convert_to(json_build_object(
                'offer', n.id, 'user', n.user_id, 'device', n.device, 'campaign', n.campaign, 'fence', n.fence,
                'lane', n.lane, 'state', n.state)::text, 'UTF8')))
        FROM before b JOIN after n ON n.id = b.id
        WHERE n.state <> b.state AND (b.state, n.state) <> ('ambiguous', 'accepted')
          AND n.state IN ('accepted', 'ambiguous', 'shown', 'expired') HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
