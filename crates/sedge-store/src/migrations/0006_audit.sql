-- The audit has an end: the newest 10,000 entries stay, and places are never given twice, so that the
-- first place that is left says how many are gone.
DROP TRIGGER audit_is_not_shortened;
CREATE TRIGGER audit_keeps_the_newest BEFORE DELETE ON audit
WHEN OLD.place > (SELECT max(place) FROM audit) - 10000
BEGIN SELECT RAISE(ABORT, 'the newest entries of the audit stay'); END;
