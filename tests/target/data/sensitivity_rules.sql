-- A rule of each kind: everywhere, in a department, for a behaviour or a biological
-- status, in a season, in a season over the new year, for recent observations only,
-- and one out of use. The taxa are named, so that the file survives a change of keys.

CREATE TEMPORARY TABLE rule_row (
    lb_nom text, level text, duration integer, date_min date, date_max date, active boolean,
    department text, criteria_type text, criteria_code text
) ON COMMIT DROP;
INSERT INTO rule_row VALUES
    ('Cypripedium calceolus',     '4', 10000, NULL,         NULL,         true,  NULL, NULL, NULL),
    ('Aquila chrysaetos',         '2', 10000, '1900-01-01', '1900-08-31', true,  NULL, NULL, NULL),
    ('Gypaetus barbatus',         '3', 10000, '1900-11-01', '1900-07-31', true,  NULL, NULL, NULL),
    ('Canis lupus',               '3', 10000, NULL,         NULL,         true,  NULL, 'STATUT_BIO', '3'),
    ('Rhinolophus hipposideros',  '2', 10000, NULL,         NULL,         true,  NULL, 'STATUT_BIO', '4'),
    ('Myotis myotis',             '2', 10000, NULL,         NULL,         true,  NULL, 'OCC_COMPORTEMENT', '9'),
    ('Lyrurus tetrix',            '1', 10000, NULL,         NULL,         true,  '05', NULL, NULL),
    ('Vipera ursinii',            '3', 10000, NULL,         NULL,         true,  '26', NULL, NULL),
    ('Potentilla delphinensis',   '1',    20, NULL,         NULL,         true,  NULL, NULL, NULL),
    ('Potentilla delphinensis',   '2',     5, NULL,         NULL,         true,  '38', NULL, NULL),
    ('Parnassius apollo',         '1', 10000, NULL,         NULL,         false, NULL, NULL, NULL);

INSERT INTO gn_sensitivity.t_sensitivity_rules (cd_nom, nom_cite, id_nomenclature_sensitivity, sensitivity_duration,
                                                sensitivity_territory, id_territory, date_min, date_max, source, active)
SELECT t.cd_nom, t.lb_nom, ref_nomenclatures.get_id_nomenclature('SENSIBILITE', r.level), r.duration,
       coalesce('Département ' || r.department, 'France métropolitaine'), coalesce(r.department, 'METROP'),
       r.date_min, r.date_max, 'essai', r.active
  FROM rule_row AS r
  JOIN taxonomie.taxref AS t ON t.lb_nom = r.lb_nom AND t.cd_nom = t.cd_ref;

INSERT INTO gn_sensitivity.cor_sensitivity_area (id_sensitivity, id_area)
SELECT s.id_sensitivity, a.id_area
  FROM gn_sensitivity.t_sensitivity_rules AS s
  JOIN ref_geo.bib_areas_types AS t ON t.type_code = 'DEP'
  JOIN ref_geo.l_areas AS a ON a.id_type = t.id_type AND a.area_code = s.id_territory;

INSERT INTO gn_sensitivity.cor_sensitivity_criteria (id_sensitivity, id_criteria, id_type_nomenclature)
SELECT s.id_sensitivity, ref_nomenclatures.get_id_nomenclature(r.criteria_type, r.criteria_code), t.id_type
  FROM rule_row AS r
  JOIN gn_sensitivity.t_sensitivity_rules AS s ON s.nom_cite = r.lb_nom
  JOIN ref_nomenclatures.bib_nomenclatures_types AS t ON t.mnemonique = r.criteria_type;

-- At which kind of area an observation of each level may be shown
INSERT INTO gn_sensitivity.cor_sensitivity_area_type (id_nomenclature_sensitivity, id_area_type)
SELECT ref_nomenclatures.get_id_nomenclature('SENSIBILITE', shown.level), t.id_type
  FROM (VALUES ('1', 'COM'), ('1', 'ZNIEFF1'), ('2', 'M10'), ('3', 'DEP')) AS shown(level, type_code)
  JOIN ref_geo.bib_areas_types AS t USING (type_code);

REFRESH MATERIALIZED VIEW gn_sensitivity.t_sensitivity_rules_cd_ref;
