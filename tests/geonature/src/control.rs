//! What a test may do to the partner, from Rust or over `/_simulator/`: change its data, its
//! settings and its manners, and ask what is true.

use serde_json::{Map, Value};

use crate::clock::{Clock, timestamp};
use crate::faults::Rule;
use crate::observation::Observation;
use crate::state::{Cost, Partner, Shared};
use crate::statistics::Statistics;
use crate::truth;
use crate::views::{Export, Kind};

pub type Outcome<T> = Result<T, String>;

/// In an update, leaves `derniere_action` as it was: the partner's clock says nothing.
const SILENT: &str = "_silent";

/// The outside of an export: its columns, its key, whether it is a FeatureCollection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub columns: Vec<String>,
    pub key: String,
    pub geojson: bool,
}

impl Shared {
    /// The partner's local time, as it would write it now.
    pub fn now(&self) -> String {
        timestamp(self.partner().clock.local())
    }

    pub fn count(&self) -> usize {
        self.partner().store.len()
    }

    /// The keys of all observations, in order.
    pub fn ids(&self) -> Vec<i64> {
        let partner = self.partner();
        (0..partner.store.len())
            .map(|position| partner.store.id(position))
            .collect()
    }

    /// The full state of an observation (the names are those of the exports).
    pub fn observation(&self, id: i64) -> Option<Value> {
        let partner = self.partner();
        Some(truth::of(&partner, &partner.store.find(id)?))
    }

    /// The full state of all observations, in order of their keys.
    pub fn truth(&self) -> Vec<Value> {
        let partner = self.partner();
        let of = |position| truth::of(&partner, &partner.store.observation(position));
        (0..partner.store.len()).map(of).collect()
    }

    /// Frameworks with their datasets, each actor once.
    pub fn metadata_truth(&self) -> Vec<Value> {
        self.partner().metadata.truth()
    }

    /// Adds an observation: a plausible one, with the given values in place of its own. Its key
    /// is the next one and its dates are now, unless told. Returns the key.
    pub fn insert(&self, values: &Value) -> Outcome<i64> {
        let values = values
            .as_object()
            .ok_or("an observation is a JSON object")?;
        let partner = &mut *self.partner_mut();
        let now = partner.clock.local();
        let id = values.get("id_synthese").and_then(Value::as_i64);
        let id = id.unwrap_or_else(|| partner.store.next_id());
        if partner.store.position(id).is_some() {
            return Err(format!("there is an observation {id}"));
        }
        let mut row = partner.store.plausible(id, now);
        set_all(partner, &mut row, values)?;
        if let Some(told) = row.modified.take() {
            row.created = told;
        }
        partner.store.put(row);
        Ok(id)
    }

    /// Changes an observation. `derniere_action` becomes the partner's now unless it is among
    /// the values or `"_silent": true` is. `id_synthese` may change too.
    pub fn update(&self, id: i64, values: &Value) -> Outcome<()> {
        let now = self.partner().clock.local();
        self.update_at(&mut self.partner_mut(), id, values, now)
    }

    /// Changes many observations as one statement does, all at the same moment.
    pub fn update_many(&self, ids: &[i64], values: &Value) -> Outcome<()> {
        let partner = &mut *self.partner_mut();
        let now = partner.clock.local();
        ids.iter()
            .try_for_each(|id| self.update_at(partner, *id, values, now))
    }

    fn update_at(&self, partner: &mut Partner, id: i64, values: &Value, now: i64) -> Outcome<()> {
        let values = values.as_object().ok_or("a change is a JSON object")?;
        let mut row = partner
            .store
            .find(id)
            .ok_or_else(|| format!("no observation {id}"))?;
        if values.get(SILENT) != Some(&Value::Bool(true)) {
            row.modified = Some(now);
        }
        set_all(partner, &mut row, values)?;
        if row.id != id {
            if partner.store.position(row.id).is_some() {
                return Err(format!("there is an observation {}", row.id));
            }
            partner.store.remove_silently(id);
        }
        partner.store.put(row);
        Ok(())
    }

    /// Deletes observations as one statement does: one date in the log. Returns how many.
    pub fn delete(&self, ids: &[i64]) -> usize {
        let partner = &mut *self.partner_mut();
        let now = partner.clock.local();
        partner.store.delete(ids, now)
    }

    /// Deletes observations without a trace in the log.
    pub fn delete_silently(&self, ids: &[i64]) -> usize {
        let partner = &mut *self.partner_mut();
        ids.iter()
            .filter(|id| partner.store.remove_silently(**id))
            .count()
    }

