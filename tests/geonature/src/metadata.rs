//! The partner's metadata: acquisition frameworks, datasets and their actors, as the JSON
//! that the exports embed (`ca_data`, `jdd_data`), so that a test can change any of it.

use serde_json::{Map, Value, json};

use crate::json as text;
use crate::random::{Draw, uuid, uuid_text};

const ORGANISM: u64 = 101;
const PERSON: u64 = 102;
const FRAMEWORK: u64 = 103;
const DATASET: u64 = 104;
const PUBLICATION: u64 = 105;
const PROTOCOL: u64 = 106;

const ORGANISMS: [&str; 7] = [
    "Conservatoire d'espaces naturels des Combes",
    "Parc naturel régional des Éboulis",
    "Ligue ornithologique « Le Tichodrome »",
    "Société botanique de l'Œillet",
    "Bureau d'études Étangs & Forêts",
    "Direction de l'environnement (fictive)",
    "Fédération \"Pêche et rivières\" du Haut-Drac",
];

const FIRST_NAMES: [&str; 8] = [
    "Anaïs",
    "François",
    "Éloïse",
    "Jean-René",
    "Zoé",
    "Noël",
    "Maël",
    "Gaëlle",
];
const LAST_NAMES: [&str; 8] = [
    "Châtelain",
    "D'Agostino",
    "Müller",
    "Œuvrard",
    "Béranger",
    "Lefèvre",
    "Gonçalves",
    "Núñez",
];

pub struct Framework {
    pub uuid: String,
    /// The members of `ca_data`.
    pub data: Map<String, Value>,
    json: String,
}

pub struct Dataset {
    pub uuid: String,
    pub framework: usize,
    /// The members of `jdd_data`; each actor once, whatever the views make of it.
    pub data: Map<String, Value>,
    json: String,
    actors_in_codes: String,
    actors_in_words: String,
}

pub struct Metadata {
    pub frameworks: Vec<Framework>,
    pub datasets: Vec<Dataset>,
}

impl Framework {
    /// The JSON object of the column `ca_data`.
    pub fn json(&self) -> &str {
        &self.json
    }

    pub fn name(&self) -> &str {
        self.data["name"].as_str().unwrap_or_default()
    }

    fn refresh(&mut self) {
        self.uuid = self.data["uuid"].as_str().unwrap_or_default().to_owned();
        self.json = text::text(&as_shown(&self.data));
    }
}

impl Dataset {
    /// The JSON object of the column `jdd_data`.
    pub fn json(&self) -> &str {
        &self.json
    }

    pub fn name(&self) -> &str {
        self.data["name"].as_str().unwrap_or_default()
    }

    /// The text of `jdd_acteurs` in the view with codes: a JSON array.
    pub fn actors_in_codes(&self) -> &str {
        &self.actors_in_codes
    }

    /// The text of `jdd_acteurs` in the stock view.
    pub fn actors_in_words(&self) -> &str {
        &self.actors_in_words
    }

