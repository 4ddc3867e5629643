-- What a connector left when it was deleted, or when another one got its name, is found by that name no longer: whoever watches by it is told.
-- It changes in writes that are not counted as such.
CREATE TRIGGER note_left_objects AFTER UPDATE OF superseded ON connector WHEN OLD.superseded <> NEW.superseded
BEGIN
    UPDATE revision SET number = number + 1;
    UPDATE denied SET revision = (SELECT number FROM revision) WHERE connector = NEW.id;
END;