    /// Replaces members of a framework's `ca_data`.
    pub fn patch_framework(&self, uuid: &str, values: &Value) -> Outcome<()> {
        let values = object(values)?;
        let metadata = &mut self.partner_mut().metadata;
        let at = metadata
            .framework_by_uuid(uuid)
            .ok_or_else(|| format!("no framework {uuid}"))?;
        metadata.patch_framework(at, values);
        Ok(())
    }

    /// Replaces members of a dataset's `jdd_data`; `ca_uuid` moves it to another framework.
    pub fn patch_dataset(&self, uuid: &str, values: &Value) -> Outcome<()> {
        let mut values = object(values)?.clone();
        let metadata = &mut self.partner_mut().metadata;
        let at = metadata
            .dataset_by_uuid(uuid)
            .ok_or_else(|| format!("no dataset {uuid}"))?;
        if let Some(framework) = values.remove("ca_uuid") {
            let framework = framework
                .as_str()
                .and_then(|uuid| metadata.framework_by_uuid(uuid));
            metadata.move_dataset(at, framework.ok_or("no such framework")?);
        }
        metadata.patch_dataset(at, &values);
        Ok(())
    }

    /// Adds a framework like the first one, with these members of its own (`uuid` and `name`
    /// at least).
    pub fn add_framework(&self, values: &Value) -> Outcome<()> {
        let values = object(values)?;
        values.get("uuid").ok_or("a framework needs a uuid")?;
        self.partner_mut().metadata.add_framework(values);
        Ok(())
    }

    /// Adds a dataset like the first one, with these members of its own (`uuid` and `name` at
    /// least), to the framework `ca_uuid`.
    pub fn add_dataset(&self, values: &Value) -> Outcome<()> {
        let mut values = object(values)?.clone();
        values.get("uuid").ok_or("a dataset needs a uuid")?;
        let metadata = &mut self.partner_mut().metadata;
        let framework = values.remove("ca_uuid");
        let framework = framework.as_ref().and_then(Value::as_str);
        let at = framework.and_then(|uuid| metadata.framework_by_uuid(uuid));
        metadata.add_dataset(
            at.ok_or("a dataset needs the ca_uuid of a framework")?,
            &values,
        );
        Ok(())
    }

    /// Takes an actor from a framework or dataset. Returns how many entries it had there.
    pub fn remove_actor(&self, of: &str, actor: &str) -> Outcome<usize> {
        let mut removed = 0;
        self.change_actors(of, |actors| {
            let before = actors.len();
            actors.retain(|entry| entry["uuid_actor"] != actor);
            removed = before - actors.len();
        })?;
        Ok(removed)
    }

    /// Adds an actor to a framework or dataset.
    pub fn add_actor(&self, of: &str, actor: &Value) -> Outcome<()> {
        self.change_actors(of, |actors| actors.push(actor.clone()))
    }

    fn change_actors(&self, of: &str, change: impl FnOnce(&mut Vec<Value>)) -> Outcome<()> {
        let metadata = &mut self.partner_mut().metadata;
        let (framework, dataset) = (metadata.framework_by_uuid(of), metadata.dataset_by_uuid(of));
        let data = match (framework, dataset) {
            (Some(at), _) => &metadata.frameworks[at].data,
            (_, Some(at)) => &metadata.datasets[at].data,
            _ => return Err(format!("no framework or dataset {of}")),
        };
        let mut actors = data["actors"].as_array().cloned().unwrap_or_default();
        change(&mut actors);
        let patch = Map::from_iter([("actors".to_owned(), Value::Array(actors))]);
        match (framework, dataset) {
            (Some(at), _) => metadata.patch_framework(at, &patch),
            (_, Some(at)) => metadata.patch_dataset(at, &patch),
            _ => {}
        }
        Ok(())
    }

    /// Sets the partner's clock, in seconds ahead of the true time and east of UTC.
    pub fn set_clock(&self, offset_seconds: i64, timezone_seconds: i64) {
        self.partner_mut().clock = Clock {
            offset_seconds,
            timezone_seconds,
        };
    }

    /// Sets the greatest page that the administrator allows.
    pub fn set_cap(&self, cap: usize) {
        self.partner_mut().cap = cap;
    }

    /// Sets what a page costs, in seconds.
    pub fn set_cost(&self, seconds_per_request: f64, seconds_per_row: f64) {
        self.partner_mut().cost = Cost {
            seconds_per_request,
            seconds_per_row,
        };
    }

    pub fn set_password(&self, login: &str, password: &str) {
        self.partner_mut()
            .passwords
            .insert(login.to_owned(), password.to_owned());
    }

    pub fn set_token(&self, export: u32, token: &str) {
        self.partner_mut().tokens.insert(export, token.to_owned());
    }

    pub fn token(&self, export: u32) -> Option<String> {
        self.partner().tokens.get(&export).cloned()
    }

