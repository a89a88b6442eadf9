//! Metadata in the shapes in which exports write it, gathered into one: each framework and dataset once, as a JSON
//! object whose members are those of `ca_data` and `jdd_data`. Pure.
//!
//! A member that was not said, or that cannot be read, is absent; one that was said to be null is null: what is kept up
//! to date is what the source says. Lists are arrays without double members. A dataset that comes several times with
//! different lists (the usual views repeat it for each of its protocols) has them all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::actor;
use super::form::{Form, Uuid, derived, fitted, identifier, objects, text, written};
use crate::record::DatasetReference;

/// Of a name, as much as a warning shows.
const TITLE: usize = 80;

pub type Object = Map<String, Value>;

/// Names of frameworks, datasets and protocols are varchar(255).
const NAME: usize = 255;

/// Members of a framework, but its UUID, name and lists of objects.
pub const FRAMEWORK: [(&str, Form); 17] = [
    ("desc", Form::Text),
    ("start_date", Form::Date),
    ("end_date", Form::Date),
    ("initial_closing_date", Form::Timestamp),
    ("territorial_level", Form::Code("NIVEAU_TERRITORIAL")),
    ("territory_desc", Form::Text),
    ("keywords", Form::Text),
    ("target_description", Form::Text),
    ("ecologic_or_geologic_target", Form::Text),
    ("financing_type", Form::Code("TYPE_FINANCEMENT")),
    ("is_parent", Form::Boolean),
    ("parent_uuid", Form::Identifier),
    ("objectives", Form::Codes("CA_OBJECTIFS")),
    // One thing under the names of two generations of views.
    ("sinp_theme", Form::Codes("VOLET_SINP")),
    ("voletsinp", Form::Codes("VOLET_SINP")),
    ("territories", Form::Codes("TERRITOIRE")),
    ("additional_data", Form::Object),
];

/// Members of a dataset, but its UUID, name and lists of objects.
pub const DATASET: [(&str, Form); 17] = [
    ("desc", Form::Text),
    ("shortname", Form::Text),
    ("keywords", Form::Text),
    ("marine_domain", Form::Boolean),
    ("terrestrial_domain", Form::Boolean),
    ("data_type", Form::Code("DATA_TYP")),
    ("dataset_objectif", Form::Code("JDD_OBJECTIFS")),
    ("collecting_method", Form::Code("METHO_RECUEIL")),
    ("data_origin", Form::Code("DS_PUBLIQUE")),
    ("source_status", Form::Code("STATUT_SOURCE")),
    ("resource_type", Form::Code("RESOURCE_TYP")),
    ("territories", Form::Codes("TERRITOIRE")),
    ("bbox_west", Form::Number),
    ("bbox_east", Form::Number),
    ("bbox_south", Form::Number),
    ("bbox_north", Form::Number),
    ("additional_data", Form::Object),
];

/// Frameworks and datasets in one form; a dataset names its framework in `framework_uuid`.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    pub frameworks: BTreeMap<Uuid, Object>,
    pub datasets: BTreeMap<Uuid, Object>,
    /// What could not be read.
    pub warnings: BTreeSet<String>,
}

impl Metadata {
    /// Adds what a record says of its dataset; nothing when it does not identify it.
    pub fn add_reference(&mut self, reference: &DatasetReference) {
        let Some(uuid) = reference.uuid else { return };
        let mut dataset = self.parsed(reference.dataset.as_deref());
        complete(&mut dataset, "uuid", Some(written(&uuid)));
        complete(&mut dataset, "name", reference.name.clone());
        complete(
            &mut dataset,
            "actors",
            reference.actors.clone().filter(|actors| is_list(actors)),
        );
        let mut framework = self.parsed(reference.framework.as_deref());
        complete(
            &mut framework,
            "uuid",
            reference.framework_uuid.map(|uuid| written(&uuid)),
        );
        complete(&mut framework, "name", reference.framework_name.clone());
        self.add(&framework, vec![dataset]);
    }

