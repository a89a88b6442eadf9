//! What the tests of published exports share: a partner that publishes, and its target compared with it, column by column.

use std::collections::BTreeMap;

use gn_harvest_outside::{Database, ExportServer, Row, rows};

use crate::people::*;
use crate::support::*;

/// A partner's database, filled, with the two roles that matter there: the operator publishes, the application serves.
pub struct Partner {
    pub database: Database<'static>,
    pub operator: String,
    pub application: String,
}

/// The view of the publication that most tests make.
pub const VIEW: &str = "gn_exports.v_cen_observations";

/// Rights of an operator who may publish; the README says the same.
pub const GRANTS: &str = "GRANT USAGE, CREATE ON SCHEMA gn_exports TO {operator};
     GRANT SELECT, INSERT, UPDATE, DELETE ON gn_exports.t_exports, gn_exports.cor_exports_roles TO {operator};
     GRANT SELECT ON gn_exports.t_licences TO {operator};
     GRANT USAGE ON SEQUENCE gn_exports.t_exports_id_seq TO {operator};
     GRANT USAGE ON SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, ref_geo, taxonomie, gn_sensitivity TO {operator};
     GRANT SELECT ON ALL TABLES IN SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, ref_geo, taxonomie, gn_sensitivity TO {operator}";

impl Partner {
    /// With so many observations, as rich as the simulated GeoNature makes them, and more.
    pub fn new(observations: u32) -> Partner {
        let database = cluster().source_database();
        let (operator, application) =
            (role(&database, "publisher"), role(&database, "application"));
        database.run(&format!(
            "ALTER SCHEMA gn_exports OWNER TO {application};
             ALTER TABLE gn_exports.t_exports OWNER TO {application};
             ALTER TABLE gn_exports.cor_exports_roles OWNER TO {application};
             ALTER TABLE gn_exports.t_licences OWNER TO {application};
             ALTER TABLE gn_exports.t_export_schedules OWNER TO {application};
             SELECT gn_harvest.grant_operator('{operator}')"
        ));
        database.run(&GRANTS.replace("{operator}", &operator));
        let simulator = partner(observations);
        simulator
            .add_column(3, "statut_biogeo", None)
            .expect("a column");
        add_source(&database, "filling", &simulator, 3, "");
        run_well(&database, "filling", "full");
        database.run("SELECT gn_harvest.drop_source('filling')");
        database.run(MORE);
        Partner {
            database,
            operator,
            application,
        }
    }

    /// Publishes as the operator; the rows that it returns. `options` are further arguments.
    pub fn publish(&self, label: &str, options: &str) -> Vec<Row> {
        let mut session = self.database.connect_as(&self.operator);
        let options = if options.is_empty() {
            String::new()
        } else {
            format!(", {options}")
        };
        rows(
            &mut session,
            &format!("SELECT * FROM gn_harvest.publish_export('{label}'{options})"),
        )
    }

    pub fn serve(&self) -> ExportServer {
        ExportServer::start(&self.database, &self.application)
    }

    /// The keys that a published view shows, in order.
    pub fn keys(&self, view: &str) -> Vec<String> {
        let mut session = self.database.connect_as(&self.application);
        rows(
            &mut session,
            &format!("SELECT id_synthese::text AS key FROM {view} ORDER BY id_synthese"),
        )
        .iter()
        .map(|row| text(row, "key").to_owned())
        .collect()
    }
}

/// What the simulated GeoNature has not: validations, accounts, exact geometries, odd values, metadata of every kind.
const MORE: &str = r#"
UPDATE gn_synthese.synthese SET validation_comment = 'Vu « en photo »', meta_validation_date = '2023-05-01 12:34:56.789' WHERE id_synthese % 3 = 0;
UPDATE gn_synthese.synthese s SET the_geom_4326 = g.geom, the_geom_point = ST_Centroid(g.geom), the_geom_local = ST_Transform(g.geom, 2154)
FROM (SELECT id_synthese, ST_SetSRID(CASE id_synthese % 2 WHEN 0 THEN point ELSE ST_MakeLine(point, ST_Translate(point, random() / 1000, 1e-7 / 3)) END, 4326) AS geom
      FROM (SELECT id_synthese, ST_MakePoint(5.5 + random() / 2, 44.8 + random() / 3) AS point FROM gn_synthese.synthese WHERE id_synthese % 5 = 0) p) g
