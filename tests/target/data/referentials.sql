-- The contents that a fresh GeoNature has before any observation: organisms and roles,
-- taxa, nomenclatures and their defaults, habitats, modules, parameters, notifications.

-- Organism 2 is "ALL", the one that default values are recorded for.
INSERT INTO utilisateurs.bib_organismes (id_organisme, uuid_organisme, nom_organisme, email_organisme) VALUES
    (1, '6f0a2d3c-0001-4d51-8a6f-2e1c6b1f0001', 'Autre', NULL),
    (2, '6f0a2d3c-0002-4d51-8a6f-2e1c6b1f0002', 'ALL', NULL),
    (3, '6f0a2d3c-0003-4d51-8a6f-2e1c6b1f0003', 'Plateforme régionale d''essai', 'donnees@plateforme.example.org');
SELECT setval('utilisateurs.bib_organismes_id_organisme_seq', 3) \g /dev/null

INSERT INTO utilisateurs.t_roles (id_role, uuid_role, groupe, identifiant, nom_role, prenom_role, email, id_organisme) VALUES
    (1, '7a1b2d3c-0001-4d51-8a6f-2e1c6b1f0001', true,  NULL,      'Grp_admin', NULL, NULL, NULL),
    (2, '7a1b2d3c-0002-4d51-8a6f-2e1c6b1f0002', false, 'admin',   'Administrateur', 'Zoé', 'admin@plateforme.example.org', 3),
    (3, '7a1b2d3c-0003-4d51-8a6f-2e1c6b1f0003', false, 'valide',  'Lefèvre', 'Maïté', 'validation@plateforme.example.org', 3);
SELECT setval('utilisateurs.t_roles_id_role_seq', 3) \g /dev/null
INSERT INTO utilisateurs.cor_roles (id_role_groupe, id_role_utilisateur) VALUES (1, 2);

-- Taxa
INSERT INTO taxonomie.bib_taxref_rangs (id_rang, nom_rang, nom_rang_en, tri_rang) VALUES
    ('KD', 'Règne', 'Kingdom', 1), ('PH', 'Phylum', 'Phylum', 4), ('CL', 'Classe', 'Class', 8),
    ('OR', 'Ordre', 'Order', 13), ('FM', 'Famille', 'Family', 18), ('GN', 'Genre', 'Genus', 23),
    ('ES', 'Espèce', 'Species', 28), ('SSES', 'Sous-espèce', 'Subspecies', 30), ('VAR', 'Variété', 'Varietas', 33);
INSERT INTO taxonomie.bib_taxref_statuts (id_statut, nom_statut) VALUES
    ('P', 'Présent'), ('E', 'Endémique'), ('I', 'Introduit'), ('A', 'Absent'), ('D', 'Douteux');
INSERT INTO taxonomie.bib_taxref_habitats (id_habitat, nom_habitat) VALUES
    (1, 'Marin'), (2, 'Eau douce'), (3, 'Terrestre'), (8, 'Continental');
INSERT INTO taxonomie.t_meta_taxref (referencial_name, version) VALUES ('taxref', 18);

CREATE TEMPORARY TABLE taxon_row (
    cd_nom integer, cd_ref integer, regne text, group1_inpn text, group2_inpn text, classe text,
    ordre text, famille text, id_rang text, lb_nom text, lb_auteur text, nom_complet text, nom_valide text
) ON COMMIT DROP;
\copy taxon_row FROM 'data/taxa.csv' WITH (FORMAT csv, HEADER)
-- The superior of a subspecies is the accepted species of which it bears the name.
INSERT INTO taxonomie.taxref (cd_nom, cd_ref, cd_taxsup, cd_sup, id_statut, id_habitat, id_rang, regne, phylum,
                              classe, ordre, famille, lb_nom, lb_auteur, nom_complet, nom_complet_html, nom_valide,
                              group1_inpn, group2_inpn, group3_inpn)
SELECT t.cd_nom, t.cd_ref, s.cd_nom, s.cd_nom, 'P', 3, t.id_rang, t.regne, t.group1_inpn,
       t.classe, t.ordre, t.famille, t.lb_nom, t.lb_auteur, t.nom_complet, '<i>' || t.lb_nom || '</i> ' || t.lb_auteur, t.nom_valide,
       t.group1_inpn, t.group2_inpn, 'Autres'
  FROM taxon_row AS t
  LEFT JOIN taxon_row AS s
    ON t.id_rang = 'SSES'
   AND s.id_rang = 'ES'
   AND s.cd_nom = s.cd_ref
   AND s.lb_nom = split_part(t.lb_nom, ' ', 1) || ' ' || split_part(t.lb_nom, ' ', 2);
