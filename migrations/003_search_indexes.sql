-- +goose Up
-- Each ends with the sort key of the listing, so that a page is read in order
-- from the index. The listing without a filter uses the primary key.
CREATE INDEX audit_events_event_type_idx ON audit_events (event_type, occurred_at, event_id);
CREATE INDEX audit_events_actor_idx ON audit_events (actor, occurred_at, event_id);
CREATE INDEX audit_events_resource_idx ON audit_events (resource_type, resource_id, occurred_at, event_id);
CREATE INDEX audit_events_correlation_idx ON audit_events (correlation_id, occurred_at, event_id)
    WHERE correlation_id IS NOT NULL;
CREATE INDEX audit_events_unsuccessful_idx ON audit_events (outcome, occurred_at, event_id)
    WHERE outcome <> 'success';

-- Containment (`event_data @> ..`) is the only search in the payload.
CREATE INDEX audit_events_data_idx ON audit_events USING gin (event_data jsonb_path_ops);

-- +goose Down
DROP INDEX audit_events_data_idx;
DROP INDEX audit_events_unsuccessful_idx;
DROP INDEX audit_events_correlation_idx;
DROP INDEX audit_events_resource_idx;
DROP INDEX audit_events_actor_idx;
DROP INDEX audit_events_event_type_idx;
