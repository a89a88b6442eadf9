//! The targets that the fast load knows: triggers, foreign keys, and digests of the functions whose work it does. Facts of
//! GeoNature's releases.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::Failure;

/// Table, trigger, function, tgtype (timing, events, level): all that there may be, and has to be.
const TRIGGERS: &[(&str, &str, &str, i32)] = &[
    (
        "gn_synthese.synthese",
        "tri_insert_calculate_sensitivity",
        "gn_synthese.fct_tri_calculate_sensitivity_on_each_statement",
        4,
    ),
    (
        "gn_synthese.synthese",
        "tri_insert_cor_area_synthese",
        "gn_synthese.fct_trig_insert_in_cor_area_synthese_on_each_statement",
        4,
    ),
    (
        "gn_synthese.synthese",
        "tri_log_delete_synthese",
        "gn_synthese.fct_tri_log_delete_on_synthese",
        8,
    ),
    (
        "gn_synthese.synthese",
        "tri_meta_dates_change_synthese",
        "public.fct_trg_meta_dates_change",
        23,
    ),
    (
        "gn_synthese.synthese",
        "tri_update_calculate_sensitivity",
        "gn_synthese.fct_tri_update_sensitivity_on_each_row",
        19,
    ),
    (
        "gn_synthese.synthese",
        "tri_update_cor_area_synthese",
        "gn_synthese.fct_trig_update_in_cor_area_synthese",
        17,
    ),
];

/// Functions that the fast load stands for, or relies on, and the SHA-256 of their bodies with white space made one.
const FUNCTIONS: &[(&str, &[&str])] = &[
    (
        "public.fct_trg_meta_dates_change",
        &[
            "15f90f6cd5df872a7a5963e9db17ddb8137ea3d2ed8619d03e938f13168d03d4",
            "aed46ea8649d5e4ef022418ad264f884d1d1fa3b12a1076ee485feb7cc788290",
        ],
    ),
    (
        "gn_synthese.fct_tri_calculate_sensitivity_on_each_statement",
        &[
            "ac69175774d24f95f8fbfa622e956645e3a933560cc09ced775c77094d7080b8",
            "c6306ff8f95b4f7acccaffd1f276e36ae5b48fd5b3b3bf784304a2ef234530df",
        ],
    ),
    (
        "gn_synthese.fct_trig_insert_in_cor_area_synthese_on_each_statement",
        &[
            "af383174f8624d0a69cb17953160cc5faf7159944a63b454c55e7903597813ad",
            "8783c9647261015b905d4180c580f81c957c1925b88c4511d2515a4cfd059199",
        ],
    ),
    (
        "gn_sensitivity.get_id_nomenclature_sensitivity",
        &[
            "0162c41b3fa4d2d4d5c7f346d77345970d12faf38e67a5f26014c5d25eba6e03",
            "86e40c95c28b17e2b8b61946169b51875a54127c311ba1232c6613205b2f25fa",
        ],
    ),
    (
        "taxonomie.find_cdref",
        &[
            "ad21555bf83bf85990a96d1aedbfc6022ef245a4ba36a6cd53e8a02b4745c54a",
            "6760c0dca3be898f35b08b3c2b7039b3db44bc327ed6b07c8a803467aaadeaec",
        ],
    ),
];

/// Column, table, key: the foreign keys that there may be.
const REFERENCES: &[(&str, &str, &str)] = &[
    ("id_import", "gn_imports.t_imports", "id_import"),
    ("cd_hab", "ref_habitats.habref", "cd_hab"),
    ("cd_nom", "taxonomie.taxref", "cd_nom"),
    ("id_area_attachment", "ref_geo.l_areas", "id_area"),
    ("id_dataset", "gn_meta.t_datasets", "id_dataset"),
    ("id_digitiser", "utilisateurs.t_roles", "id_role"),
    ("id_module", "gn_commons.t_modules", "id_module"),
    ("id_source", "gn_synthese.t_sources", "id_source"),
];

/// Columns that may refer to ref_nomenclatures.t_nomenclatures.
const NOMENCLATURES: &[&str] = &[
    "id_nomenclature_bio_condition",
    "id_nomenclature_bio_status",
    "id_nomenclature_biogeo_status",
    "id_nomenclature_blurring",
    "id_nomenclature_determination_method",
    "id_nomenclature_diffusion_level",
    "id_nomenclature_exist_proof",
    "id_nomenclature_geo_object_nature",
    "id_nomenclature_grp_typ",
    "id_nomenclature_info_geo_type",
    "id_nomenclature_life_stage",
    "id_nomenclature_obj_count",
    "id_nomenclature_obs_technique",
    "id_nomenclature_observation_status",
    "id_nomenclature_sensitivity",
    "id_nomenclature_sex",
    "id_nomenclature_source_status",
    "id_nomenclature_type_count",
    "id_nomenclature_valid_status",
];

