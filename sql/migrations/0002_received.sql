-- What is kept is kept for a time of ours: a recorded trip's `at` is years ago, and its rows are not old for that.
ALTER TABLE visit ADD COLUMN created_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE decision ADD COLUMN created_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE reservation ADD COLUMN created_at timestamptz NOT NULL DEFAULT clock_timestamp();

-- Rows are written in the order of these instants and never change them: some pages of index a million rows.
CREATE INDEX visit_age ON visit USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX decision_age ON decision USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX reservation_age ON reservation USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX offer_age ON offer USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);

-- A push token that turns up again is looked for among all phones, at every enrolment.
CREATE INDEX device_push ON device (push_token) WHERE push_token IS NOT NULL;
