-- Private places, and the geofences that lie over them. Who writes geofences of a workspace holds its private places in
-- common, who changes one holds them alone: so each sees what the other has written.

-- name: private_places_hold
-- $1 workspace.
SELECT pg_advisory_xact_lock_shared(hashtextextended($1::uuid::text || '//private', 0));

-- name: private_places_hold_alone
-- $1 workspace.
SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text || '//private', 0));

-- name: private_place_put
-- $1 workspace, $2 id, $3 category, $4 feature, $5..$8 a box: min_lat, min_lon, max_lat, max_lon.
INSERT INTO private_place (workspace, id, category, feature, min_lat, min_lon, max_lat, max_lon)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (workspace, id) DO UPDATE
SET category = EXCLUDED.category, feature = EXCLUDED.feature, version = EXCLUDED.version, updated_at = clock_timestamp(),
    min_lat = EXCLUDED.min_lat, min_lon = EXCLUDED.min_lon, max_lat = EXCLUDED.max_lat, max_lon = EXCLUDED.max_lon
RETURNING id, category, version, feature, updated_at, xmax = 0 AS created;

-- name: private_places_count
SELECT count(*) FROM private_place WHERE workspace = $1;

-- name: private_place_get
SELECT id, category, version, feature, updated_at FROM private_place WHERE workspace = $1 AND id = $2;

-- name: private_places_page
-- $1 workspace, $2 the id before the page, $3 how many.
SELECT id, category, version, feature, updated_at FROM private_place WHERE workspace = $1 AND id > $2 ORDER BY id LIMIT $3;

-- name: private_places_load
-- As above.
SELECT id, category, version, feature, min_lat, min_lon, max_lat, max_lon FROM private_place
WHERE workspace = $1 AND id > $2 ORDER BY id LIMIT $3;

-- name: private_place_delete
DELETE FROM private_place WHERE workspace = $1 AND id = $2 RETURNING id;

-- name: private_places_by_boxes
-- $1 workspace; then a column each of boxes: min_lat, min_lon, max_lat, max_lon; last how many at most of each. Boxes meet as
-- in geofences_page. Answers with the number of each box, from 1.
SELECT q.number, p.id, p.feature
FROM unnest($2::float8[], $3::float8[], $4::float8[], $5::float8[]) WITH ORDINALITY
     q (min_lat, min_lon, max_lat, max_lon, number)
CROSS JOIN LATERAL (
    SELECT id, feature FROM private_place x
    WHERE x.workspace = $1 AND x.min_lat <= q.max_lat AND x.max_lat >= q.min_lat AND CASE
          WHEN x.min_lon <= x.max_lon AND q.min_lon <= q.max_lon THEN x.min_lon <= q.max_lon AND x.max_lon >= q.min_lon
          WHEN x.min_lon > x.max_lon AND q.min_lon > q.max_lon THEN true
          ELSE x.min_lon <= q.max_lon OR x.max_lon >= q.min_lon END
    ORDER BY id LIMIT $6) p;

-- name: private_geofences_near
-- $1 workspace, $2 a private place, $3..$6 a box (min_lat, min_lon, max_lat, max_lon) or nulls: what may lie over the place,
-- and what did.
SELECT set_id, external_id, feature, private_places FROM geofence
WHERE workspace = $1 AND private_places @> ARRAY[$2::text]
UNION
SELECT set_id, external_id, feature, private_places FROM geofence
WHERE workspace = $1 AND min_lat <= $5::float8 AND max_lat >= $3::float8 AND CASE
      WHEN min_lon <= max_lon AND $4::float8 <= $6::float8 THEN min_lon <= $6 AND max_lon >= $4
      WHEN min_lon > max_lon AND $4 > $6 THEN true
      ELSE min_lon <= $6 OR max_lon >= $4 END;

-- name: private_geofences_set
-- $1 workspace; then a column each of: set, external id, the private places that it lies over (joined by \x1f, or null),
-- whether it has to be approved anew. Another version, so that memory follows.
UPDATE geofence g SET private_places = string_to_array(q.places, E'\x1f'),
    approvers = CASE WHEN q.anew THEN '{}' ELSE g.approvers END, version = nextval('geofence_version'),
    updated_at = clock_timestamp()
FROM unnest($2::text[], $3::text[], $4::text[], $5::boolean[]) q (set_id, external_id, places, anew)
WHERE g.workspace = $1 AND g.set_id = q.set_id AND g.external_id = q.external_id;

-- name: private_geofences_waiting
-- $1 workspace, $2 a private place, $3 how many approvals a geofence needs, $4 how many of them are told.
SELECT set_id, external_id FROM geofence
WHERE workspace = $1 AND private_places @> ARRAY[$2::text] AND cardinality(approvers) < $3
ORDER BY set_id, external_id LIMIT $4;

-- name: private_geofences_sets
-- $1 workspace, $2 a private place.
SELECT DISTINCT set_id FROM geofence WHERE workspace = $1 AND private_places @> ARRAY[$2::text];

-- name: private_geofences
-- $1 workspace. Geofences that lie over private places, with the categories of these.
SELECT g.set_id, g.external_id, array_agg(DISTINCT p.category ORDER BY p.category) AS categories
FROM geofence g JOIN private_place p ON p.workspace = g.workspace AND p.id = ANY (g.private_places)
WHERE g.workspace = $1 AND g.private_places IS NOT NULL GROUP BY g.set_id, g.external_id;
