-- Consistency with the local referentials: map_value, map_field.

CREATE FUNCTION gn_harvest.map_value(source text, "column" text, value text, local_value text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mapped_source integer;
BEGIN
    IF "column" IS NULL OR value IS NULL THEN
        RAISE EXCEPTION 'map_value needs a column and a value' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'SELECT * FROM gn_harvest.unmapped_value; shows those that wait.';
    END IF;
    IF source IS NOT NULL THEN
        PERFORM gn_harvest.require_observations(gn_harvest.managed_source(source));
        mapped_source := (gn_harvest.managed_source(source)).id;
    ELSIF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = gn_harvest.caller() AND rolsuper) THEN
        RAISE EXCEPTION 'only a superuser maps a value for every source' USING ERRCODE = 'insufficient_privilege',
            HINT = 'Name the source.';
    END IF;
    IF NOT "column" = ANY (gn_harvest.mappable_columns()) THEN
        RAISE EXCEPTION 'values of column "%" can not be mapped', "column" USING ERRCODE = 'invalid_parameter_value',
            HINT = format('Columns with a referential: %s.', array_to_string(gn_harvest.mappable_columns(), ', '));
    END IF;
    PERFORM gn_harvest.check_local_value("column", map_value.local_value);
    INSERT INTO gn_harvest.value_mapping AS m (source_id, column_name, source_value, local_value, set_by)
    VALUES (mapped_source, "column", value, map_value.local_value, gn_harvest.caller())
    ON CONFLICT (coalesce(source_id, 0), column_name, source_value)
    DO UPDATE SET local_value = EXCLUDED.local_value, set_by = EXCLUDED.set_by, set_at = now();
END
$$;
COMMENT ON FUNCTION gn_harvest.map_value(text, text, text, text) IS 'A value of a source stands for a local one: a cd_nomenclature, a cd_nom, a cd_hab, an area "TYPE/CODE"; null for no value. source null: for every source. Rows already written follow at the next full run.';

-- Only its form: whether it is in the referential is seen, with the owner's rights, by the run that meets it;
-- unmapped_value goes on showing a value whose mapping leads nowhere.
CREATE FUNCTION gn_harvest.check_local_value("column" text, local_value text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF "column" = 'cd_nom' AND local_value IS NULL THEN
        RAISE EXCEPTION 'an observation can not be without cd_nom' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Map it to a cd_nom of taxonomie.taxref, or give the records up with gn_harvest.discard_rejected(...).';
    END IF;
    IF "column" IN ('cd_nom', 'cd_hab') AND local_value !~ '^\d{1,9}$' THEN
        RAISE EXCEPTION '"%" is not a %', local_value, "column" USING ERRCODE = 'invalid_parameter_value',
            HINT = format('Give a number of %s.', CASE "column" WHEN 'cd_nom' THEN 'taxonomie.taxref' ELSE 'ref_habitats.habref' END);
    END IF;
    IF "column" = 'id_area_attachment' AND local_value !~ '^[^/]+/.+$' THEN
        RAISE EXCEPTION '"%" is not an area', local_value USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Give its type and code as TYPE/CODE, such as COM/38185.';
    END IF;
    IF local_value ~ '^\s*$' THEN
        RAISE EXCEPTION 'a local value can not be blank' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Give null for no value.';
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_local_value(text, text) IS 'Refuses a local value that can not be one of the column''s referential.';

CREATE FUNCTION gn_harvest.unmap_value(source text, "column" text, value text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mapped_source integer;
BEGIN
    IF source IS NOT NULL THEN
        mapped_source := (gn_harvest.managed_source(source)).id;
    ELSIF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = gn_harvest.caller() AND rolsuper) THEN
        RAISE EXCEPTION 'only a superuser unmaps a value for every source' USING ERRCODE = 'insufficient_privilege',
            HINT = 'Name the source.';
    END IF;
    DELETE FROM gn_harvest.value_mapping m
    WHERE m.source_id IS NOT DISTINCT FROM mapped_source AND m.column_name = "column" AND m.source_value = value;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION gn_harvest.unmap_value(text, text, text) IS 'Takes a decision of map_value back; false when there was none.';

CREATE FUNCTION gn_harvest.map_field(source text, "column" text, source_column text DEFAULT NULL, constant text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mapped_source gn_harvest.source := gn_harvest.managed_source(source);
BEGIN
    PERFORM gn_harvest.require_observations(mapped_source);
    IF num_nonnulls(source_column, constant) > 1 THEN
        RAISE EXCEPTION 'give a source_column or a constant, not both' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'source_column => a column of the export, or constant => a value for every record; neither takes the decision back.';
    END IF;
    IF "column" IS NULL OR NOT "column" = ANY (gn_harvest.field_columns()) THEN
        RAISE EXCEPTION 'column "%" can not be mapped', "column" USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'It is not a column of gn_synthese.synthese that a harvest writes.',
            HINT = 'SELECT unnest(gn_harvest.field_columns()) lists them.';
    END IF;
    PERFORM gn_harvest.check_constant("column", constant);
    DELETE FROM gn_harvest.field_mapping m WHERE m.source_id = mapped_source.id AND m.target_column = "column";
    IF num_nonnulls(source_column, constant) = 1 THEN
        INSERT INTO gn_harvest.field_mapping (source_id, target_column, source_column, constant, set_by)
        VALUES (mapped_source.id, "column", map_field.source_column, map_field.constant, gn_harvest.caller());
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.map_field(text, text, text, text) IS 'Fills a column of gn_synthese.synthese from a column of the export (a dotted path reaches into JSON) or with a constant; with neither, takes the decision back. Rows already written follow at the next full run.';
