//! What hangs on frameworks and datasets: lists of nomenclatures, publications, protocols; actors.

use std::collections::HashSet;

use pgrx::spi::SpiClient;

use super::write::{DATASETS, FRAMEWORKS, Kind, NOMENCLATURE, numbers};
use super::{Mode, Options};
use crate::error::Failure;

const MEMBERS: &str = include_str!("members.sql");
const ACTORS_WANTED: &str = include_str!("actors_wanted.sql");
const ACTORS_REMOVED: &str = include_str!("actors_removed.sql");
const ACTORS_ADDED: &str = include_str!("actors_added.sql");

/// A list of a framework or dataset, and the table of gn_meta that keeps it.
struct List {
    kind: &'static Kind,
    /// Its name in the export.
    name: &'static str,
    table: &'static str,
    column: &'static str,
    members: Members,
}

/// What a member of a list is.
enum Members {
    /// A code of this type of nomenclature.
    Codes(&'static str),
    /// An object with its UUID: table, column of the UUID, column of the id.
    Objects(&'static str, &'static str, &'static str),
}

const LISTS: [List; 6] = [
    List {
        kind: &FRAMEWORKS,
        name: "objectives",
        table: "cor_acquisition_framework_objectif",
        column: "id_nomenclature_objectif",
        members: Members::Codes("CA_OBJECTIFS"),
    },
    List {
        kind: &FRAMEWORKS,
        name: "sinp_theme",
        table: "cor_acquisition_framework_voletsinp",
        column: "id_nomenclature_voletsinp",
        members: Members::Codes("VOLET_SINP"),
    },
    List {
        kind: &FRAMEWORKS,
        name: "territories",
        table: "cor_acquisition_framework_territory",
        column: "id_nomenclature_territory",
        members: Members::Codes("TERRITOIRE"),
    },
    List {
        kind: &FRAMEWORKS,
        name: "publications",
        table: "cor_acquisition_framework_publication",
        column: "id_publication",
        members: Members::Objects(
            "sinp_datatype_publications",
            "unique_publication_id",
            "id_publication",
        ),
    },
    List {
        kind: &DATASETS,
        name: "territories",
        table: "cor_dataset_territory",
        column: "id_nomenclature_territory",
        members: Members::Codes("TERRITOIRE"),
    },
    List {
        kind: &DATASETS,
        name: "protocols",
        table: "cor_dataset_protocol",
        column: "id_protocol",
        members: Members::Objects(
            "sinp_datatype_protocols",
            "unique_protocol_id",
            "id_protocol",
        ),
    },
];

/// Makes the lists and actors of the frameworks or datasets in `json` whose id is in `ids` equal to what was said.
/// Returns the ids of those in which something changed.
pub fn write(
    client: &mut SpiClient,
    kind: &Kind,
    json: &str,
    ids: &[i32],
    options: &Options,
) -> Result<HashSet<i32>, Failure> {
    let mut changed = HashSet::new();
    if ids.is_empty() {
        return Ok(changed);
    }
    for list in LISTS
        .iter()
        .filter(|list| list.kind.parents == kind.parents)
    {
        changed.extend(numbers(
            client,
            &list.statement(),
            &[json.into(), ids.to_vec().into()],
        )?);
    }
    for statement in [ACTORS_REMOVED, ACTORS_ADDED] {
        if options.mode == Mode::Create && statement == ACTORS_REMOVED {
            continue;
        }
        let statement = kind
            .fill(&format!("{NOMENCLATURE}{ACTORS_WANTED}{statement}"))
            .replace("{table}", kind.actors);
        let arguments = [
            json.into(),
            ids.to_vec().into(),
            options.organisms_by_name.into(),
        ];
        changed.extend(numbers(client, &statement, &arguments)?);
    }
    Ok(changed)
}

impl List {
    fn statement(&self) -> String {
        let (target, matches) = match self.members {
            Members::Codes(nomenclature) => (
                format!("SELECT code, id FROM nomenclature WHERE type = '{nomenclature}'"),
                "t.code = m.member #>> '{}'",
            ),
            Members::Objects(table, uuid, id) => (
                format!("SELECT {uuid} AS uuid, {id} AS id FROM gn_meta.{table}"),
                "t.uuid = (m.member ->> 'uuid')::uuid",
            ),
        };
        self.kind
            .fill(&format!("{NOMENCLATURE}{MEMBERS}"))
            .replace("{list}", self.name)
            .replace("{table}", self.table)
            .replace("{column}", self.column)
            .replace("{target}", &target)
            .replace("{matches}", matches)
    }
}