/// A foreign key of gn_synthese.synthese.
pub struct Reference {
    pub column: &'static str,
    pub table: &'static str,
    pub key: &'static str,
    pub owner: pg_sys::Oid,
}

/// What of the target is not as known, in words; none when all is.
pub fn stranger() -> Result<Option<String>, Failure> {
    for look in [setting, tables, triggers, functions, foreign_keys] {
        if let Some(why) = look()? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

fn setting() -> Result<Option<String>, Failure> {
    let role = Spi::get_one::<String>("SHOW session_replication_role")?;
    Ok((role.as_deref() != Some("origin"))
        .then(|| "session_replication_role is not \"origin\" to begin with".to_owned()))
}

/// Plain tables, without rules, and nothing internal on them but enabled foreign keys.
fn tables() -> Result<Option<String>, Failure> {
    one("SELECT format('%s is no plain table', c.oid::regclass)
         FROM pg_catalog.pg_class c
         WHERE c.oid IN ('gn_synthese.synthese'::regclass, 'gn_synthese.cor_area_synthese'::regclass, 'ref_geo.l_areas'::regclass, 'taxonomie.taxref'::regclass)
           AND (c.relkind <> 'r' OR c.relispartition OR c.relrowsecurity
                OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)))
         UNION ALL
         SELECT format('rule %I is on %s', r.rulename, r.ev_class::regclass)
         FROM pg_catalog.pg_rewrite r
         WHERE r.ev_class IN ('gn_synthese.synthese'::regclass, 'gn_synthese.cor_area_synthese'::regclass)
         UNION ALL
         SELECT format('constraint trigger %I of %s is not as PostgreSQL made it', t.tgname, t.tgrelid::regclass)
         FROM pg_catalog.pg_trigger t
         JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
         WHERE t.tgrelid IN ('gn_synthese.synthese'::regclass, 'gn_synthese.cor_area_synthese'::regclass) AND t.tgisinternal
           AND (t.tgenabled <> 'O' OR p.proname !~ '^RI_FKey_' OR p.pronamespace <> 'pg_catalog'::regnamespace)
         LIMIT 1")
}

/// Exactly the known triggers, as GeoNature makes them. Those that gn_harvest puts on what it publishes look at updates
/// and deletions only.
fn triggers() -> Result<Option<String>, Failure> {
    let found = Spi::connect(|client| -> Result<_, Failure> {
        let mut found = Vec::new();
        for row in client.select(
            "SELECT tn.nspname || '.' || c.relname, t.tgname::text, pn.nspname || '.' || p.proname, t.tgtype::int,
                    t.tgenabled = 'O' AND t.tgqual IS NULL AND t.tgnargs = 0 AND (t.tgtype & 1 = 1 OR t.tgnewtable IS NOT NULL OR t.tgoldtable IS NOT NULL)
                    AND (t.tgattr::text = '' OR t.tgtype & 16 = 16),
                    pn.nspname = 'gn_harvest' AND t.tgtype & 4 = 0 AND t.tgenabled = 'O'
             FROM pg_catalog.pg_trigger t
             JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
             JOIN pg_catalog.pg_namespace tn ON tn.oid = c.relnamespace
             JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
             JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
             WHERE t.tgrelid IN ('gn_synthese.synthese'::regclass, 'gn_synthese.cor_area_synthese'::regclass) AND NOT t.tgisinternal
             ORDER BY 1, 2",
            None,
            &[],
        )? {
            let text = |value: Option<String>| value.unwrap_or_default();
            if row.get::<bool>(6)? != Some(true) {
                found.push((
                    (text(row.get(1)?), text(row.get(2)?), text(row.get(3)?)),
                    row.get::<i32>(4)?.unwrap_or_default(),
                    row.get::<bool>(5)?.unwrap_or_default(),
                ));
            }
        }
        Ok(found)
    })?;
    let is = |known: &(&str, &str, &str, i32), found: &(String, String, String)| {
        (found.0.as_str(), found.1.as_str(), found.2.as_str()) == (known.0, known.1, known.2)
    };
    for (trigger, kind, plain) in &found {
        match TRIGGERS.iter().find(|known| is(known, trigger)) {
            None => {
                return Ok(Some(format!(
                    "trigger {} on {} is not one of GeoNature's that are known",
                    trigger.1, trigger.0
                )));
            }
            Some(known) if known.3 != *kind || !plain => {
                return Ok(Some(format!(
                    "trigger {} on {} is disabled or altered",
                    trigger.1, trigger.0
                )));
            }
            Some(_) => {}
        }
    }
    let missing = TRIGGERS
        .iter()
        .find(|known| !found.iter().any(|(trigger, ..)| is(known, trigger)));
    Ok(missing.map(|known| format!("trigger {} on {} is missing", known.1, known.0)))
}

fn functions() -> Result<Option<String>, Failure> {
    for (name, digests) in FUNCTIONS {
        let known = Spi::connect(|client| -> Result<Vec<bool>, Failure> {
            let mut known = Vec::new();
            for row in client.select(
                "SELECT l.lanname = 'plpgsql' AND NOT p.prosecdef AND p.proconfig IS NULL
                        AND encode(sha256(convert_to(regexp_replace(btrim(p.prosrc, E' \\n\\r\\t'), '\\s+', ' ', 'g'), 'UTF8')), 'hex') = ANY ($2)
                 FROM pg_catalog.pg_proc p
                 JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                 JOIN pg_catalog.pg_language l ON l.oid = p.prolang
                 WHERE n.nspname || '.' || p.proname = $1",
                None,
                &[(*name).into(), digests.iter().map(|d| (*d).to_owned()).collect::<Vec<String>>().into()],
            )? {
                known.push(row.get::<bool>(1)?.unwrap_or_default());
            }
            Ok(known)
        })?;
        if known != [true] {
            return Ok(Some(format!(
                "function {name} is not as in a GeoNature that is known"
            )));
        }
    }
    Ok(None)
}

fn foreign_keys() -> Result<Option<String>, Failure> {
    for (name, reference, plain) in foreign_keys_found()? {
        if reference.is_none() || !plain {
            return Ok(Some(format!(
                "foreign key {name} of gn_synthese.synthese is not one of GeoNature's that are known"
            )));
        }
    }
    one("SELECT format('foreign key %I of gn_synthese.cor_area_synthese is not one of GeoNature''s that are known', o.conname)
         FROM pg_catalog.pg_constraint o
         WHERE o.conrelid = 'gn_synthese.cor_area_synthese'::regclass AND o.contype = 'f'
           AND o.confrelid NOT IN ('gn_synthese.synthese'::regclass, 'ref_geo.l_areas'::regclass) LIMIT 1")
}

/// The foreign keys of gn_synthese.synthese, all known.
pub fn references() -> Result<Vec<Reference>, Failure> {
    let found = foreign_keys_found()?.into_iter();
    Ok(found.filter_map(|(_, reference, _)| reference).collect())
}

/// Name, the known one that it is, and whether it is a plain one.
fn foreign_keys_found() -> Result<Vec<(String, Option<Reference>, bool)>, Failure> {
    Spi::connect(|client| {
        let mut found = Vec::new();
        for row in client.select(
            "SELECT o.conname::text, a.attname::text, n.nspname || '.' || c.relname, k.attname::text, c.relowner,
                    NOT o.condeferrable AND cardinality(o.conkey) = 1 AND c.relkind = 'r' AND a.atttypid = 'int4'::regtype AND k.atttypid = 'int4'::regtype
             FROM pg_catalog.pg_constraint o
             JOIN pg_catalog.pg_class c ON c.oid = o.confrelid
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = o.conkey[1]
             JOIN pg_catalog.pg_attribute k ON k.attrelid = o.confrelid AND k.attnum = o.confkey[1]
             WHERE o.conrelid = 'gn_synthese.synthese'::regclass AND o.contype = 'f'
             ORDER BY 1",
            None,
            &[],
        )? {
            let text = |value: Option<String>| value.unwrap_or_default();
            let (column, table, key) = (text(row.get(2)?), text(row.get(3)?), text(row.get(4)?));
            let owner = row.get::<pg_sys::Oid>(5)?.unwrap_or(pg_sys::Oid::INVALID);
            let nomenclatures = NOMENCLATURES
                .iter()
                .map(|c| (*c, "ref_nomenclatures.t_nomenclatures", "id_nomenclature"));
            let known = REFERENCES.iter().copied().chain(nomenclatures);
            let reference = known
                .into_iter()
                .find(|known| *known == (column.as_str(), table.as_str(), key.as_str()))
                .map(|(column, table, key)| Reference { column, table, key, owner });
            found.push((text(row.get(1)?), reference, row.get::<bool>(6)?.unwrap_or_default()));
        }
        Ok(found)
    })
}

pub fn owner_of_areas() -> Result<pg_sys::Oid, Failure> {
    let owner = Spi::get_one::<pg_sys::Oid>(
        "SELECT relowner FROM pg_catalog.pg_class WHERE oid = 'ref_geo.l_areas'::regclass",
    )?;
    Ok(owner.unwrap_or(pg_sys::Oid::INVALID))
}

/// The first column of the first row, if there is one.
fn one(query: &str) -> Result<Option<String>, Failure> {
    Spi::connect(|client| {
        let row = client.select(query, Some(1), &[])?.next();
        Ok(row.map(|row| row.get::<String>(1)).transpose()?.flatten())
    })
}