WHERE g.id_synthese = s.id_synthese;
UPDATE gn_synthese.synthese SET comment_context = E'L''eau\\ \t"froide"\n— été ☃ 🦉', additional_data = '{"n": 1.10, "long": 12345678901234567890123, "small": 1e-7, "é": ["a", null, {"b": "\"\\"}]}'
WHERE id_synthese % 7 = 0;
UPDATE gn_synthese.synthese SET additional_data = '"texte"' WHERE id_synthese % 77 = 0;
UPDATE gn_synthese.synthese SET id_digitiser = 2, count_min = 0, count_max = 0 WHERE id_synthese % 4 = 0;
INSERT INTO gn_synthese.cor_observer_synthese SELECT id_synthese, r FROM gn_synthese.synthese, unnest(ARRAY[2, 3]) r WHERE id_synthese % 4 = 0;
UPDATE gn_meta.t_datasets SET bbox_west = 5.4, bbox_east = 6.123456, bbox_south = 44.75, additional_data = '{"é": [1.5, null, "x"]}' WHERE id_dataset % 2 = 0;
UPDATE gn_meta.t_acquisition_frameworks SET additional_data = '{"volet": {"n": 2}}', keywords = 'chauves-souris, été', territory_desc = 'Écrins', initial_closing_date = '2024-02-03 04:05:06';
INSERT INTO gn_meta.sinp_datatype_protocols (protocol_name, protocol_desc, id_nomenclature_protocol_type, protocol_url)
SELECT 'Protocole ' || k, 'Deux passages', ref_nomenclatures.get_id_nomenclature('TYPE_PROTOCOLE', '1'), 'https://protocole.example.org/' || k FROM generate_series(1, 2) k;
INSERT INTO gn_meta.cor_dataset_protocol SELECT (SELECT min(id_dataset) FROM gn_synthese.synthese), id_protocol FROM gn_meta.sinp_datatype_protocols ON CONFLICT DO NOTHING;
DELETE FROM gn_meta.cor_dataset_actor WHERE id_dataset = (SELECT max(id_dataset) FROM gn_synthese.synthese);
DELETE FROM gn_meta.cor_acquisition_framework_actor WHERE id_acquisition_framework = (SELECT max(id_acquisition_framework) FROM gn_meta.t_acquisition_frameworks);
INSERT INTO gn_meta.cor_dataset_territory (id_dataset, id_nomenclature_territory)
SELECT d, n.id_nomenclature FROM (SELECT min(id_dataset) AS d FROM gn_synthese.synthese) m,
       (SELECT id_nomenclature FROM ref_nomenclatures.t_nomenclatures WHERE id_type = ref_nomenclatures.get_id_nomenclature_type('TERRITOIRE') LIMIT 3) n ON CONFLICT DO NOTHING;
INSERT INTO gn_meta.cor_dataset_actor (id_dataset, id_role, id_organism, id_nomenclature_actor_role)
SELECT min(id_dataset), (SELECT max(id_role) FROM utilisateurs.t_roles), (SELECT max(id_organisme) FROM utilisateurs.bib_organismes), ref_nomenclatures.get_id_nomenclature('ROLE_ACTEUR', '6')
FROM gn_synthese.synthese ON CONFLICT DO NOTHING;
INSERT INTO gn_meta.sinp_datatype_publications (publication_reference, publication_url) VALUES ('Atlas des « chauves-souris », 2020', 'https://atlas.example.org');
INSERT INTO gn_meta.cor_acquisition_framework_publication SELECT f.id_acquisition_framework, p.id_publication FROM gn_meta.t_acquisition_frameworks f, gn_meta.sinp_datatype_publications p ON CONFLICT DO NOTHING;
INSERT INTO gn_meta.cor_acquisition_framework_voletsinp SELECT f.id_acquisition_framework, n.id_nomenclature FROM gn_meta.t_acquisition_frameworks f, ref_nomenclatures.t_nomenclatures n
WHERE n.id_type = ref_nomenclatures.get_id_nomenclature_type('VOLET_SINP') ON CONFLICT DO NOTHING;
"#;