    fn change_export<T>(
        &self,
        id: u32,
        change: impl FnOnce(&mut Export) -> Outcome<T>,
    ) -> Outcome<T> {
        let mut partner = self.partner_mut();
        change(
            partner
                .exports
                .get_mut(&id)
                .ok_or_else(|| format!("no export {id}"))?,
        )
    }

    /// What an export shows.
    pub fn view(&self, export: u32) -> Option<View> {
        let partner = self.partner();
        let export = partner.exports.get(&export)?;
        Some(View {
            columns: export
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect(),
            key: export.key.clone(),
            geojson: export.geometry,
        })
    }

    pub fn drop_column(&self, export: u32, name: &str) -> Outcome<()> {
        self.change_export(export, |export| export.drop_column(name))
    }

    pub fn rename_column(&self, export: u32, from: &str, to: &str) -> Outcome<()> {
        self.change_export(export, |export| export.rename_column(from, to))
    }

    /// Adds a column: one that the usual views have when `value` is `None`, else a constant of
    /// the kind `integer`, `float`, `timestamp`, `date`, `text`, `uuid` or `json`.
    pub fn add_column(
        &self,
        export: u32,
        name: &str,
        value: Option<(&Value, &str)>,
    ) -> Outcome<()> {
        let constant = match value {
            None => None,
            Some((value, kind)) => {
                let kind = Kind::named(kind).ok_or_else(|| format!("no kind of column {kind}"))?;
                Some((crate::json::text(value), kind))
            }
        };
        self.change_export(export, |export| export.add_column(name, constant))
    }

    /// Makes a view show an observation once more.
    pub fn duplicate(&self, export: u32, id: i64) -> Outcome<()> {
        self.change_export(export, |export| {
            *export.duplicates.entry(id).or_default() += 1;
            Ok(())
        })
    }

    /// Makes a view show each of its rows once again.
    pub fn remove_duplicates(&self, export: u32) -> Outcome<()> {
        self.change_export(export, |export| {
            export.duplicates.clear();
            Ok(())
        })
    }

    /// Takes observations out of a view; they stay in the synthesis.
    pub fn hide(&self, export: u32, ids: &[i64]) -> Outcome<()> {
        self.change_export(export, |export| {
            export.hidden.extend(ids);
            Ok(())
        })
    }

    pub fn show(&self, export: u32, ids: &[i64]) -> Outcome<()> {
        self.change_export(export, |export| {
            export.hidden.retain(|id| !ids.contains(id));
            Ok(())
        })
    }

    /// Replaces the JSON of one value in every export, as it is: it need not be of the right
    /// type, or even JSON. `None` leaves the column out of that record. The column `geometry`
    /// is the one of a GeoJSON feature.
    pub fn tamper(&self, id: i64, column: &str, json: Option<&str>) {
        let mut partner = self.partner_mut();
        let columns = partner.tampered.entry(id).or_default();
        columns.insert(column.to_owned(), json.map(str::to_owned));
    }

    /// The record tells the truth again.
    pub fn mend(&self, id: i64) {
        self.partner_mut().tampered.remove(&id);
    }

    pub fn mend_all(&self) {
        self.partner_mut().tampered.clear();
    }

    pub fn add_fault(&self, rule: Rule) {
        self.faults().push(rule);
    }

    pub fn set_faults(&self, rules: Vec<Rule>) {
        *self.faults() = rules;
    }

    /// How often each fault has been injected.
    pub fn faults_applied(&self) -> Vec<u64> {
        self.faults().iter().map(|rule| rule.applied).collect()
    }

    pub fn clear_faults(&self) {
        self.faults().clear();
    }

    /// Every session and JWT expires now.
    pub fn forget_sessions(&self) {
        self.sessions().forget();
    }

    /// The scheduled files are written afresh when they are next asked for.
    pub fn publish_files(&self) {
        self.files.forget();
    }

    pub fn figures(&self) -> Statistics {
        self.statistics().clone()
    }

    pub fn clear_figures(&self) {
        self.statistics().clear();
    }
}

fn object(value: &Value) -> Outcome<&Map<String, Value>> {
    value
        .as_object()
        .ok_or_else(|| "a change is a JSON object".to_owned())
}

fn set_all(
    partner: &mut Partner,
    row: &mut Observation,
    values: &Map<String, Value>,
) -> Outcome<()> {
    for (column, value) in values {
        match column.as_str() {
            SILENT => {}
            "id_synthese" => row.id = value.as_i64().ok_or("id_synthese: expected an integer")?,
            "jdd_uuid" => {
                let dataset = value
                    .as_str()
                    .and_then(|uuid| partner.metadata.dataset_by_uuid(uuid));
                row.dataset = dataset.ok_or_else(|| format!("no dataset {value}"))?;
            }
            _ => row.set(column, value, &mut partner.nomenclatures)?,
        }
    }
    Ok(())
}
