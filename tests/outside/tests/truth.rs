//! The target against what the partner truly holds, column by column, in SQL. The two tables of columns are
//! written here once more, on purpose: they are the contract, the extension's own table is what is tested.

use std::collections::BTreeSet;

use geonature_simulator::Simulator;
use gn_harvest_outside::{Database, Row};

/// (column of gn_synthese.synthese, expected from the truth `j` of a record, as text).
const VALUES: &[(&str, &str, &str)] = &[
    (
        "id_perm_sinp",
        "unique_id_sinp",
        "(j ->> 'id_perm_sinp')::uuid",
    ),
    (
        "id_perm_grp_sinp",
        "unique_id_sinp_grp",
        "(j ->> 'id_perm_grp_sinp')::uuid",
    ),
    ("date_debut", "date_min", "(j ->> 'date_debut')::timestamp"),
    ("date_fin", "date_max", "(j ->> 'date_fin')::timestamp"),
    ("cd_nom", "cd_nom", "j ->> 'cd_nom'"),
    ("nom_cite", "nom_cite", "j ->> 'nom_cite'"),
    ("version_taxref", "meta_v_taxref", "j ->> 'version_taxref'"),
    ("nombre_min", "count_min", "j ->> 'nombre_min'"),
    ("nombre_max", "count_max", "j ->> 'nombre_max'"),
    ("altitude_min", "altitude_min", "j ->> 'altitude_min'"),
    ("altitude_max", "altitude_max", "j ->> 'altitude_max'"),
    ("profondeur_min", "depth_min", "j ->> 'profondeur_min'"),
    ("profondeur_max", "depth_max", "j ->> 'profondeur_max'"),
    ("observateurs", "observers", "j ->> 'observateurs'"),
    ("determinateur", "determiner", "j ->> 'determinateur'"),
    ("validateur", "validator", "j ->> 'validateur'"),
    (
        "numero_preuve",
        "sample_number_proof",
        "j ->> 'numero_preuve'",
    ),
    (
        "preuve_numerique",
        "digital_proof",
        "j ->> 'preuve_numerique'",
    ),
    (
        "preuve_non_numerique",
        "non_digital_proof",
        "j ->> 'preuve_non_numerique'",
    ),
    (
        "comment_releve",
        "comment_context",
        "j ->> 'comment_releve'",
    ),
    (
        "comment_occurrence",
        "comment_description",
        "j ->> 'comment_occurrence'",
    ),
    (
        "reference_biblio",
        "reference_biblio",
        "j ->> 'reference_biblio'",
    ),
    ("nom_lieu", "place_name", "j ->> 'nom_lieu'"),
    ("precision", "precision", "j ->> 'precision'"),
    (
        "methode_regroupement",
        "grp_method",
        "j ->> 'methode_regroupement'",
    ),
    ("code_habitat", "cd_hab", "j ->> 'code_habitat'"),
    // A JSON null in the truth is an SQL null in the target, not the JSON one.
    (
        "donnees_additionnelles",
        "additional_data",
        "nullif(j -> 'donnees_additionnelles', 'null')",
    ),
];

/// (column of the export, type of nomenclature, end of the name of the target's column). The sensitivity is left
/// out: the target computes it.
pub const NOMENCLATURES: &[(&str, &str, &str)] = &[
    ("nature_objet_geo", "NAT_OBJ_GEO", "geo_object_nature"),
    ("type_regroupement", "TYP_GRP", "grp_typ"),
    ("technique_obs", "METH_OBS", "obs_technique"),
    ("statut_biologique", "STATUT_BIO", "bio_status"),
    ("etat_biologique", "ETA_BIO", "bio_condition"),
    ("naturalite", "NATURALITE", "naturalness"),
    ("preuve_existante", "PREUVE_EXIST", "exist_proof"),
    ("statut_validation", "STATUT_VALID", "valid_status"),
    ("precision_diffusion", "NIV_PRECIS", "diffusion_level"),
    ("stade_vie", "STADE_VIE", "life_stage"),
    ("sexe", "SEXE", "sex"),
    ("objet_denombrement", "OBJ_DENBR", "obj_count"),
    ("type_denombrement", "TYP_DENBR", "type_count"),
    ("statut_observation", "STATUT_OBS", "observation_status"),
    ("floutage_dee", "DEE_FLOU", "blurring"),
    ("statut_source", "STATUT_SOURCE", "source_status"),
    ("type_info_geo", "TYP_INF_GEO", "info_geo_type"),
    ("comportement", "OCC_COMPORTEMENT", "behaviour"),
    ("statut_biogeo", "STAT_BIOGEO", "biogeo_status"),
    (
        "methode_determination",
        "METH_DETERMIN",
        "determination_method",
    ),
];

