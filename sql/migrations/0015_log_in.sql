-- By whose id a person is drawn for holdouts and variants: that of the phone which brought their name; null: their own.
ALTER TABLE app_user ADD COLUMN drawn_as uuid;

-- That an offer was redeemed is told by the company, of the phone's four words none.
ALTER TABLE offer_event DROP CONSTRAINT offer_event_type_check, ADD CONSTRAINT offer_event_type_check
    CHECK (type IN ('shown', 'opened', 'dismissed', 'muted', 'redeemed'));