/// Columns that are not the partner's to say, or that a collector can not hold: numbers of this database, accounts,
/// dates of the rows themselves.
const OWN: [&str; 9] = [
    "id_synthese",
    "id_source",
    "entity_source_pk_value",
    "id_module",
    "id_digitiser",
    "id_import",
    "meta_create_date",
    "meta_update_date",
    "last_action",
];

/// Every other column of the synthese by its meaning, under the key that the partner gave.
fn observations(database: &Database, key: &str, which: &str) -> BTreeMap<String, String> {
    let columns: Vec<String> = database
        .rows("SELECT column_name::text AS name, udt_name::text AS type FROM information_schema.columns
               WHERE table_schema = 'gn_synthese' AND table_name = 'synthese' ORDER BY ordinal_position")
        .iter()
        .filter(|row| !OWN.contains(&text(row, "name")))
        .map(|row| {
            let name = text(row, "name");
            match (name, text(row, "type")) {
                ("id_dataset", _) => "(SELECT unique_dataset_id FROM gn_meta.t_datasets d WHERE d.id_dataset = s.id_dataset) AS dataset".to_owned(),
                ("id_area_attachment", _) => "(SELECT t.type_code || '/' || a.area_code FROM ref_geo.l_areas a JOIN ref_geo.bib_areas_types t USING (id_type) WHERE a.id_area = s.id_area_attachment) AS area".to_owned(),
                (_, "geometry") => format!("s.{name}::bytea::text AS {name}"),
                _ if name.starts_with("id_nomenclature_") => format!("(SELECT t.mnemonique || ' ' || n.cd_nomenclature FROM ref_nomenclatures.t_nomenclatures n JOIN ref_nomenclatures.bib_nomenclatures_types t USING (id_type) WHERE n.id_nomenclature = s.{name}) AS {name}"),
                _ => format!("s.\"{name}\""),
            }
        })
        .collect();
    assert!(columns.len() > 50, "{columns:?}");
    database
        .rows(&format!(
            "SELECT x.key, to_jsonb(x)::text AS told FROM (SELECT s.{key}::text AS key, {} FROM gn_synthese.synthese s WHERE {which}) x",
            columns.join(", ")
        ))
        .into_iter()
        .map(|row| (text(&row, "key").to_owned(), text(&row, "told").to_owned()))
        .collect()
}

/// Panics unless the source's rows at the collector are what the view shows, in every column that a collector can hold.
pub fn assert_observations_equal(
    partner: &Partner,
    view: &str,
    collector: &Database,
    source: &str,
) {
    let expected = observations(
        &partner.database,
        "id_synthese",
        &format!("s.id_synthese IN (SELECT v.id_synthese FROM {view} v)"),
    );
    let found = observations(
        collector,
        "entity_source_pk_value",
        &format!(
            "s.id_source = (SELECT t.id_source FROM gn_synthese.t_sources t WHERE t.name_source = '{source}')"
        ),
    );
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "keys"
    );
    for (key, told) in &expected {
        assert_eq!(&found[key], told, "observation {key}");
    }
}

