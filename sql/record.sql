-- Records of sources whose target is records: kept whole, for databases that are no GeoNature.

-- The geometry is WKB, not PostGIS' type: the extension needs no PostGIS, and a column added to a table of an extension
-- once PostGIS comes would be lost by pg_dump. create_record_view gives it its type. One index is enough: rows are found
-- by the lineage or read source by source.
CREATE TABLE gn_harvest.record (
    source_id  integer     NOT NULL,
    id         bigint      NOT NULL,
    source_key text        NOT NULL,
    uuid       uuid,
    item       jsonb       NOT NULL,
    wkb        bytea,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, id)
);
CREATE SEQUENCE gn_harvest.record_id_seq OWNED BY gn_harvest.record.id;
COMMENT ON SEQUENCE gn_harvest.record_id_seq IS 'Numbers of records.';
COMMENT ON TABLE gn_harvest.record IS 'Records of sources whose target is records, as they came: their columns as a JSON object, their geometry as WKB in longitude and latitude (EPSG:4326). Read through harvested_record and the views that create_record_view makes.';

CREATE FUNCTION gn_harvest.visible_record_source(asking name) RETURNS SETOF integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT gn_harvest.visible_source(asking)
    UNION ALL
    SELECT f.source_id
    FROM gn_harvest.former_source f
    WHERE f.target = 'records' AND (gn_harvest.sees_everything(asking) OR gn_harvest.may_manage(asking, f.owner))
$$;
COMMENT ON FUNCTION gn_harvest.visible_record_source(name) IS 'Sources of which a role may see the records: those that it sees, and those that were dropped and would be.';

CREATE VIEW gn_harvest.harvested_record WITH (security_barrier) AS
SELECT r.id AS record_id,
       coalesce(s.name, f.name) AS source,
       r.source_key,
       r.uuid,
       r.item,
       r.wkb,
       r.changed_at,
       r.source_id
FROM gn_harvest.record r
LEFT JOIN gn_harvest.source s ON s.id = r.source_id
LEFT JOIN gn_harvest.former_source f ON f.source_id = r.source_id
WHERE r.source_id IN (SELECT gn_harvest.visible_record_source(current_user));
COMMENT ON VIEW gn_harvest.harvested_record IS 'Records of sources whose target is records, as they came. create_record_view makes a view with a column for each of theirs.';
COMMENT ON COLUMN gn_harvest.harvested_record.record_id IS 'Number of the record here; it stays when the record changes.';
COMMENT ON COLUMN gn_harvest.harvested_record.source IS 'Name of the source, also when it has been dropped and its records have stayed.';
COMMENT ON COLUMN gn_harvest.harvested_record.source_key IS 'Its key at the source.';
COMMENT ON COLUMN gn_harvest.harvested_record.uuid IS 'Its UUID, where the export has one.';
COMMENT ON COLUMN gn_harvest.harvested_record.item IS 'Its columns, as the source gives them.';
COMMENT ON COLUMN gn_harvest.harvested_record.wkb IS 'Its geometry in longitude and latitude, as WKB: ST_GeomFromWKB(wkb, 4326).';
COMMENT ON COLUMN gn_harvest.harvested_record.changed_at IS 'When it was last written here.';
COMMENT ON COLUMN gn_harvest.harvested_record.source_id IS 'Number of the source.';
