-- What a connector left when it was deleted, or when another one got its name, is found by that name no longer: whoever watches by it is told.
CREATE FUNCTION note_left_objects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE denied SET revision = txid_current() WHERE connector = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER note_left_objects AFTER UPDATE OF superseded ON connector FOR EACH ROW
    WHEN (OLD.superseded <> NEW.superseded) EXECUTE FUNCTION note_left_objects();