    /// Adds an item of a metadata export: a framework, with its datasets in `datasets`.
    pub fn add_item(&mut self, item: &str) {
        let framework = self.parsed(Some(item));
        let datasets = framework.get("datasets").map(objects).unwrap_or_default();
        self.add(&framework, datasets);
    }

    pub fn is_empty(&self) -> bool {
        self.frameworks.is_empty() && self.datasets.is_empty()
    }

    /// Each framework with its datasets.
    pub fn by_framework(&self) -> impl Iterator<Item = Metadata> {
        let mut groups: BTreeMap<Option<Uuid>, Metadata> = BTreeMap::new();
        for (key, framework) in &self.frameworks {
            groups
                .entry(Some(*key))
                .or_default()
                .frameworks
                .insert(*key, framework.clone());
        }
        for (key, dataset) in &self.datasets {
            let framework = dataset
                .get("framework_uuid")
                .and_then(text)
                .and_then(|uuid| identifier(&uuid));
            groups
                .entry(framework)
                .or_default()
                .datasets
                .insert(*key, dataset.clone());
        }
        groups.into_values()
    }

    /// Each framework, then each dataset, alone.
    pub fn parts(self) -> impl Iterator<Item = Metadata> {
        let framework = |(key, framework)| Metadata {
            frameworks: BTreeMap::from([(key, framework)]),
            ..Metadata::default()
        };
        let dataset = |(key, dataset)| Metadata {
            datasets: BTreeMap::from([(key, dataset)]),
            ..Metadata::default()
        };
        self.frameworks
            .into_iter()
            .map(framework)
            .chain(self.datasets.into_iter().map(dataset))
    }

    /// What a person calls it: its first framework, else its first dataset.
    pub fn title(&self) -> String {
        let called = |what: &str, (key, object): (&Uuid, &Object)| title(what, key, object);
        let framework = self
            .frameworks
            .iter()
            .next()
            .map(|first| called("framework", first));
        framework
            .or_else(|| {
                self.datasets
                    .iter()
                    .next()
                    .map(|first| called("dataset", first))
            })
            .unwrap_or_default()
    }

    /// The objects in a list of all frameworks and datasets, each once by the UUID in `key`: `uuid` and these members,
    /// whose names may bear that of what they are about (`organism_name` becomes `name`). What comes first wins.
    pub fn nested(&self, list: &str, key: &str, members: &[&str]) -> BTreeMap<String, Object> {
        let mut found: BTreeMap<String, Object> = BTreeMap::new();
        let holders = self.frameworks.values().chain(self.datasets.values());
        for object in holders
            .filter_map(|holder| holder.get(list)?.as_array())
            .flatten()
        {
            let Some(uuid) = object.get(key).and_then(Value::as_str) else {
                continue;
            };
            let prefix = key.strip_suffix("uuid").unwrap_or_default();
            let said = members.iter().filter_map(|member| {
                Some((
                    member.strip_prefix(prefix).unwrap_or(member).to_string(),
                    object.get(*member)?.clone(),
                ))
            });
            let said = said.chain([("uuid".to_owned(), uuid.into())]).collect();
            merge(found.entry(uuid.to_owned()).or_default(), said);
        }
        found
    }

    fn parsed(&mut self, json: Option<&str>) -> Object {
        let Some(json) = json else {
            return Object::new();
        };
        match serde_json::from_str(json) {
            Ok(Value::Object(object)) => object,
            _ => {
                self.warnings
                    .insert("metadata that is not a JSON object was left out".to_owned());
                Object::new()
            }
        }
    }

