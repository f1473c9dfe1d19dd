-- What a decision was made of, so that it can be made again; null where it was forgotten.
ALTER TABLE decision ADD COLUMN snapshot bytea; -- see offers/keeping.py