REFRESH MATERIALIZED VIEW taxonomie.vm_regne;
REFRESH MATERIALIZED VIEW taxonomie.vm_group1_inpn;
REFRESH MATERIALIZED VIEW taxonomie.vm_group2_inpn;

-- Nomenclatures
CREATE TEMPORARY TABLE nomenclature_row (
    type text, type_label text, cd_nomenclature text, mnemonique text,
    label_default text, label_fr text, active boolean, statut text
) ON COMMIT DROP;
\copy nomenclature_row FROM 'data/nomenclatures.csv' WITH (FORMAT csv, HEADER)
INSERT INTO ref_nomenclatures.bib_nomenclatures_types (mnemonique, label_default, label_fr, source, statut)
SELECT DISTINCT ON (type) type, type_label, type_label, 'SINP', 'Validé'
  FROM nomenclature_row
 ORDER BY type;
INSERT INTO ref_nomenclatures.t_nomenclatures (id_type, cd_nomenclature, mnemonique, label_default, label_fr, source, statut, active, hierarchy)
SELECT t.id_type, r.cd_nomenclature, r.mnemonique, r.label_default, r.label_fr, 'SINP', r.statut, r.active, lpad(t.id_type::text, 3, '0')
  FROM nomenclature_row AS r
  JOIN ref_nomenclatures.bib_nomenclatures_types AS t ON t.mnemonique = r.type
 ORDER BY t.id_type, r.cd_nomenclature;

CREATE TEMPORARY TABLE default_row (
    scope text, mnemonique_type text, id_organism integer, regne text, group2_inpn text, cd_nomenclature text
) ON COMMIT DROP;
\copy default_row FROM 'data/default_nomenclatures.csv' WITH (FORMAT csv, HEADER)
INSERT INTO gn_synthese.defaults_nomenclatures_value (mnemonique_type, id_organism, regne, group2_inpn, id_nomenclature)
SELECT d.mnemonique_type, d.id_organism, d.regne, d.group2_inpn, ref_nomenclatures.get_id_nomenclature(d.mnemonique_type, d.cd_nomenclature)
  FROM default_row AS d
 WHERE d.scope = 'gn_synthese';
INSERT INTO ref_nomenclatures.defaults_nomenclatures_value (mnemonique_type, id_organism, id_nomenclature)
SELECT d.mnemonique_type, d.id_organism, ref_nomenclatures.get_id_nomenclature(d.mnemonique_type, d.cd_nomenclature)
  FROM default_row AS d
 WHERE d.scope = 'ref_nomenclatures';

-- Habitats 1 to 40: eight great kinds, and four or so under each
INSERT INTO ref_habitats.typoref (cd_typo, cd_table, lb_nom_typo, nom_jeu_donnees) VALUES
    (1, 'TYPO_ESSAI', 'Habitats d''essai', 'Typologie inventée pour les essais');
SELECT setval('ref_habitats.typoref_cd_typo_seq', 1) \g /dev/null
INSERT INTO ref_habitats.habref (cd_hab, fg_validite, cd_typo, lb_code, lb_hab_fr, lb_hab_fr_complet, lb_hab_en, niveau, cd_hab_sup)
SELECT n, 'Validé', 1,
       CASE WHEN n <= 8 THEN chr(64 + n) ELSE chr(65 + (n - 1) % 8) || (n - 1) / 8 END,
       label, label || ' (essai)', NULL,
       CASE WHEN n <= 8 THEN 1 ELSE 2 END,
       CASE WHEN n > 8 THEN (n - 1) % 8 + 1 END
  FROM generate_series(1, 40) AS n,
       LATERAL (SELECT (ARRAY['Eaux courantes', 'Tourbières', 'Pelouses', 'Landes', 'Forêts', 'Éboulis', 'Cultures', 'Bâti'])[(n - 1) % 8 + 1]
                    || (ARRAY['', ' de plaine', ' montagnardes', ' subalpines', ' d''altitude'])[(n - 1) / 8 + 1] AS label) AS l;
