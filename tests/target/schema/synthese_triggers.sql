-- What happens when an observation is written, changed or deleted. The design of the
-- harvest is measured against the cost of these triggers, so each works in the same way
-- as the recorded one: by statement on INSERT and DELETE, by row on UPDATE, and as soon
-- as a column is named in SET, changed or not.

-- On INSERT: one UPDATE of every inserted row, right or wrong as its level may be. That
-- second version of each row runs all CHECK constraints again and moves meta_update_date.
CREATE FUNCTION gn_synthese.fct_tri_calculate_sensitivity_on_each_statement() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE gn_synthese.synthese AS s
       SET id_nomenclature_sensitivity = computed.level
      FROM (SELECT i.id_synthese,
                   gn_sensitivity.get_id_nomenclature_sensitivity(
                       i.date_min::date,
                       taxonomie.find_cdref(i.cd_nom),
                       i.the_geom_local,
                       jsonb_build_object('STATUT_BIO',       i.id_nomenclature_bio_status,
                                          'OCC_COMPORTEMENT', i.id_nomenclature_behaviour)
                   ) AS level
              FROM inserted AS i) AS computed
     WHERE s.id_synthese = computed.id_synthese;
    RETURN NULL;
END
$$;

CREATE FUNCTION gn_synthese.fct_tri_update_sensitivity_on_each_row() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.id_nomenclature_sensitivity := gn_sensitivity.get_id_nomenclature_sensitivity(
        NEW.date_min::date,
        taxonomie.find_cdref(NEW.cd_nom),
        NEW.the_geom_local,
        jsonb_build_object('STATUT_BIO',       NEW.id_nomenclature_bio_status,
                           'OCC_COMPORTEMENT', NEW.id_nomenclature_behaviour));
    RETURN NEW;
END
$$;

-- A point on the border between two areas belongs to both; a line or a polygon that only
-- touches an area does not belong to it. Observations are the outer side of the join: there
-- is no index on the inserted rows.
CREATE FUNCTION gn_synthese.fct_trig_insert_in_cor_area_synthese_on_each_statement() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO gn_synthese.cor_area_synthese (id_synthese, id_area)
    SELECT i.id_synthese, a.id_area
      FROM inserted AS i
      JOIN ref_geo.l_areas AS a
        ON a.enable
       AND public.ST_Intersects(i.the_geom_local, a.geom)
     WHERE public.GeometryType(i.the_geom_local) = 'POINT'
        OR NOT public.ST_Touches(i.the_geom_local, a.geom);
    RETURN NULL;
END
$$;

CREATE FUNCTION gn_synthese.fct_trig_update_in_cor_area_synthese() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM gn_synthese.cor_area_synthese AS c
     WHERE c.id_synthese = NEW.id_synthese;

    INSERT INTO gn_synthese.cor_area_synthese (id_synthese, id_area)
    SELECT NEW.id_synthese, a.id_area
      FROM ref_geo.l_areas AS a
     WHERE a.enable
       AND public.ST_Intersects(NEW.the_geom_local, a.geom)
       AND (   public.GeometryType(NEW.the_geom_local) = 'POINT'
            OR NOT public.ST_Touches(NEW.the_geom_local, a.geom));
    RETURN NULL;
END
$$;

-- now() is the transaction's start: all deletions of a transaction share their date,
-- which is what makes the pages of a partner's deletion log unstable.
CREATE FUNCTION gn_synthese.fct_tri_log_delete_on_synthese() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO gn_synthese.t_log_synthese (id_synthese, last_action, meta_last_action_date)
    SELECT d.id_synthese, 'D', now()
      FROM deleted AS d
        ON CONFLICT (id_synthese) DO UPDATE
       SET last_action           = excluded.last_action,
           meta_last_action_date = excluded.meta_last_action_date;
    RETURN NULL;
END
$$;

-- The text of the observers follows the linked roles, and overwrites what was there.
CREATE FUNCTION gn_synthese.fct_tri_maj_observers_txt() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    touched integer[] := CASE TG_OP
                             WHEN 'INSERT' THEN ARRAY[NEW.id_synthese]
                             WHEN 'DELETE' THEN ARRAY[OLD.id_synthese]
                             ELSE ARRAY[OLD.id_synthese, NEW.id_synthese]
                         END;