    fn add(&mut self, framework: &Object, datasets: Vec<Object>) {
        let stated =
            uuid(framework).or_else(|| Some(derived("framework named", &name(framework)?)));
        if let Some(key) = stated {
            let found = self.framework(&key, framework);
            merge(self.frameworks.entry(key).or_default(), found);
        }
        for dataset in datasets {
            let Some(key) = uuid(&dataset) else {
                self.warnings.insert(format!(
                    "dataset \"{}\" has no UUID and was left out",
                    name(&dataset).unwrap_or_default()
                ));
                continue;
            };
            let framework = stated.unwrap_or_else(|| self.framework_of(&key, &dataset));
            let found = self.dataset(&key, &dataset);
            let known = self.datasets.entry(key).or_default();
            merge(known, found);
            if stated.is_some() || !known.contains_key("framework_uuid") {
                known.insert("framework_uuid".to_owned(), written(&framework).into());
                known.insert("framework_stated".to_owned(), stated.is_some().into());
            }
        }
    }

    /// A dataset must have a framework. One that comes without gets its own, the same at each run: its UUID is made
    /// from the dataset's. A later run that names the true one moves the dataset there.
    fn framework_of(&mut self, key: &Uuid, dataset: &Object) -> Uuid {
        let framework = derived("framework of dataset", &written(key));
        let title = format!(
            "Données moissonnées — {}",
            name(dataset).unwrap_or_else(|| written(key))
        );
        let mut found = Object::new();
        complete(&mut found, "uuid", Some(written(&framework)));
        complete(&mut found, "only_for", Some(written(key)));
        put_name(&mut found, Some(title));
        merge(self.frameworks.entry(framework).or_default(), found);
        framework
    }

    fn framework(&mut self, key: &Uuid, said: &Object) -> Object {
        let mut found = self.members(key, said, "framework", &FRAMEWORK);
        if let Some(Value::Array(themes)) = found.remove("voletsinp") {
            merge(
                &mut found,
                Object::from_iter([("sinp_theme".to_owned(), Value::Array(themes))]),
            );
        }
        if found.get("parent_uuid") == found.get("uuid") {
            found.insert("parent_uuid".to_owned(), Value::Null);
        }
        if let Some(publications) = said.get("publications") {
            found.insert(
                "publications".to_owned(),
                list(publications_of(publications)),
            );
        }
        found
    }

    fn dataset(&mut self, key: &Uuid, said: &Object) -> Object {
        let mut found = self.members(key, said, "dataset", &DATASET);
        if let Some(short) = found
            .get("shortname")
            .and_then(Value::as_str)
            .map(|name| fitted(name, NAME))
        {
            found.insert("shortname".to_owned(), short.into());
        }
        if let Some(protocols) = said.get("protocols") {
            found.insert(
                "protocols".to_owned(),
                list(objects(protocols).iter().filter_map(protocol)),
            );
        }
        found
    }

    /// What frameworks and datasets have in common: UUID, name, plain members, actors.
    fn members(
        &mut self,
        key: &Uuid,
        said: &Object,
        what: &str,
        members: &[(&str, Form)],
    ) -> Object {
        let title = title(what, key, said);
        let mut found = Object::new();
        for (member, form) in members {
            match said.get(*member).map(|value| form.read(value)) {
                None => {}
                Some(Some(value)) => drop(found.insert((*member).to_owned(), value)),
                Some(None) => drop(
                    self.warnings
                        .insert(format!("{title}: {member} cannot be read")),
                ),
            }
        }
        found.insert("uuid".to_owned(), written(key).into());
        put_name(&mut found, name(said));
        if let Some(actors) = said.get("actors") {
            let (read, flaws): (Vec<_>, Vec<_>) = objects(actors)
                .iter()
                .map(actor::read)
                .partition(Result::is_ok);
            found.insert("actors".to_owned(), list(read.into_iter().flatten()));
            self.warnings.extend(
                flaws
                    .into_iter()
                    .filter_map(Result::err)
                    .map(|flaw| format!("{title}: {flaw} was left out")),
            );
        }
        found
    }
}

/// The codes in an object, with their types of nomenclature.
pub fn codes<'o>(
    object: &'o Object,
    members: &'static [(&'static str, Form)],
) -> impl Iterator<Item = (&'static str, &'o str)> {
    members.iter().flat_map(|(member, form)| {
        let values: &[Value] = match object.get(*member) {
            Some(Value::Array(values)) => values,
            Some(value) => std::slice::from_ref(value),
            None => &[],
        };
        let nomenclature = match form {
            Form::Code(nomenclature) | Form::Codes(nomenclature) => Some(*nomenclature),
            _ => None,
        };
        values
            .iter()
            .filter_map(move |value| Some((nomenclature?, value.as_str()?)))
    })
}

