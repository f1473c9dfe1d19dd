-- When a push service took an offer: of one that was shown since, `finished_at` says when that was.
ALTER TABLE offer ADD COLUMN accepted_at timestamptz;
