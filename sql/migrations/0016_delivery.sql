-- What lanes to the push services need to know of a phone's address, and what they said of an offer.

ALTER TABLE device
    ADD COLUMN push_keys  text,         -- Web Push: JSON of p256dh and auth, as the browser gave them
    ADD COLUMN push_at    timestamptz,  -- when this token was registered: one that died before is another
    ADD COLUMN push_ok_at timestamptz;  -- when a push service last took a message for it, to the hour
UPDATE device SET push_at = created_at WHERE push_token IS NOT NULL;

ALTER TABLE offer ADD COLUMN receipt text;  -- the push service's own name for what it took

-- `due` moves with every back-off; how long a row has waited does not.
ALTER TABLE outbox ADD COLUMN since timestamptz NOT NULL DEFAULT clock_timestamp();
