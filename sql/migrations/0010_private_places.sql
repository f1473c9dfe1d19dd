-- Places where nobody is located, and the approval of geofences that lie over them. A geofence is off while it lies over
-- some (`private_places`) and fewer than two keys other than its author's have approved it as it is.
CREATE TABLE private_place (
    workspace  uuid NOT NULL,
    id         text NOT NULL,
    category   text NOT NULL CHECK (category IN ('health', 'worship', 'shelter', 'union', 'politics', 'lgbtq', 'school',
                                                 'correctional', 'other')),
    version    bigint NOT NULL DEFAULT nextval('geofence_version'),
    feature    bytea NOT NULL,                      -- the GeoJSON Feature as normalised, JSON
    min_lat    double precision NOT NULL,
    min_lon    double precision NOT NULL,
    max_lat    double precision NOT NULL,
    max_lon    double precision NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (workspace, id)
);
CREATE INDEX private_place_box ON private_place (workspace, min_lat, max_lat);
ALTER TABLE private_place ENABLE ROW LEVEL SECURITY;
ALTER TABLE private_place FORCE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON private_place USING
    (workspace = ANY ((SELECT nullif(current_setting('app.workspaces', true), '')::uuid[])::uuid[]));

ALTER TABLE geofence
    ADD COLUMN author         text,                 -- id of the key that wrote it last
    ADD COLUMN private_places text[],               -- ids of those that it lies over; null where there are none
    ADD COLUMN approvers      text[] NOT NULL DEFAULT '{}';  -- ids of keys, since it or what it lies over was changed
CREATE INDEX geofence_private ON geofence USING gin (private_places) WHERE private_places IS NOT NULL;