/// All that gn_meta holds of frameworks, or datasets, and what hangs on them, without the numbers of this database and
/// without what local people decide (opened, active, validable).
fn metadata(database: &Database) -> BTreeMap<String, String> {
    let code = |column: &str| {
        format!(
            "(SELECT n.cd_nomenclature FROM ref_nomenclatures.t_nomenclatures n WHERE n.id_nomenclature = {column})"
        )
    };
    let codes = |table: &str, parent: &str, column: &str| {
        format!(
            "(SELECT jsonb_agg({} ORDER BY 1) FROM (SELECT * FROM gn_meta.{table} l WHERE l.{parent} = x.{parent} ORDER BY {}) l)",
            code(&format!("l.{column}")),
            code(&format!("l.{column}"))
        )
    };
    let actors = |table: &str, parent: &str| {
        format!("(SELECT jsonb_agg(jsonb_build_array({}, o.uuid_organisme, o.nom_organisme, o.email_organisme, r.uuid_role, r.nom_role, r.prenom_role, r.email)
                          ORDER BY {}, o.uuid_organisme, r.uuid_role)
                 FROM gn_meta.{table} a LEFT JOIN utilisateurs.bib_organismes o ON o.id_organisme = a.id_organism LEFT JOIN utilisateurs.t_roles r USING (id_role)
                 WHERE a.{parent} = x.{parent})", code("a.id_nomenclature_actor_role"), code("a.id_nomenclature_actor_role"))
    };
    let all_but = |table: &str, out: &str| -> String {
        database
            .rows(&format!("SELECT column_name::text AS name FROM information_schema.columns WHERE table_schema = 'gn_meta' AND table_name = '{table}' AND NOT column_name = ANY ('{{{out}}}') ORDER BY ordinal_position"))
            .iter()
            .map(|row| {
                let name = text(row, "name");
                if name.starts_with("id_nomenclature_") { format!("{} AS {name}", code(&format!("x.{name}"))) } else { format!("x.{name}") }
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    let frameworks = format!(
        "SELECT {}, (SELECT p.unique_acquisition_framework_id FROM gn_meta.t_acquisition_frameworks p WHERE p.id_acquisition_framework = x.acquisition_framework_parent_id) AS parent,
                {} AS objectives, {} AS themes, {} AS territories, {} AS actors,
                (SELECT jsonb_agg(jsonb_build_array(p.unique_publication_id, p.publication_reference, p.publication_url) ORDER BY p.unique_publication_id)
                 FROM gn_meta.cor_acquisition_framework_publication l JOIN gn_meta.sinp_datatype_publications p USING (id_publication)
                 WHERE l.id_acquisition_framework = x.id_acquisition_framework) AS publications
         FROM gn_meta.t_acquisition_frameworks x",
        all_but("t_acquisition_frameworks", "id_acquisition_framework,acquisition_framework_parent_id,id_digitizer,opened,meta_create_date,meta_update_date"),
        codes("cor_acquisition_framework_objectif", "id_acquisition_framework", "id_nomenclature_objectif"),
        codes("cor_acquisition_framework_voletsinp", "id_acquisition_framework", "id_nomenclature_voletsinp"),
        codes("cor_acquisition_framework_territory", "id_acquisition_framework", "id_nomenclature_territory"),
        actors("cor_acquisition_framework_actor", "id_acquisition_framework"),
    );
    let datasets = format!(
        "SELECT {}, (SELECT f.unique_acquisition_framework_id FROM gn_meta.t_acquisition_frameworks f WHERE f.id_acquisition_framework = x.id_acquisition_framework) AS framework,
                {} AS territories, {} AS actors,
                (SELECT jsonb_agg(jsonb_build_array(p.unique_protocol_id, p.protocol_name, p.protocol_desc, p.protocol_url, {}) ORDER BY p.unique_protocol_id)
                 FROM gn_meta.cor_dataset_protocol l JOIN gn_meta.sinp_datatype_protocols p USING (id_protocol) WHERE l.id_dataset = x.id_dataset) AS protocols
         FROM gn_meta.t_datasets x",
        all_but("t_datasets", "id_dataset,id_acquisition_framework,id_digitizer,id_taxa_list,active,validable,meta_create_date,meta_update_date"),
        codes("cor_dataset_territory", "id_dataset", "id_nomenclature_territory"),
        actors("cor_dataset_actor", "id_dataset"),
        code("p.id_nomenclature_protocol_type"),
    );
    database
        .rows(&format!(
            "SELECT 'framework ' || (y ->> 'unique_acquisition_framework_id') AS key, y::text AS told FROM (SELECT to_jsonb(z) FROM ({frameworks}) z) t(y)
             UNION ALL
             SELECT 'dataset ' || (y ->> 'unique_dataset_id'), y::text FROM (SELECT to_jsonb(z) FROM ({datasets}) z) t(y)"
        ))
        .into_iter()
        .map(|row| (text(&row, "key").to_owned(), text(&row, "told").to_owned()))
        .collect()
}

/// Panics unless the collector has the partner's frameworks and datasets, all of them, as they are there.
pub fn assert_metadata_equal(partner: &Partner, collector: &Database) {
    let (expected, found) = (metadata(&partner.database), metadata(collector));
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (key, told) in &expected {
        assert_eq!(&found[key], told, "{key}");
    }
}

/// Connects a source by what was handed over, but for the address; nothing else is said.
pub fn connect(collector: &Database, handed_over: &Row, server: &ExportServer) {
    collector.run(&format!(
        "SELECT gn_harvest.add_source('cen', '{}', {}, token => '{}')",
        server.url(),
        number(handed_over, "observations_export"),
        text(handed_over, "token")
    ));
}
