//! Actors of frameworks and datasets, from the two ways in which exports write them, to one. Pure.

use serde_json::{Map, Value};

use super::form::{code, derived, fitted, identifier, text, written};

/// Lengths of their columns in utilisateurs.bib_organismes and utilisateurs.t_roles.
const ORGANISM_NAME: usize = 500;
const ORGANISM_EMAIL: usize = 100;
const PERSON_NAME: usize = 50;
const PERSON_EMAIL: usize = 250;

type Object = Map<String, Value>;

/// An actor as `actors_wanted.sql`, `organisms.sql` and `persons.sql` read it: `role` (a code of ROLE_ACTEUR) and
/// what is known of `organism_uuid`, `organism_name`, `organism_email`, `named`, `person_uuid`, `person_name`,
/// `person_first_name`, `person_email`. `named`: the organism has a name only, which identifies it.
/// The error says why it cannot be written.
pub fn read(actor: &Object) -> Result<Object, &'static str> {
    let detailed = ["uuid_actor", "identity", "cd_nomenclature_actor_role"]
        .iter()
        .any(|key| actor.contains_key(*key));
    let (role, mut found) = if detailed {
        read_detailed(actor)
    } else {
        read_listed(actor)
    };
    if !found.contains_key("organism_uuid") && !found.contains_key("person_uuid") {
        return Err("an actor with neither identifier nor organism name");
    }
    found.insert(
        "role".to_owned(),
        role.ok_or("an actor without a role")?.into(),
    );
    Ok(found)
}

/// `{type_role, uuid_actor, cd_nomenclature_actor_role, identity, email}`, in `jdd_data`, `ca_data` and the metadata
/// export. Its view puts nom_role, the family name, in `first_name`, and prenom_role in `last_name`: the recorded
/// answers have first_name "Lefèvre8" and last_name "Jean-René", where the stock view says "Lefèvre8 Jean-René".
fn read_detailed(actor: &Object) -> (Option<String>, Object) {
    let nothing = Object::new();
    let identity = actor
        .get("identity")
        .and_then(Value::as_object)
        .unwrap_or(&nothing);
    let kind = member(actor, "type_role").unwrap_or_default();
    let person = kind == "role" || kind != "organism" && identity.contains_key("last_name");
    let (uuid, email) = (member(actor, "uuid_actor"), member(actor, "email"));
    let mut found = Object::new();
    if person {
        put_person(
            &mut found,
            uuid,
            member(identity, "first_name"),
            member(identity, "last_name"),
            email,
        );
    } else {
        put_organism(&mut found, uuid, member(identity, "organism_name"), email);
    }
    (
        actor.get("cd_nomenclature_actor_role").and_then(code),
        found,
    )
}

/// `{uuid_organism, nom_organisme, uuid_role, nom_role, type_role}`, in `jdd_acteurs`; `type_role` is the code.
fn read_listed(actor: &Object) -> (Option<String>, Object) {
    let mut found = Object::new();
    let [organism, person] = [member(actor, "uuid_organism"), member(actor, "uuid_role")];
    put_organism(&mut found, organism, member(actor, "nom_organisme"), None);
    put_person(
        &mut found,
        person,
        member(actor, "nom_role"),
        member(actor, "prenom_role"),
        member(actor, "email"),
    );
    (actor.get("type_role").and_then(code), found)
}

fn member(object: &Object, key: &str) -> Option<String> {
    object.get(key).and_then(text)
}

fn put_organism(
    found: &mut Object,
    uuid: Option<String>,
    name: Option<String>,
    email: Option<String>,
) {
    let uuid = uuid.and_then(|uuid| identifier(uuid.trim()));
    let Some(key) = uuid.or_else(|| name.as_deref().map(|name| derived("organism", name))) else {
        return;
    };
    put(found, "organism_uuid", Some(written(&key)));
    put(
        found,
        "organism_name",
        name.map(|name| fitted(&name, ORGANISM_NAME)),
    );
    put(found, "organism_email", short(email, ORGANISM_EMAIL));
    found.insert("named".to_owned(), uuid.is_none().into());
}

fn put_person(
    found: &mut Object,
    uuid: Option<String>,
    name: Option<String>,
    first_name: Option<String>,
    email: Option<String>,
) {
    let Some(uuid) = uuid.and_then(|uuid| identifier(uuid.trim())) else {
        return;
    };
    put(found, "person_uuid", Some(written(&uuid)));
    put(
        found,
        "person_name",
        name.map(|name| fitted(&name, PERSON_NAME)),
    );
    put(
        found,
        "person_first_name",
        first_name.map(|name| fitted(&name, PERSON_NAME)),
    );
    put(found, "person_email", short(email, PERSON_EMAIL));
}

fn put(found: &mut Object, key: &str, value: Option<String>) {
    if let Some(value) = value {
        found.insert(key.to_owned(), value.into());
    }
}

/// An e-mail address cut in two is none.
fn short(email: Option<String>, room: usize) -> Option<String> {
    email.filter(|email| email.chars().count() <= room)
}
