-- Sensitivity: which observations must not be published precisely. The target decides
-- by its own rules, whatever level the partner sent.

CREATE SCHEMA gn_sensitivity;

CREATE TABLE gn_sensitivity.t_sensitivity_rules (
    id_sensitivity              serial,
    cd_nom                      integer NOT NULL,
    nom_cite                    varchar(1000),
    id_nomenclature_sensitivity integer NOT NULL,
    sensitivity_duration        integer NOT NULL,
    sensitivity_territory       varchar(1000),
    id_territory                varchar(50),
    date_min                    date,
    date_max                    date,
    source                      varchar(250),
    active                      boolean DEFAULT true,
    comments                    varchar(500),
    meta_create_date            timestamp DEFAULT now(),
    meta_update_date            timestamp,
    CONSTRAINT t_sensitivity_rules_pkey
        PRIMARY KEY (id_sensitivity),
    CONSTRAINT fk_t_sensitivity_rules_cd_nom
        FOREIGN KEY (cd_nom) REFERENCES taxonomie.taxref(cd_nom) ON UPDATE CASCADE,
    CONSTRAINT fk_t_sensitivity_rules_id_nomenclature_sensitivity
        FOREIGN KEY (id_nomenclature_sensitivity) REFERENCES ref_nomenclatures.t_nomenclatures(id_nomenclature) ON UPDATE CASCADE
);

ALTER TABLE gn_sensitivity.t_sensitivity_rules
    ADD CONSTRAINT check_t_sensitivity_rules_niv_precis
        CHECK (ref_nomenclatures.check_nomenclature_type_by_mnemonique(id_nomenclature_sensitivity, 'SENSIBILITE')) NOT VALID;

