-- The age of a lane's oldest row is looked at every half second: by its index, however many wait.
CREATE INDEX outbox_since ON outbox (lane, since);
