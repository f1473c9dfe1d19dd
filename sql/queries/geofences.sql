-- name: geofence_set_lock
-- $1 workspace, $2 set. One transaction at a time changes a set, so that what an import compared is what it replaces.
SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text || '/' || $2::text, 0));

-- name: geofences_owner
-- $1 the owner of the partitions in this process, null where nobody is. Who takes over claims all of them, and waits for the
-- commit of whoever holds this one; KEY SHARE does not meet the owner's own renewal.
SELECT id FROM partition WHERE id = 0 AND owner IS NOT DISTINCT FROM $1 FOR KEY SHARE;

-- name: geofences_write
-- $1 workspace, $2 set; then a column each of: external id, feature, min_lat, min_lon, max_lat, max_lon, the private places
-- that it lies over (joined by \x1f, or null); last who writes. A row that was there has been updated, and xmax tells; who
-- approved what it was has not approved what it is.
INSERT INTO geofence (workspace, set_id, external_id, feature, min_lat, min_lon, max_lat, max_lon, private_places, author)
SELECT $1::uuid, $2::text, external_id, feature, min_lat, min_lon, max_lat, max_lon,
       string_to_array(private_places, E'\x1f'), $10::text
FROM unnest($3::text[], $4::bytea[], $5::float8[], $6::float8[], $7::float8[], $8::float8[], $9::text[])
     q (external_id, feature, min_lat, min_lon, max_lat, max_lon, private_places)
ON CONFLICT (workspace, set_id, external_id) DO UPDATE
SET version = EXCLUDED.version, feature = EXCLUDED.feature, updated_at = clock_timestamp(), min_lat = EXCLUDED.min_lat,
    min_lon = EXCLUDED.min_lon, max_lat = EXCLUDED.max_lat, max_lon = EXCLUDED.max_lon,
    private_places = EXCLUDED.private_places, author = EXCLUDED.author, approvers = '{}'
RETURNING external_id, version, updated_at, xmax = 0 AS created, private_places, approvers;

-- name: geofences_count
-- $1 workspace, $2 set.
SELECT count(*) FROM geofence WHERE workspace = $1 AND set_id = $2;

-- name: geofence_get
SELECT set_id, external_id, version, feature, updated_at, private_places, approvers, author FROM geofence
WHERE workspace = $1 AND set_id = $2 AND external_id = $3;

-- name: geofences_page
-- $1 workspace, $2 and $3 the set and external id before the page, $4 how many, $5..$8 a box (min_lat, min_lon, max_lat,
-- max_lon) or nulls. Boxes meet where both intervals do; one of longitudes that crosses the antimeridian has min > max.
SELECT set_id, external_id, version, feature, updated_at, private_places, approvers FROM geofence
WHERE workspace = $1 AND (set_id, external_id) > ($2, $3)
  AND ($5::float8 IS NULL OR min_lat <= $7 AND max_lat >= $5 AND CASE
       WHEN min_lon <= max_lon AND $6::float8 <= $8::float8 THEN min_lon <= $8 AND max_lon >= $6
       WHEN min_lon > max_lon AND $6 > $8 THEN true
       ELSE min_lon <= $8 OR max_lon >= $6 END)
ORDER BY set_id, external_id LIMIT $4;

-- name: geofences_page_of_set
-- As above, in one set: $1 workspace, $2 set, $3 the external id before the page.
SELECT set_id, external_id, version, feature, updated_at, private_places, approvers FROM geofence
WHERE workspace = $1 AND set_id = $2 AND external_id > $3
  AND ($5::float8 IS NULL OR min_lat <= $7 AND max_lat >= $5 AND CASE
       WHEN min_lon <= max_lon AND $6::float8 <= $8::float8 THEN min_lon <= $8 AND max_lon >= $6
       WHEN min_lon > max_lon AND $6 > $8 THEN true
       ELSE min_lon <= $8 OR max_lon >= $6 END)
ORDER BY external_id LIMIT $4;

-- name: geofences_digests
-- $1 workspace, $2 set, $3 external ids. Enough to tell what an import would change.
SELECT external_id, sha256(feature) AS digest FROM geofence
WHERE workspace = $1 AND set_id = $2 AND external_id = ANY ($3::text[]);

-- name: geofences_versions
-- $1 workspace, $2 set. Enough to tell whether memory holds the same.
SELECT external_id, version FROM geofence WHERE workspace = $1 AND set_id = $2;

-- name: geofences_features
-- $1 workspace, $2 set, $3 external ids.
SELECT set_id, external_id, version, feature, private_places, approvers FROM geofence
WHERE workspace = $1 AND set_id = $2 AND external_id = ANY ($3::text[]);

-- name: geofences_delete
-- $1 workspace, $2 set, $3 external ids.
DELETE FROM geofence WHERE workspace = $1 AND set_id = $2 AND external_id = ANY ($3::text[]) RETURNING external_id;

-- name: geofence_approve
-- $1 workspace, $2 set, $3 external id, $4 who approves. The second makes another version, so that memory follows; the first
-- does not: who has seen the fence before it may be the second.
UPDATE geofence SET approvers = array_append(approvers, $4::text), updated_at = clock_timestamp(),
    version = CASE WHEN cardinality(approvers) = 1 THEN nextval('geofence_version') ELSE version END
WHERE workspace = $1 AND set_id = $2 AND external_id = $3
RETURNING set_id, external_id, version, feature, updated_at, private_places, approvers;