/// What an export shows of the partner's observations.
pub struct Shown {
    columns: BTreeSet<String>,
    key: String,
    geojson: bool,
}

impl Shown {
    pub fn by(partner: &Simulator, export: u32) -> Shown {
        let view = partner.view(export).expect("an export");
        Shown {
            columns: view.columns.into_iter().collect(),
            key: view.key,
            geojson: view.geojson,
        }
    }

    fn has(&self, column: &str) -> bool {
        self.columns.contains(column)
    }

    /// The geometry that the target should have, as an expression of the truth.
    fn geometry(&self) -> &'static str {
        if self.has("wkt_4326") {
            "ST_GeomFromText(j ->> 'wkt_4326', 4326)"
        } else if self.geojson {
            // What GeoNature makes of it: six decimals.
            "ST_SetSRID(ST_GeomFromGeoJSON(ST_AsGeoJSON(ST_GeomFromText(j ->> 'wkt_4326', 4326), 6)), 4326)"
        } else if self.has("x_centroid_4326") {
            "ST_SetSRID(ST_MakePoint((j ->> 'x_centroid_4326')::float8, (j ->> 'y_centroid_4326')::float8), 4326)"
        } else {
            "NULL::geometry"
        }
    }

    /// Whether a record of the truth is one that the export serves and that can be told apart.
    fn served(&self) -> String {
        let with_key = format!("j ->> '{}' IS NOT NULL", self.key);
        if self.geojson {
            format!("{with_key} AND j ->> 'wkt_4326' IS NOT NULL")
        } else {
            with_key
        }
    }

    /// `('name', expected, actual)` of every column; `s` is the target's row, `j` the truth, `e` geometries expected.
    fn comparisons(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (export, target, expected) in VALUES {
            let expected = if self.has(export) {
                expected
            } else {
                &ABSENT
                    .iter()
                    .find(|(t, _)| t == target)
                    .map_or("NULL", |(_, e)| e)
            };
            all.push(format!(
                "('{target}', ({expected})::text, s.{target}::text)"
            ));
        }
        for (export, type_code, end) in NOMENCLATURES {
            let code = match *export {
                // The constraint of the target refuses "attached" without an area.
                "type_info_geo" if self.has(export) && !self.has("area_attachment") => {
                    "replace(j ->> 'type_info_geo', '2', '1')".to_owned()
                }
                _ if self.has(export) => format!("j ->> '{export}'"),
                // The target has no default for it.
                "precision_diffusion" => "NULL".to_owned(),
                _ => format!(
                    "ref_nomenclatures.get_cd_nomenclature(gn_synthese.get_default_nomenclature_value('{type_code}'))"
                ),
            };
            all.push(format!("('id_nomenclature_{end}', '{type_code} ' || ({code}), code_of(s.id_nomenclature_{end}))"));
        }
        let area = if self.has("area_attachment") {
            "(j -> 'area_attachment' ->> 'type_code') || '/' || (j -> 'area_attachment' ->> 'area_code')"
        } else {
            "NULL"
        };
        all.push(format!(
            "('id_area_attachment', {area}, area_of(s.id_area_attachment))"
        ));
        let dataset = "(SELECT d.unique_dataset_id FROM gn_meta.t_datasets d WHERE d.id_dataset = s.id_dataset)";
        all.push(format!("('id_dataset', j ->> 'jdd_uuid', {dataset}::text)"));
        for (column, expected) in [
            ("the_geom_4326", "e.geom"),
            ("the_geom_point", "ST_Centroid(e.geom)"),
            ("the_geom_local", "ST_Transform(e.geom, 2154)"),
        ] {
            // Byte by byte: full precision, and the SRID.
            all.push(format!(
                "('{column}', ({expected})::bytea::text, s.{column}::bytea::text)"
            ));
        }
        all
    }
}

