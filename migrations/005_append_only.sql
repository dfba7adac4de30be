-- +goose Up
-- An audit trail is not rewritten. Deleting stays possible, for retention.
-- +goose StatementBegin
CREATE FUNCTION refuse_audit_update() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit event % cannot be changed', OLD.event_id
        USING ERRCODE = 'restrict_violation',
              HINT = 'Record a new event with the same correlation_id instead.';
END;
$$;
-- +goose StatementEnd

CREATE TRIGGER audit_events_append_only
    BEFORE UPDATE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_update();

-- +goose Down
DROP TRIGGER audit_events_append_only ON audit_events;
DROP FUNCTION refuse_audit_update();