CREATE TABLE gn_sensitivity.cor_sensitivity_area (
    id_sensitivity integer,
    id_area        integer,
    CONSTRAINT fk_cor_sensitivity_area_id_area_fkey
        FOREIGN KEY (id_area) REFERENCES ref_geo.l_areas(id_area),
    CONSTRAINT fk_cor_sensitivity_area_id_sensitivity_fkey
        FOREIGN KEY (id_sensitivity) REFERENCES gn_sensitivity.t_sensitivity_rules(id_sensitivity) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE gn_sensitivity.cor_sensitivity_area_type (
    id_nomenclature_sensitivity integer,
    id_area_type                integer,
    CONSTRAINT cor_sensitivity_area_type_id_area_type_fkey
        FOREIGN KEY (id_area_type) REFERENCES ref_geo.bib_areas_types(id_type),
    CONSTRAINT cor_sensitivity_area_type_id_nomenclature_sensitivity_fkey
        FOREIGN KEY (id_nomenclature_sensitivity) REFERENCES ref_nomenclatures.t_nomenclatures(id_nomenclature)
);

CREATE TABLE gn_sensitivity.cor_sensitivity_criteria (
    id_sensitivity       integer,
    id_criteria          integer,
    id_type_nomenclature integer,
    CONSTRAINT criteria_id_criteria_fkey
        FOREIGN KEY (id_criteria) REFERENCES ref_nomenclatures.t_nomenclatures(id_nomenclature),
    CONSTRAINT criteria_id_sensitivity_fkey
        FOREIGN KEY (id_sensitivity) REFERENCES gn_sensitivity.t_sensitivity_rules(id_sensitivity) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT criteria_id_type_nomenclature_fkey
        FOREIGN KEY (id_type_nomenclature) REFERENCES ref_nomenclatures.bib_nomenclatures_types(id_type)
);

CREATE INDEX i_cor_sensitivity_area_id_sensitivity     ON gn_sensitivity.cor_sensitivity_area (id_sensitivity);
CREATE INDEX i_cor_sensitivity_criteria_id_sensitivity ON gn_sensitivity.cor_sensitivity_criteria (id_sensitivity);

-- Active rules by accepted name: a rule holds for its taxon and for all below it.
-- To be refreshed after a change of t_sensitivity_rules.
CREATE MATERIALIZED VIEW gn_sensitivity.t_sensitivity_rules_cd_ref AS
WITH RECURSIVE concerned AS (
    SELECT r.id_sensitivity, t.cd_ref
      FROM gn_sensitivity.t_sensitivity_rules AS r
      JOIN taxonomie.taxref AS t ON t.cd_nom = r.cd_nom
     WHERE r.active
     UNION
    SELECT c.id_sensitivity, t.cd_ref
      FROM concerned AS c
      JOIN taxonomie.taxref AS t ON t.cd_sup = c.cd_ref
)
SELECT c.cd_ref, r.id_sensitivity, r.cd_nom, r.nom_cite, r.id_nomenclature_sensitivity,
       r.sensitivity_duration, r.sensitivity_territory, r.id_territory, r.date_min, r.date_max,
       r.active, r.comments, r.meta_create_date, r.meta_update_date
  FROM concerned AS c
  JOIN gn_sensitivity.t_sensitivity_rules AS r USING (id_sensitivity)
  WITH DATA;

CREATE INDEX i_t_sensitivity_rules_cd_ref_cd_ref ON gn_sensitivity.t_sensitivity_rules_cd_ref (cd_ref);

-- The strictest rule that applies wins; '0' (not sensitive) when none does. A rule
-- applies when the observation is recent enough, falls within the rule's days of the
-- year, meets one of its areas (if it has some) and one of its criteria (if it has some).
-- my_criterias: {"STATUT_BIO": id_nomenclature, "OCC_COMPORTEMENT": id_nomenclature}
CREATE FUNCTION gn_sensitivity.get_id_nomenclature_sensitivity(
    my_date_obs  date,
    my_cd_ref    integer,
    my_geom      public.geometry,
    my_criterias jsonb
) RETURNS integer
LANGUAGE plpgsql STABLE AS $$
DECLARE
    day_of_year text := to_char(my_date_obs, 'MMDD');
    found_level integer;
BEGIN
    SELECT r.id_nomenclature_sensitivity
      INTO found_level
      FROM gn_sensitivity.t_sensitivity_rules_cd_ref AS r
      JOIN ref_nomenclatures.t_nomenclatures AS n
        ON n.id_nomenclature = r.id_nomenclature_sensitivity
     WHERE r.cd_ref = my_cd_ref
       AND extract(year FROM current_date) - extract(year FROM my_date_obs) <= r.sensitivity_duration
       AND CASE
               WHEN r.date_min IS NULL OR r.date_max IS NULL
                   THEN true
               WHEN to_char(r.date_min, 'MMDD') <= to_char(r.date_max, 'MMDD')
                   THEN day_of_year BETWEEN to_char(r.date_min, 'MMDD') AND to_char(r.date_max, 'MMDD')
               ELSE day_of_year >= to_char(r.date_min, 'MMDD')
                 OR day_of_year <= to_char(r.date_max, 'MMDD')
           END
       AND (   NOT EXISTS (SELECT
                             FROM gn_sensitivity.cor_sensitivity_area AS ca
                            WHERE ca.id_sensitivity = r.id_sensitivity)
            OR EXISTS (SELECT
                         FROM gn_sensitivity.cor_sensitivity_area AS ca
                         JOIN ref_geo.l_areas AS a USING (id_area)
                        WHERE ca.id_sensitivity = r.id_sensitivity
                          AND public.ST_Intersects(a.geom, my_geom)))
       AND (   NOT EXISTS (SELECT
                             FROM gn_sensitivity.cor_sensitivity_criteria AS cc
                            WHERE cc.id_sensitivity = r.id_sensitivity)
            OR EXISTS (SELECT
                         FROM gn_sensitivity.cor_sensitivity_criteria AS cc
                         JOIN ref_nomenclatures.bib_nomenclatures_types AS t
                           ON t.id_type = cc.id_type_nomenclature
                        WHERE cc.id_sensitivity = r.id_sensitivity
                          AND (my_criterias ->> t.mnemonique)::integer = cc.id_criteria))
     ORDER BY n.cd_nomenclature DESC
     LIMIT 1;

    RETURN coalesce(found_level,
                    ref_nomenclatures.get_id_nomenclature('SENSIBILITE', '0'));
END
$$;

CREATE TRIGGER tri_meta_dates_change_t_sensitivity_rules
    BEFORE INSERT OR UPDATE ON gn_sensitivity.t_sensitivity_rules
    FOR EACH ROW EXECUTE FUNCTION public.fct_trg_meta_dates_change();