    fn refresh(&mut self) {
        self.uuid = self.data["uuid"].as_str().unwrap_or_default().to_owned();
        self.json = text::text(&as_shown(&self.data));
        let actors = self.data["actors"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        self.actors_in_codes = text::text(&actors.iter().map(actor_in_codes).collect());
        let mut words: Vec<String> = actors.iter().map(actor_in_words).collect();
        words.sort();
        self.actors_in_words = words.join(", ");
    }
}

/// The views join territories and actors: two territories list each actor twice.
fn as_shown(data: &Map<String, Value>) -> Value {
    let mut shown = data.clone();
    let territories = data["territories"].as_array().map_or(1, Vec::len).max(1);
    if let Some(Value::Array(actors)) = shown.get_mut("actors") {
        *actors = actors
            .iter()
            .flat_map(|actor| vec![actor.clone(); territories])
            .collect();
    }
    Value::Object(shown)
}

fn actor_name(actor: &Value) -> String {
    let identity = &actor["identity"];
    match identity["organism_name"].as_str() {
        Some(name) => name.to_owned(),
        None => [&identity["last_name"], &identity["first_name"]]
            .iter()
            .filter_map(|name| name.as_str())
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn actor_in_codes(actor: &Value) -> Value {
    let organism = actor["type_role"] == "organism";
    let name = Value::String(actor_name(actor));
    let of = |wanted: bool, value: &Value| if wanted { value.clone() } else { Value::Null };
    json!({
        "nom_role": of(!organism, &name),
        "type_role": actor["cd_nomenclature_actor_role"],
        "uuid_role": of(!organism, &actor["uuid_actor"]),
        "nom_organisme": of(organism, &name),
        "uuid_organism": of(organism, &actor["uuid_actor"]),
    })
}

fn actor_in_words(actor: &Value) -> String {
    const ROLES: [&str; 8] = [
        "Contact principal",
        "Financeur",
        "Maître d'ouvrage",
        "Maître d'oeuvre",
        "Fournisseur du jeu de données",
        "Producteur du jeu de données",
        "Point de contact base de données de production",
        "Point de contact pour les métadonnées",
    ];
    let code = actor["cd_nomenclature_actor_role"]
        .as_str()
        .and_then(|code| code.parse().ok());
    let role = code
        .and_then(|code: usize| ROLES.get(code.wrapping_sub(1)))
        .unwrap_or(&"");
    format!("{} ({role})", actor_name(actor))
}

impl Metadata {
    /// Three frameworks, of which the first is the parent of the third, and `datasets`
    /// datasets spread over them. `seed` decides the UUIDs only: two partners with the same
    /// seed share their metadata.
    pub fn generate(seed: u64, datasets: usize) -> Self {
        let mut metadata = Self {
            frameworks: Vec::new(),
            datasets: Vec::new(),
        };
        for number in 1..=3 {
            metadata.frameworks.push(framework(seed, number));
        }
        for number in 1..=datasets.max(1) as u64 {
            metadata.datasets.push(dataset(seed, number));
        }
        metadata.frameworks.iter_mut().for_each(Framework::refresh);
        metadata.datasets.iter_mut().for_each(Dataset::refresh);
        metadata
    }

    pub fn framework_of(&self, dataset: usize) -> &Framework {
        &self.frameworks[self.datasets[dataset].framework]
    }

    pub fn dataset_by_uuid(&self, uuid: &str) -> Option<usize> {
        self.datasets
            .iter()
            .position(|dataset| dataset.uuid == uuid)
    }

    pub fn framework_by_uuid(&self, uuid: &str) -> Option<usize> {
        self.frameworks
            .iter()
            .position(|framework| framework.uuid == uuid)
    }

    /// Replaces the members that the patch names.
    pub fn patch_framework(&mut self, at: usize, patch: &Map<String, Value>) {
        let framework = &mut self.frameworks[at];
        framework.data.extend(patch.clone());
        framework.refresh();
    }

    pub fn patch_dataset(&mut self, at: usize, patch: &Map<String, Value>) {
        let dataset = &mut self.datasets[at];
        dataset.data.extend(patch.clone());
        dataset.refresh();
    }

    pub fn move_dataset(&mut self, at: usize, framework: usize) {
        self.datasets[at].framework = framework;
    }

    /// Adds a dataset like the first one, changed by the patch. Returns its position.
    pub fn add_dataset(&mut self, framework: usize, patch: &Map<String, Value>) -> usize {
        let mut data = self.datasets[0].data.clone();
        data.extend(patch.clone());
        self.datasets.push(blank_dataset(framework, data));
        let at = self.datasets.len() - 1;
        self.datasets[at].refresh();
        at
    }

    /// Adds a framework like the first one, changed by the patch. Returns its position.
    pub fn add_framework(&mut self, patch: &Map<String, Value>) -> usize {
        let mut data = self.frameworks[0].data.clone();
        data.extend(patch.clone());
        self.frameworks.push(Framework {
            uuid: String::new(),
            data,
            json: String::new(),
        });
        let at = self.frameworks.len() - 1;
        self.frameworks[at].refresh();
        at
    }

    /// The items of the separate metadata export: one a framework, with its datasets.
    pub fn export_items(&self) -> Vec<Value> {
        self.items(as_shown)
    }

    /// The same without what the views double: what the partner holds.
    pub fn truth(&self) -> Vec<Value> {
        self.items(|data| Value::Object(data.clone()))
    }

    fn items(&self, show: impl Fn(&Map<String, Value>) -> Value) -> Vec<Value> {
        let datasets_of = |framework: usize| -> Vec<Value> {
            let of_it = self
                .datasets
                .iter()
                .filter(|dataset| dataset.framework == framework);
            of_it.map(|dataset| show(&dataset.data)).collect()
        };
        let item = |(at, framework): (usize, &Framework)| {
            let mut item = show(&framework.data);
            item["datasets"] = Value::Array(datasets_of(at));
            item
        };
        self.frameworks.iter().enumerate().map(item).collect()
    }
}

fn blank_dataset(framework: usize, data: Map<String, Value>) -> Dataset {
    Dataset {
        uuid: String::new(),
        framework,
        data,
        json: String::new(),
        actors_in_codes: String::new(),
        actors_in_words: String::new(),
    }
}

fn identifier(seed: u64, kind: u64, number: u64) -> String {
    uuid_text(uuid(seed, kind, number))
}

fn organism(seed: u64, number: u64, role: &str) -> Value {
    let number = number % ORGANISMS.len() as u64;
    json!({
        "cd_nomenclature_actor_role": role,
        "email": format!("contact{}@example.org", number + 1),
        "identity": {"organism_name": ORGANISMS[number as usize]},
        "type_role": "organism",
        "uuid_actor": identifier(seed, ORGANISM, number),
    })
}

fn person(seed: u64, number: u64, role: &str) -> Value {
    let number = number % 20;
    let mut draw = Draw::new(7, PERSON, number);
    json!({
        "cd_nomenclature_actor_role": role,
        "email": format!("obs{}@example.org", number + 1),
        "identity": {
            "first_name": draw.pick(&FIRST_NAMES),
            "last_name": format!("{}{}", draw.pick(&LAST_NAMES), number + 1),
        },
        "type_role": "role",
        "uuid_actor": identifier(seed, PERSON, number),
    })
}

fn framework(seed: u64, number: u64) -> Framework {
    let publications = json!([{
        "reference": "Dupont É., 2019. « Atlas » fictif du vivant.",
        "url": "https://example.org/atlas",
        "uuid": identifier(seed, PUBLICATION, 1),
    }]);
    let data = json!({
        "actors": [
            organism(seed, number + 2, "2"),
            organism(seed, number + 1, "1"),
            person(seed, number, "1"),
            organism(seed, number, "6"),
        ],
        "desc": format!("Description du cadre n°{number} : accents éàùç, \"guillemets\"\net deux lignes."),
        "ecologic_or_geologic_target": if number == 2 { Value::Null } else { json!("Zones humides") },
        "end_date": if number == 2 { json!("2027-12-31") } else { Value::Null },
        "financing_type": number.to_string(),
        "initial_closing_date": if number == 3 { json!("2025-01-15T10:00:00") } else { Value::Null },
        "is_parent": number == 1,
        "name": format!("Cadre d'acquisition n°{number} — « inventaires »"),
        "objectives": ["11", "8"],
        "parent_uuid": if number == 3 { json!(identifier(seed, FRAMEWORK, 1)) } else { Value::Null },
        "publications": if number == 1 { publications } else { Value::Null },
        "sinp_theme": if number == 2 { json!(["1"]) } else { json!(["1", "2"]) },
        "start_date": format!("2012-0{}-1{}", number + 3, number),
        "target_description": "Faune, flore et fonge",
        "territorial_level": (number + 2).to_string(),
        "territories": if number == 2 { json!(["GLP", "METROP"]) } else { json!(["METROP"]) },
        "territory_desc": if number == 3 { Value::Null } else { json!("Massif des Éléments") },
        "uuid": identifier(seed, FRAMEWORK, number),
    });
    Framework {
        uuid: String::new(),
        data: members(data),
        json: String::new(),
    }
}

fn dataset(seed: u64, number: u64) -> Dataset {
    const OBJECTIVES: [&str; 4] = ["1.1", "2.1", "7.2", "4.1"];
    const ORIGINS: [&str; 3] = ["Pr", "Pu", "NSP"];
    const SOURCE_STATUSES: [&str; 3] = ["Te", "Li", "Co"];
    let turn = number as usize;
    let protocol = json!({
        "desc": "Points d'écoute de vingt minutes",
        "name": "Points d'écoute",
        "type": "1",
        "url": "https://example.org/points",
        "uuid": identifier(seed, PROTOCOL, 1),
    });
    let mut actors = vec![
        organism(seed, number, "1"),
        organism(seed, number + 1, "5"),
        person(seed, number + 2, "1"),
        person(seed, number + 9, "7"),
    ];
    if number.is_multiple_of(2) {
        actors.push(organism(seed, number + 2, "6"));
    }
    let data = json!({
        "actors": actors,
        "collecting_method": (number % 6 + 1).to_string(),
        "data_origin": ORIGINS[turn % 3],
        "data_type": "1",
        "dataset_objectif": OBJECTIVES[turn % 4],
        "desc": format!("Description du jeu n°{number}\nsur plusieurs lignes."),
        "keywords": if number.is_multiple_of(3) { Value::Null } else { json!("oiseaux, forêt") },
        "marine_domain": number.is_multiple_of(5),
        "name": format!("Jeu de données n°{number} — suivis d'été"),
        "protocols": if number.is_multiple_of(4) { protocol } else { Value::Null },
        "resource_type": "1",
        "shortname": format!("JDD n°{number}"),
        "source_status": SOURCE_STATUSES[turn % 3],
        "terrestrial_domain": true,
        "territories": if number.is_multiple_of(6) { json!(["GLP", "METROP"]) } else { json!(["METROP"]) },
        "uuid": identifier(seed, DATASET, number),
    });
    blank_dataset(turn % 3, members(data))
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
