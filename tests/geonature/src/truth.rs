//! The full state of an observation, typed and complete, for a test to compare a target with:
//! codes and labels, geometry at full precision, whatever the exports make of it.

use serde_json::{Map, Value, json};

use crate::clock::timestamp;
use crate::nomenclature;
use crate::observation::{INTEGER_COLUMNS, Observation, TEXT_COLUMNS};
use crate::random::uuid_text;
use crate::state::Partner;

/// One flat JSON object: the names are those of the exports; a nomenclature has its code under
/// the column's name and its label under `<column>_label`.
pub fn of(partner: &Partner, row: &Observation) -> Value {
    let mut members = Map::new();
    let mut say = |name: &str, value: Value| members.insert(name.to_owned(), value);
    let dataset = &partner.metadata.datasets[row.dataset];
    let framework = partner.metadata.framework_of(row.dataset);
    say("id_synthese", row.id.into());
    say("id_perm_sinp", row.uuid.map(uuid_text).into());
    say("id_perm_grp_sinp", row.group_uuid.map(uuid_text).into());
    for (name, text) in TEXT_COLUMNS.iter().zip(&row.texts) {
        say(name, text.as_deref().into());
    }
    for (name, integer) in INTEGER_COLUMNS.iter().zip(&row.integers) {
        say(name, (*integer).into());
    }
    for (at, (name, _)) in nomenclature::COLUMNS.iter().enumerate() {
        let term = partner.nomenclatures.term(at, row.terms[at]);
        say(name, term.map(|term| term.code.as_str()).into());
        say(
            &format!("{name}_label"),
            term.map(|term| term.label.as_str()).into(),
        );
    }
    say("date_debut", row.date_min.map(timestamp).into());
    say("date_fin", row.date_max.map(timestamp).into());
    say("date_creation", timestamp(row.created).into());
    say("date_modification", row.modified.map(timestamp).into());
    say("derniere_action", timestamp(row.last_action()).into());
    say(
        "last_action",
        if row.modified.is_some() { "U" } else { "I" }.into(),
    );
    say(
        "wkt_4326",
        row.geometry.as_ref().map(|geometry| geometry.wkt()).into(),
    );
    let centroid = row.geometry.as_ref().map(|geometry| geometry.centroid());
    say(
        "x_centroid_4326",
        centroid.map(|centroid| centroid[0]).into(),
    );
    say(
        "y_centroid_4326",
        centroid.map(|centroid| centroid[1]).into(),
    );
    say(
        "area_attachment",
        row.area.as_ref().map_or(
            Value::Null,
            |area| json!({"area_code": area.area_code, "type_code": area.type_code}),
        ),
    );
    let additional = row
        .additional_data
        .as_deref()
        .map(serde_json::from_str::<Value>);
    say(
        "donnees_additionnelles",
        additional.and_then(Result::ok).unwrap_or_default(),
    );
    say("jdd_uuid", dataset.uuid.as_str().into());
    say("jdd_nom", dataset.name().into());
    say("ca_uuid", framework.uuid.as_str().into());
    say("ca_nom", framework.name().into());
    Value::Object(members)
}