fn title(what: &str, key: &Uuid, object: &Object) -> String {
    let name = name(object).unwrap_or_else(|| written(key));
    format!("{what} \"{}\"", fitted(&name, TITLE))
}

/// Sets a name that fits its column. The whole of one that had to be cut opens the description.
fn put_name(found: &mut Object, name: Option<String>) {
    let Some(name) = name else { return };
    let fitting = fitted(&name, NAME);
    if fitting != name {
        let description = match found.get("desc").and_then(Value::as_str) {
            Some(description) if !description.starts_with(&name) => {
                format!("{name}\n\n{description}")
            }
            Some(description) => description.to_owned(),
            None => name,
        };
        found.insert("desc".to_owned(), description.into());
    }
    found.insert("name".to_owned(), fitting.into());
}

/// A publication may be its reference alone. One without a UUID is known by what it says.
fn publications_of(said: &Value) -> impl Iterator<Item = Object> {
    super::form::members(said)
        .into_iter()
        .filter_map(|publication| {
            let (reference, url, key) = match &publication {
                Value::Object(object) => (
                    object.get("reference").and_then(text),
                    object.get("url").and_then(text),
                    uuid(object),
                ),
                other => (text(other), None, None),
            };
            let reference = reference.or_else(|| url.clone())?;
            let key = key.unwrap_or_else(|| {
                derived(
                    "publication",
                    &format!("{reference}\n{}", url.as_deref().unwrap_or_default()),
                )
            });
            let mut found = Object::new();
            found.insert("uuid".to_owned(), written(&key).into());
            found.insert("reference".to_owned(), reference.into());
            found.insert("url".to_owned(), url.into());
            Some(found)
        })
}

fn protocol(said: &Object) -> Option<Object> {
    let name = name(said)?;
    let key = uuid(said).unwrap_or_else(|| derived("protocol", &name));
    let url = said
        .get("url")
        .and_then(text)
        .filter(|url| url.chars().count() <= NAME);
    let mut found = Object::new();
    found.insert("desc".to_owned(), said.get("desc").and_then(text).into());
    put_name(&mut found, Some(name));
    found.insert("uuid".to_owned(), written(&key).into());
    found.insert(
        "type".to_owned(),
        said.get("type").and_then(super::form::code).into(),
    );
    found.insert("url".to_owned(), url.into());
    Some(found)
}

/// Takes what `from` says and `into` does not; lists are put together.
fn merge(into: &mut Object, from: Object) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Array(known)), Value::Array(more)) => {
                for member in more {
                    if !known.contains(&member) {
                        known.push(member);
                    }
                }
            }
            (Some(known @ Value::Null), value) => *known = value,
            (Some(_), _) => {}
            (None, value) => drop(into.insert(key, value)),
        }
    }
}

/// Sets a member that is absent or null.
fn complete(object: &mut Object, key: &str, value: Option<String>) {
    if let Some(value) = value
        && object.get(key).is_none_or(Value::is_null)
    {
        object.insert(key.to_owned(), value.into());
    }
}

fn list(members: impl Iterator<Item = Object>) -> Value {
    let mut list: Vec<Value> = Vec::new();
    for member in members.map(Value::Object) {
        if !list.contains(&member) {
            list.push(member);
        }
    }
    Value::Array(list)
}

/// `jdd_acteurs` is a list in one usual view, a sentence in the other.
fn is_list(actors: &str) -> bool {
    actors.trim_start().starts_with('[')
}

fn uuid(object: &Object) -> Option<Uuid> {
    identifier(text(object.get("uuid")?)?.trim())
}

fn name(object: &Object) -> Option<String> {
    text(object.get("name")?)
}