/// Defaults that the target has of its own beside nomenclatures.
const ABSENT: &[(&str, &str)] = &[(
    "meta_v_taxref",
    "gn_commons.get_default_parameter('taxref_version', NULL)",
)];

/// Loads the truth of a partner into a table of the database.
pub fn load(database: &Database, partner: &Simulator) {
    let truth = serde_json::Value::Array(partner.truth()).to_string();
    let mut client = database.connect();
    let prepared = client.batch_execute(
        "DROP TABLE IF EXISTS public.truth;
         CREATE TABLE public.truth (j jsonb);
         CREATE OR REPLACE FUNCTION public.code_of(id integer) RETURNS text STABLE LANGUAGE sql AS $$
             SELECT t.mnemonique || ' ' || n.cd_nomenclature
             FROM ref_nomenclatures.t_nomenclatures n JOIN ref_nomenclatures.bib_nomenclatures_types t USING (id_type)
             WHERE n.id_nomenclature = id $$;
         CREATE OR REPLACE FUNCTION public.area_of(id integer) RETURNS text STABLE LANGUAGE sql AS $$
             SELECT t.type_code || '/' || a.area_code
             FROM ref_geo.l_areas a JOIN ref_geo.bib_areas_types t USING (id_type) WHERE a.id_area = id $$;",
    );
    prepared.expect("a table for the truth");
    client
        .execute(
            "INSERT INTO public.truth SELECT jsonb_array_elements($1::text::jsonb)",
            &[&truth],
        )
        .expect("the truth as JSON");
}

/// Every difference between the rows of a source and the truth: key, column, expected, actual. Records that the
/// truth no longer has are not differences: see `left_over`.
pub fn differences(
    database: &Database,
    source: &str,
    partner: &Simulator,
    export: u32,
) -> Vec<Row> {
    load(database, partner);
    let shown = Shown::by(partner, export);
    database.rows(&format!(
        "WITH expected AS (SELECT t.j, t.j ->> '{key}' AS key, {geometry} AS geom FROM public.truth t WHERE {served}),
              actual AS (SELECT s.* FROM gn_synthese.synthese s JOIN gn_synthese.t_sources USING (id_source) WHERE name_source = '{source}')
         SELECT e.key, v.name, v.expected, v.actual
         FROM expected e
         LEFT JOIN actual s ON s.entity_source_pk_value = e.key,
         LATERAL (VALUES ('the row itself', 'there', CASE WHEN s.id_synthese IS NOT NULL THEN 'there' END), {comparisons}) v(name, expected, actual)
         WHERE v.expected IS DISTINCT FROM v.actual
         ORDER BY 1, 2",
        key = shown.key,
        geometry = shown.geometry(),
        served = shown.served(),
        comparisons = shown.comparisons().join(", "),
    ))
}

/// Panics with the first differences, if there are any; returns how many rows were compared.
pub fn assert_equal(database: &Database, source: &str, partner: &Simulator, export: u32) {
    let found = differences(database, source, partner, export);
    let first: Vec<&Row> = found.iter().take(10).collect();
    assert!(
        found.is_empty(),
        "{} differences, of which: {first:#?}",
        found.len()
    );
}

/// Keys that the target has of a source and that the truth, loaded last, no longer has.
pub fn left_over(database: &Database, source: &str, key: &str) -> Vec<String> {
    let rows = database.rows(&format!(
        "SELECT s.entity_source_pk_value AS key
         FROM gn_synthese.synthese s JOIN gn_synthese.t_sources USING (id_source)
         WHERE name_source = '{source}'
           AND NOT EXISTS (SELECT FROM public.truth t WHERE t.j ->> '{key}' = s.entity_source_pk_value)
         ORDER BY s.id_synthese"
    ));
    rows.into_iter()
        .filter_map(|mut row| row.remove("key").flatten())
        .collect()
}
