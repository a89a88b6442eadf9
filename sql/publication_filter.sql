-- What a publication lets through: its options as conditions on a row of gn_synthese.synthese. One text for the views,
-- for the triggers that watch what leaves, and for what a change of options makes leave.

-- Those that the row itself answers.
CREATE FUNCTION gn_harvest.publication_plain_filter(p gn_harvest.publication, a_row text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    conditions text[] := '{}';
BEGIN
    IF p.date_min IS NOT NULL THEN
        conditions := conditions || format('%s.date_min >= %L::timestamp', a_row, p.date_min);
    END IF;
    IF p.date_max IS NOT NULL THEN
        conditions := conditions || format('%s.date_max < %L::timestamp', a_row, p.date_max + 1);
    END IF;
    -- A level that was not computed or not said is let through by no limit.
    IF p.sensitivity_max IS NOT NULL THEN
        conditions := conditions || format('%s.id_nomenclature_sensitivity = ANY (%L::integer[])', a_row,
            ARRAY(SELECT n.id FROM gn_harvest.nomenclature_codes('SENSIBILITE') n WHERE n.code <= p.sensitivity_max ORDER BY 1));
    END IF;
    IF p.diffusion_levels IS NOT NULL THEN
        conditions := conditions || format('(%1$s.id_nomenclature_diffusion_level = ANY (%2$L::integer[])%3$s)', a_row,
            ARRAY(SELECT n.id FROM gn_harvest.nomenclature_codes('NIV_PRECIS') n WHERE n.code = ANY (p.diffusion_levels) ORDER BY 1),
            CASE WHEN array_position(p.diffusion_levels, NULL) IS NOT NULL
                 THEN format(' OR %s.id_nomenclature_diffusion_level IS NULL', a_row) ELSE '' END);
    END IF;
    RETURN nullif(array_to_string(conditions, E'\n  AND '), '');
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_plain_filter(gn_harvest.publication, text) IS 'The conditions of a publication that a row of the synthese answers by itself; null: none.';

CREATE FUNCTION gn_harvest.publication_filter(p gn_harvest.publication, a_row text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    conditions text[] := '{}';
    scope      text   := format('SELECT c.id FROM gn_harvest.publication_scope c WHERE c.slug = %L AND c.edition = %s AND c.kind', p.slug, p.edition);
BEGIN
    IF num_nonnulls(p.datasets, p.frameworks, p.organisms) > 0 THEN
        conditions := conditions || format('%s.id_dataset IN (%s = ''dataset'')', a_row, scope);
    END IF;
    IF p.taxa IS NOT NULL THEN
        conditions := conditions || format('%s.cd_nom IN (%s = ''taxon'')', a_row, scope);
    END IF;
    IF p.areas IS NOT NULL THEN
        conditions := conditions || format(
            'EXISTS (SELECT FROM gn_synthese.cor_area_synthese l WHERE l.id_synthese = %s.id_synthese AND l.id_area IN (%s = ''area''))',
            a_row, scope);
    END IF;
    RETURN nullif(array_to_string(conditions || gn_harvest.publication_plain_filter(p, a_row), E'\n  AND '), '');
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_filter(gn_harvest.publication, text) IS 'The conditions of a publication on a row of the synthese under a name; null: every row.';

-- Columns whose values are looked up elsewhere, and whose change can thus make a row leave.
CREATE FUNCTION gn_harvest.publication_lookups(p gn_harvest.publication) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[
        CASE WHEN num_nonnulls(p.datasets, p.frameworks, p.organisms) > 0 THEN 'id_dataset' END,
        CASE WHEN p.taxa IS NOT NULL THEN 'cd_nom' END,
        CASE WHEN p.areas IS NOT NULL THEN 'the_geom_local' END], NULL)
$$;
COMMENT ON FUNCTION gn_harvest.publication_lookups(gn_harvest.publication) IS 'Columns of the synthese by which a publication looks elsewhere whether a row is in it.';

CREATE FUNCTION gn_harvest.nomenclature_codes(type text) RETURNS TABLE (id integer, code text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT n.id_nomenclature, n.cd_nomenclature::text
    FROM ref_nomenclatures.t_nomenclatures n
    JOIN ref_nomenclatures.bib_nomenclatures_types t ON t.id_type = n.id_type
    WHERE t.mnemonique = nomenclature_codes.type;
END
$$;
COMMENT ON FUNCTION gn_harvest.nomenclature_codes(text) IS 'Codes of a type of nomenclature of this GeoNature.';

-- The datasets of the options, their intersection.
CREATE FUNCTION gn_harvest.publication_datasets(p gn_harvest.publication) RETURNS SETOF integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT d.id_dataset
    FROM gn_meta.t_datasets d
    JOIN gn_meta.t_acquisition_frameworks f ON f.id_acquisition_framework = d.id_acquisition_framework
    WHERE (p.datasets IS NULL OR d.unique_dataset_id = ANY (p.datasets))
      AND (p.frameworks IS NULL OR f.unique_acquisition_framework_id = ANY (p.frameworks))
      AND (p.organisms IS NULL OR EXISTS (
               SELECT FROM gn_meta.cor_dataset_actor a
               JOIN utilisateurs.bib_organismes o ON o.id_organisme = a.id_organism
               WHERE a.id_dataset = d.id_dataset AND o.uuid_organisme = ANY (p.organisms)));
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_datasets(gn_harvest.publication) IS 'The datasets that the options of a publication name.';

CREATE FUNCTION gn_harvest.publication_members(p gn_harvest.publication) RETURNS TABLE (kind text, id integer)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF num_nonnulls(p.datasets, p.frameworks, p.organisms) > 0 THEN
        RETURN QUERY SELECT 'dataset', d FROM gn_harvest.publication_datasets(p) d;
    END IF;
    IF p.taxa IS NOT NULL THEN
        RETURN QUERY
        WITH RECURSIVE below AS (
            SELECT t.cd_ref FROM taxonomie.taxref t WHERE t.cd_nom = ANY (p.taxa)
            UNION
            -- Versions of Taxref name the superior in one column or the other.
            SELECT t.cd_ref FROM below b JOIN taxonomie.taxref t ON b.cd_ref IN (t.cd_sup, t.cd_taxsup) AND t.cd_nom = t.cd_ref
        )
        SELECT DISTINCT 'taxon', t.cd_nom FROM below b JOIN taxonomie.taxref t ON t.cd_ref = b.cd_ref;
    END IF;
    IF p.areas IS NOT NULL THEN
        RETURN QUERY SELECT 'area', a.id_area
        FROM ref_geo.l_areas a JOIN ref_geo.bib_areas_types t ON t.id_type = a.id_type
        WHERE t.type_code || '/' || a.area_code = ANY (p.areas);
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_members(gn_harvest.publication) IS 'What the options of a publication name, by its number here.';

-- What is not here is a mistake to be told: a filter that lets nothing through would be found out late.
CREATE FUNCTION gn_harvest.check_publication(p gn_harvest.publication) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    option text;
    absent text;
BEGIN
    FOR option, absent IN
        SELECT 'datasets', g::text FROM unnest(p.datasets) g WHERE NOT EXISTS (SELECT FROM gn_meta.t_datasets d WHERE d.unique_dataset_id = g)
        UNION ALL
        SELECT 'frameworks', g::text FROM unnest(p.frameworks) g
        WHERE NOT EXISTS (SELECT FROM gn_meta.t_acquisition_frameworks f WHERE f.unique_acquisition_framework_id = g)
        UNION ALL
        SELECT 'organisms', g::text FROM unnest(p.organisms) g WHERE NOT EXISTS (SELECT FROM utilisateurs.bib_organismes o WHERE o.uuid_organisme = g)
        UNION ALL
        SELECT 'areas', g FROM unnest(p.areas) g
        WHERE NOT EXISTS (SELECT FROM ref_geo.l_areas a JOIN ref_geo.bib_areas_types t ON t.id_type = a.id_type
                          WHERE t.type_code || '/' || a.area_code = g)
        UNION ALL
        SELECT 'taxa', g::text FROM unnest(p.taxa) g WHERE NOT EXISTS (SELECT FROM taxonomie.taxref t WHERE t.cd_nom = g)
        UNION ALL
        SELECT 'sensitivity_max', p.sensitivity_max
        WHERE p.sensitivity_max NOT IN (SELECT n.code FROM gn_harvest.nomenclature_codes('SENSIBILITE') n)
        UNION ALL
        SELECT 'diffusion_levels', g FROM unnest(p.diffusion_levels) g
        WHERE g NOT IN (SELECT n.code FROM gn_harvest.nomenclature_codes('NIV_PRECIS') n)
        LIMIT 1
    LOOP
        RAISE EXCEPTION '%: "%" is not known to this GeoNature', option, coalesce(absent, 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = CASE option
                      WHEN 'areas' THEN 'Areas are written type/code, such as ''DEP/05'': see ref_geo.l_areas and ref_geo.bib_areas_types.'
                      WHEN 'taxa' THEN 'They are cd_nom of taxonomie.taxref.'
                      WHEN 'sensitivity_max' THEN 'It is a code of the nomenclature SENSIBILITE, such as ''0'' or ''2''.'
                      WHEN 'diffusion_levels' THEN 'They are codes of the nomenclature NIV_PRECIS, and NULL for observations without one: ''{0,5,NULL}''.'
                      ELSE 'They are UUIDs of gn_meta.t_datasets, gn_meta.t_acquisition_frameworks and utilisateurs.bib_organismes.' END;
    END LOOP;
    SELECT o INTO option FROM unnest(ARRAY['datasets', 'frameworks', 'organisms', 'areas', 'taxa', 'diffusion_levels']) o
    WHERE to_jsonb(p) -> o = '[]' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is an empty list: nothing would be published', option
            USING ERRCODE = 'invalid_parameter_value', HINT = format('Leave %s out to publish all of them.', option);
    END IF;
    IF p.date_min > p.date_max THEN
        RAISE EXCEPTION 'date_min is after date_max' USING ERRCODE = 'invalid_parameter_value', HINT = 'Exchange the two.';
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_publication(gn_harvest.publication) IS 'Refuses options that name what this GeoNature does not have.';

-- Every column has its comment: the export module shows it in the description of its API.
CREATE FUNCTION gn_harvest.publication_view_sql(view text, about text, names text[], expressions text[], meanings text[], source text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY[format(E'CREATE OR REPLACE VIEW %s AS\nSELECT %s\n%s', view, string_agg(format('%s AS %I', c.expression, c.name), E',\n       ' ORDER BY c.n), source),
                 format('COMMENT ON VIEW %s IS %L', view, about)]
        || array_agg(format('COMMENT ON COLUMN %s.%I IS %L', view, c.name, c.meaning) ORDER BY c.n)
    FROM unnest(names, expressions, meanings) WITH ORDINALITY c(name, expression, meaning, n)
$$;
COMMENT ON FUNCTION gn_harvest.publication_view_sql(text, text, text[], text[], text[], text) IS 'The statements that make a view with its comments.';
