-- How a visit went, as far as the fixes told; all of it NULL at fences that take every fix at its word.
ALTER TABLE visit
    ADD COLUMN confirmed_at timestamptz,  -- certain enough for an offer
    ADD COLUMN label text CHECK (label IN ('stopped', 'walked_through', 'drove_past')),
    ADD COLUMN confidence real CHECK (confidence BETWEEN 0 AND 1),  -- the highest
    ADD COLUMN fixes integer CHECK (fixes >= 0),                    -- usable ones
    ADD COLUMN accuracy_m real CHECK (accuracy_m >= 0);             -- their mean