SELECT setval('ref_habitats.habref_cd_hab_seq', 40) \g /dev/null

-- Modules and parameters
INSERT INTO gn_commons.t_modules (module_code, module_label, module_desc, module_path, active_frontend, active_backend, type, module_order) VALUES
    ('GEONATURE', 'GeoNature', 'Module parent de tous les modules', 'geonature', false, false, 'base', 0),
    ('ADMIN',     'Administration', 'Administration du système',    'admin',     true,  false, 'base', 1),
    ('METADATA',  'Métadonnées', 'Cadres d''acquisition et jeux de données', 'metadata', true, true, 'base', 2),
    ('SYNTHESE',  'Synthèse', 'Consultation des observations',      'synthese',  true,  true,  'base', 3),
    ('EXPORTS',   'Exports', 'Exports des observations',            'exports',   true,  true,  'base', 4),
    ('VALIDATION','Validation', 'Validation des observations',      'validation', true, true,  'base', 5),
    ('IMPORT',    'Import', 'Import de fichiers',                   'import',    true,  true,  'base', 6),
    ('OCCTAX',    'Occtax', 'Saisie d''observations',               'occtax',    true,  true,  'base', 7);

INSERT INTO gn_commons.t_parameters (id_organism, parameter_name, parameter_desc, parameter_value) VALUES
    (NULL, 'taxref_version', 'Version du référentiel taxonomique', 'Taxref V18.0'),
    (NULL, 'local_srid', 'Projection locale', '2154'),
    (NULL, 'uuid_url_value', 'Chemin vers les pages des identifiants uniques', 'https://geonature.example.org/'),
    (NULL, 'annee_ref_commune', 'Année du référentiel des communes', '2025');

INSERT INTO gn_commons.bib_tables_location (table_desc, schema_name, table_name, pk_field, uuid_field_name) VALUES
    ('Observations de la synthèse', 'gn_synthese', 'synthese', 'id_synthese', 'unique_id_sinp'),
    ('Cadres d''acquisition', 'gn_meta', 't_acquisition_frameworks', 'id_acquisition_framework', 'unique_acquisition_framework_id'),
    ('Jeux de données', 'gn_meta', 't_datasets', 'id_dataset', 'unique_dataset_id');

INSERT INTO gn_imports.bib_destinations (id_module, code, label, table_name)
SELECT m.id_module, 'synthese', 'Synthèse', 't_imports_synthese'
  FROM gn_commons.t_modules AS m
 WHERE m.module_code = 'SYNTHESE';

INSERT INTO gn_synthese.t_sources (name_source, desc_source, entity_source_pk_field, id_module)
SELECT 'Occtax', 'Données saisies localement', 'pr_occtax.cor_counting_occtax.id_counting_occtax', m.id_module
  FROM gn_commons.t_modules AS m
 WHERE m.module_code = 'OCCTAX';

INSERT INTO gn_synthese.bib_reports_types (type) VALUES ('discussion'), ('alert'), ('pin');

-- Notifications
INSERT INTO gn_notifications.bib_notifications_methods (code, label, description) VALUES
    ('DB', 'Notification web', 'Dans l''interface'),
    ('EMAIL', 'Courriel', 'Par courriel');
INSERT INTO gn_notifications.bib_notifications_categories (code, label, description) VALUES
    ('VALIDATION-STATUS-CHANGED', 'Changement de statut de validation', 'Une de vos observations a changé de statut'),
    ('OBSERVATION-COMMENT', 'Nouveau commentaire', 'Une observation a été commentée');
INSERT INTO gn_notifications.bib_notifications_templates (code_category, code_method, content) VALUES
    ('VALIDATION-STATUS-CHANGED', 'DB', '<b>{{ synthese.nom_cite }}</b> : nouveau statut de validation'),
    ('OBSERVATION-COMMENT', 'DB', '<b>{{ user }}</b> a commenté {{ synthese.nom_cite }}');
INSERT INTO gn_notifications.t_notifications_rules (id_role, code_method, code_category, subscribed) VALUES
    (NULL, 'DB', 'VALIDATION-STATUS-CHANGED', true),
    (NULL, 'DB', 'OBSERVATION-COMMENT', true);
