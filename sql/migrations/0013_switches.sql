-- What is switched off: a store, and everything of this installation at once.
ALTER TABLE store ADD COLUMN paused boolean NOT NULL DEFAULT false;

-- One row. It is of no workspace, so there is no policy.
CREATE TABLE installation (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    paused boolean NOT NULL DEFAULT false
);
INSERT INTO installation DEFAULT VALUES;
