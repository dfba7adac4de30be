-- +goose NO TRANSACTION
-- +goose Up
-- A concurrent build that fails leaves an invalid index behind, hence the drops:
-- the file can be applied again.
DROP INDEX CONCURRENTLY IF EXISTS audit_resource_activity_recent_idx;
CREATE INDEX CONCURRENTLY audit_resource_activity_recent_idx
    ON audit_resource_activity (last_event_at DESC);

DROP INDEX CONCURRENTLY IF EXISTS audit_resource_activity_failing_idx;
CREATE INDEX CONCURRENTLY audit_resource_activity_failing_idx
    ON audit_resource_activity (failures DESC)
    WHERE failures > 0;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS audit_resource_activity_failing_idx;
DROP INDEX CONCURRENTLY IF EXISTS audit_resource_activity_recent_idx;
