-- Areas: every observation is linked to all enabled areas that it meets, and may be
-- attached to one by its code instead of having a geometry of its own.

CREATE SCHEMA ref_geo;

-- An area has the same geometry twice, in the local projection and in WGS 84:
-- the one that is given, or that changes, makes the other.
CREATE FUNCTION ref_geo.fct_tri_transform_geom() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    local_is_source boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        local_is_source := NEW.geom IS NOT NULL;
        IF local_is_source AND NEW.geom_4326 IS NOT NULL THEN
            RETURN NEW;
        END IF;
    ELSIF NEW.geom IS DISTINCT FROM OLD.geom THEN
        local_is_source := true;
    ELSIF NEW.geom_4326 IS DISTINCT FROM OLD.geom_4326 THEN
        local_is_source := false;
    ELSE
        RETURN NEW;
    END IF;

    IF local_is_source THEN
        NEW.geom_4326 := public.ST_Transform(NEW.geom, 4326);
    ELSE
        NEW.geom := public.ST_Transform(NEW.geom_4326,
                                        public.Find_SRID(TG_TABLE_SCHEMA::varchar, TG_TABLE_NAME::varchar, 'geom'));
    END IF;
    RETURN NEW;
END
$$;

CREATE TABLE ref_geo.bib_areas_types (
    id_type        serial,
    type_name      varchar(200) NOT NULL,
    type_code      varchar(25) NOT NULL,
    type_desc      text,
    ref_name       varchar(200),
    ref_version    integer,
    num_version    varchar(50),
    size_hierarchy integer,
    CONSTRAINT pk_bib_areas_types
        PRIMARY KEY (id_type),
    CONSTRAINT unique_bib_areas_types_type_code
        UNIQUE (type_code)
);

CREATE UNIQUE INDEX i_unique_bib_areas_types_type_code ON ref_geo.bib_areas_types (type_code);

CREATE TABLE ref_geo.l_areas (
    id_area          serial,
    id_type          integer NOT NULL,
    area_name        varchar(250),
    area_code        varchar(25),
    geom             geometry(MultiPolygon,2154),
    centroid         geometry(Point,2154),
    source           varchar(250),
    comment          text,
    enable           boolean NOT NULL DEFAULT true,
    additional_data  jsonb,
    meta_create_date timestamp,
    meta_update_date timestamp,
    geom_4326        geometry(MultiPolygon,4326),
    description      text,
    CONSTRAINT pk_l_areas
        PRIMARY KEY (id_area),
    CONSTRAINT unique_id_type_area_code
        UNIQUE (id_type, area_code),
    CONSTRAINT enforce_geotype_l_areas_centroid
        CHECK ((geometrytype(centroid) = 'POINT') OR (centroid IS NULL)),
    CONSTRAINT enforce_geotype_l_areas_geom
        CHECK ((geometrytype(geom) = 'MULTIPOLYGON') OR (geom IS NULL)),
    CONSTRAINT enforce_srid_l_areas_centroid
        CHECK (st_srid(centroid) = 2154),
    CONSTRAINT enforce_srid_l_areas_geom
        CHECK (st_srid(geom) = 2154),
    CONSTRAINT fk_l_areas_id_type
        FOREIGN KEY (id_type) REFERENCES ref_geo.bib_areas_types(id_type) ON UPDATE CASCADE
);

CREATE UNIQUE INDEX i_unique_l_areas_id_type_area_code ON ref_geo.l_areas (id_type, area_code);

CREATE TABLE ref_geo.cor_areas (
    id_area_group integer,
    id_area       integer,
    CONSTRAINT fk_ref_geo_cor_areas_id_area
        FOREIGN KEY (id_area) REFERENCES ref_geo.l_areas(id_area) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT fk_ref_geo_cor_areas_id_area_group
        FOREIGN KEY (id_area_group) REFERENCES ref_geo.l_areas(id_area) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE ref_geo.li_municipalities (
    id_municipality        varchar(25) NOT NULL,
    id_area                integer NOT NULL,
    status                 varchar(50),
    insee_com              varchar(5),
    nom_com                varchar(50),
    insee_arr              varchar(2),
    nom_dep                varchar(30),
    insee_dep              varchar(3),
    nom_reg                varchar(35),
    insee_reg              varchar(2),
    code_epci              varchar(9),
    plani_precision        double precision,
    siren_code             varchar(10),
    canton                 varchar(200),
    population             integer,
    multican               varchar(3),
    cc_nom                 varchar(250),
    cc_siren               bigint,
    cc_nature              varchar(5),
    cc_date_creation       varchar(10),
    cc_date_effet          varchar(10),
    insee_commune_nouvelle varchar(5),
    meta_create_date       timestamp,
    meta_update_date       timestamp,
    CONSTRAINT pk_li_municipalities
        PRIMARY KEY (id_municipality),
    CONSTRAINT fk_li_municipalities_id_area
        FOREIGN KEY (id_area) REFERENCES ref_geo.l_areas(id_area) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE ref_geo.li_grids (
    id_grid varchar(50) NOT NULL,
    id_area integer NOT NULL,
    cxmin   integer,
    cxmax   integer,
    cymin   integer,
    cymax   integer,
    CONSTRAINT pk_li_grids
        PRIMARY KEY (id_grid),
    CONSTRAINT fk_li_grids_id_area
        FOREIGN KEY (id_area) REFERENCES ref_geo.l_areas(id_area) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE INDEX index_l_areas_geom            ON ref_geo.l_areas USING gist (geom);
CREATE INDEX index_l_areas_geom_4326       ON ref_geo.l_areas USING gist (geom_4326);
CREATE INDEX index_l_areas_centroid        ON ref_geo.l_areas USING gist (centroid);
CREATE INDEX index_l_areas_id_type         ON ref_geo.l_areas (id_type);
CREATE INDEX index_li_municipalities_id_area ON ref_geo.li_municipalities (id_area);
CREATE INDEX index_li_grids_id_area        ON ref_geo.li_grids (id_area);

-- The triggers that link areas and observations are with gn_synthese.

CREATE TRIGGER tri_meta_dates_change_l_areas
    BEFORE INSERT OR UPDATE ON ref_geo.l_areas
    FOR EACH ROW EXECUTE FUNCTION public.fct_trg_meta_dates_change();

CREATE TRIGGER tri_transform_geom_insert
    BEFORE INSERT ON ref_geo.l_areas
    FOR EACH ROW EXECUTE FUNCTION ref_geo.fct_tri_transform_geom();

CREATE TRIGGER tri_transform_geom_update
    BEFORE UPDATE ON ref_geo.l_areas
    FOR EACH ROW EXECUTE FUNCTION ref_geo.fct_tri_transform_geom();

CREATE TRIGGER tri_meta_dates_change_li_municipalities
    BEFORE INSERT OR UPDATE ON ref_geo.li_municipalities
    FOR EACH ROW EXECUTE FUNCTION public.fct_trg_meta_dates_change();

CREATE FUNCTION ref_geo.get_id_area_type(mytype varchar) RETURNS integer
LANGUAGE sql STABLE AS $$
    SELECT t.id_type FROM ref_geo.bib_areas_types t WHERE t.type_code = mytype
$$;
