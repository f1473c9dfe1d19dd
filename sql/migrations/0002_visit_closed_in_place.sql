-- Where a device is inside stands in its own row, and that is where it is read. An index that asks whether a visit is open
-- would have each exit write a new entry into every index of the table; without it a visit is closed on its page.
DROP INDEX visit_open;
