-- +goose Up
-- The service's readiness looks for this view: it is the last thing to appear.
CREATE VIEW audit_resource_health AS
SELECT resource_type,
       resource_id,
       events,
       failures,
       round(failures::numeric / events, 4) AS failure_rate,
       first_event_at,
       last_event_at
FROM audit_resource_activity;

-- +goose Down
DROP VIEW audit_resource_health;