BEGIN
    UPDATE gn_synthese.synthese AS s
       SET observers = (SELECT string_agg(concat_ws(' ', r.nom_role, r.prenom_role), ', '
                                          ORDER BY r.id_role)
                          FROM gn_synthese.cor_observer_synthese AS c
                          JOIN utilisateurs.t_roles AS r USING (id_role)
                         WHERE c.id_synthese = s.id_synthese)
     WHERE s.id_synthese = ANY (touched);
    RETURN NULL;
END
$$;

-- New areas are linked to the observations that are already there…
CREATE FUNCTION gn_synthese.fct_trig_l_areas_insert_cor_area_synthese_on_each_statement() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO gn_synthese.cor_area_synthese (id_synthese, id_area)
    SELECT s.id_synthese, a.id_area
      FROM inserted AS a
      JOIN gn_synthese.synthese AS s
        ON public.ST_Intersects(s.the_geom_local, a.geom)
     WHERE a.enable
       AND (   public.GeometryType(s.the_geom_local) = 'POINT'
            OR NOT public.ST_Touches(s.the_geom_local, a.geom));
    RETURN NULL;
END
$$;

-- … and areas that changed lose their links and get them anew (none when disabled).
CREATE FUNCTION gn_synthese.fct_trig_l_areas_update_cor_area_synthese_on_each_statement() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM gn_synthese.cor_area_synthese AS c
     USING updated AS a
     WHERE c.id_area = a.id_area;

    INSERT INTO gn_synthese.cor_area_synthese (id_synthese, id_area)
    SELECT s.id_synthese, a.id_area
      FROM updated AS a
      JOIN gn_synthese.synthese AS s
        ON public.ST_Intersects(s.the_geom_local, a.geom)
     WHERE a.enable
       AND (   public.GeometryType(s.the_geom_local) = 'POINT'
            OR NOT public.ST_Touches(s.the_geom_local, a.geom));
    RETURN NULL;
END
$$;

CREATE TRIGGER tri_meta_dates_t_sources
    BEFORE INSERT OR UPDATE ON gn_synthese.t_sources
    FOR EACH ROW EXECUTE FUNCTION public.fct_trg_meta_dates_change();

CREATE TRIGGER tri_insert_calculate_sensitivity
    AFTER INSERT ON gn_synthese.synthese
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION gn_synthese.fct_tri_calculate_sensitivity_on_each_statement();

CREATE TRIGGER tri_insert_cor_area_synthese
    AFTER INSERT ON gn_synthese.synthese
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION gn_synthese.fct_trig_insert_in_cor_area_synthese_on_each_statement();

CREATE TRIGGER tri_log_delete_synthese
    AFTER DELETE ON gn_synthese.synthese
    REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION gn_synthese.fct_tri_log_delete_on_synthese();

CREATE TRIGGER tri_meta_dates_change_synthese
    BEFORE INSERT OR UPDATE ON gn_synthese.synthese
    FOR EACH ROW EXECUTE FUNCTION public.fct_trg_meta_dates_change();

CREATE TRIGGER tri_update_calculate_sensitivity
    BEFORE UPDATE OF id_nomenclature_bio_status, id_nomenclature_behaviour, cd_nom, the_geom_local, date_min, date_max ON gn_synthese.synthese
    FOR EACH ROW EXECUTE FUNCTION gn_synthese.fct_tri_update_sensitivity_on_each_row();

CREATE TRIGGER tri_update_cor_area_synthese
    AFTER UPDATE OF the_geom_4326, the_geom_local ON gn_synthese.synthese
    FOR EACH ROW EXECUTE FUNCTION gn_synthese.fct_trig_update_in_cor_area_synthese();

CREATE TRIGGER trg_maj_synthese_observers_txt
    AFTER INSERT OR UPDATE OR DELETE ON gn_synthese.cor_observer_synthese
    FOR EACH ROW EXECUTE FUNCTION gn_synthese.fct_tri_maj_observers_txt();

CREATE TRIGGER tri_insert_cor_area_synthese
    AFTER INSERT ON ref_geo.l_areas
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION gn_synthese.fct_trig_l_areas_insert_cor_area_synthese_on_each_statement();

CREATE TRIGGER tri_update_cor_area_synthese
    AFTER UPDATE ON ref_geo.l_areas
    REFERENCING NEW TABLE AS updated
    FOR EACH STATEMENT EXECUTE FUNCTION gn_synthese.fct_trig_l_areas_update_cor_area_synthese_on_each_statement();
