//! What a request asks of an export: its filters, order and page, with the real server's
//! own idea of which mistakes are refused (400), which break it (500) and which pass.

use std::cmp::Ordering;
use std::ops::Range;

use crate::clock::parse_timestamp;
use crate::geometry::{Envelope, Geometry, overlap};
use crate::observation::Observation;
use crate::random::{parse_uuid, uuid_text};
use crate::render::Renderer;
use crate::store::Store;
use crate::views::{Export, Field, Kind, Rows};

/// The real server's page when `limit` is absent or no number.
const DEFAULT_LIMIT: i64 = 1000;

#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// 400, with this description.
    BadRequest(String),
    /// 500.
    Broken,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Null,
    Number(f64),
    Integer(i64),
    Moment(i64),
    Text(String),
}

impl Scalar {
    /// In the order of PostgreSQL: nulls last.
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Greater,
            (_, Self::Null) => Ordering::Less,
            (Self::Integer(a), Self::Integer(b)) | (Self::Moment(a), Self::Moment(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (a, b) => a
                .number()
                .partial_cmp(&b.number())
                .unwrap_or(Ordering::Equal),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Integer(number) | Self::Moment(number) => *number as f64,
            _ => f64::NAN,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    AtLeast,
    AtMost,
    Equal,
}

#[derive(Debug, PartialEq)]
pub struct Condition {
    field: Field,
    comparison: Comparison,
    value: Scalar,
}

#[derive(Debug)]
pub struct PageRequest {
    /// `None`: no limit at all.
    pub limit: Option<usize>,
    pub page: usize,
    order: Option<(Field, bool)>,
    conditions: Vec<Condition>,
    envelope: Option<Envelope>,
    item_conditions: Vec<(String, String)>,
}

impl PageRequest {
    /// Reads the parameters of a request. `cap` is the administrator's greatest page.
    pub fn read(
        parameters: &[(String, String)],
        export: &Export,
        cap: usize,
    ) -> Result<Self, Refusal> {
        let number = |name: &str| {
            let value = first(parameters, name)?;
            value.trim().parse::<i64>().ok()
        };
        let limit = number("limit").unwrap_or(DEFAULT_LIMIT);
        let page = number("offset").unwrap_or(0);
        if limit < 0 || page < 0 {
            return Err(Refusal::Broken);
        }
        let mut request = Self {
            limit: (limit > 0).then_some((limit as usize).min(cap)),
            page: page as usize,
            order: None,
            conditions: Vec::new(),
            envelope: None,
            item_conditions: Vec::new(),
        };
        let items = export.rows == Rows::Frameworks;
        for (name, value) in parameters {
            match name.as_str() {
                "limit" | "offset" | "token" => {}
                "orderby" => {
                    if request.order.is_none() {
                        request.order = Some(read_order(value, export)?);
                    }
                }
                _ if items && !name.starts_with("filter_") => {
                    request.item_conditions.push((name.clone(), value.clone()));
                }
                "geometry" => request.envelope = Some(read_envelope(value, export)?),
                _ => request
                    .conditions
                    .extend(read_condition(name, value, export)?),
            }
        }
        Ok(request)
    }

    /// Whether an item that is no observation passes: only equality is asked of it.
    pub fn wants_item(&self, item: &serde_json::Value) -> bool {
        self.item_conditions.iter().all(|(name, value)| {
            item.get(name).is_none_or(|member| {
                member
                    .as_str()
                    .map_or_else(|| member.to_string(), str::to_owned)
                    == *value
            })
        })
    }

    /// Where the page starts in the filtered rows.
    pub fn start(&self) -> usize {
        self.limit
            .map_or(0, |limit| self.page.saturating_mul(limit))
    }
}

pub fn first<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn read_order(value: &str, export: &Export) -> Result<(Field, bool), Refusal> {
    let (name, direction) = value.split_once(':').unwrap_or((value, "asc"));
    match export.column(name) {
        Some(column) => Ok((column.field.clone(), direction.eq_ignore_ascii_case("desc"))),
        None => Err(Refusal::BadRequest(format!(
            "No column name {name} to sort with"
        ))),
    }
}

fn read_envelope(value: &str, export: &Export) -> Result<Envelope, Refusal> {
    let geometry = Geometry::parse_wkt(value).filter(|_| export.geometry);
    geometry
        .map(|geometry| geometry.envelope())
        .ok_or(Refusal::Broken)
}

fn read_condition(name: &str, value: &str, export: &Export) -> Result<Option<Condition>, Refusal> {
    const PREFIXES: [(&str, Comparison); 5] = [
        ("filter_n_up_", Comparison::AtLeast),
        ("filter_n_lo_", Comparison::AtMost),
        ("filter_d_up_", Comparison::AtLeast),
        ("filter_d_lo_", Comparison::AtMost),
        ("filter_d_eq_", Comparison::Equal),
    ];
    for (prefix, comparison) in PREFIXES {
        let Some(column) = name.strip_prefix(prefix) else {
            continue;
        };
        let field = export.column(column).ok_or(Refusal::Broken)?.field.clone();
        let read = if prefix.starts_with("filter_n_") {
            numeric(value, &field)
        } else {
            dated(value, &field)
        };
        return Ok(read?.map(|value| Condition {
            field,
            comparison,
            value,
        }));
    }
    if name.starts_with("filter_") {
        return Err(Refusal::Broken);
    }
    // An unknown name is passed over: a typing mistake returns everything.
    let Some(column) = export.column(name) else {
        return Ok(None);
    };
    let value = equal_to(value, &column.field)?;
    Ok(Some(Condition {
        field: column.field.clone(),
        comparison: Comparison::Equal,
        value,
    }))
}

fn numeric(value: &str, field: &Field) -> Result<Option<Scalar>, Refusal> {
    let number: f64 = value.trim().parse().map_err(|_| Refusal::Broken)?;
    match field.kind() {
        Kind::Integer | Kind::Float => Ok(Some(Scalar::Number(number))),
        _ => Err(Refusal::Broken),
    }
}

fn dated(value: &str, field: &Field) -> Result<Option<Scalar>, Refusal> {
    match field.kind() {
        Kind::Timestamp => Ok(Some(Scalar::Moment(
            parse_timestamp(value).ok_or(Refusal::Broken)?,
        ))),
        Kind::Integer => Ok(Some(Scalar::Integer(
            value.trim().parse().map_err(|_| Refusal::Broken)?,
        ))),
        // Columns of dates without time are not filtered, and nothing says so.
        _ => Ok(None),
    }
}

fn equal_to(value: &str, field: &Field) -> Result<Scalar, Refusal> {
    Ok(match field.kind() {
        Kind::Integer => Scalar::Integer(value.trim().parse().map_err(|_| Refusal::Broken)?),
        Kind::Float => Scalar::Number(value.trim().parse().map_err(|_| Refusal::Broken)?),
        Kind::Timestamp => Scalar::Moment(parse_timestamp(value).ok_or(Refusal::Broken)?),
        Kind::Uuid => Scalar::Text(uuid_text(parse_uuid(value).ok_or(Refusal::Broken)?)),
        Kind::Json => return Err(Refusal::Broken),
        Kind::Text | Kind::Date => Scalar::Text(value.to_owned()),
    })
}

/// The rows that a request is about, in its order: positions in the store.
#[derive(Debug)]
pub enum Selection {
    Window(Range<usize>),
    List(Vec<usize>),
}

impl Selection {
    pub fn len(&self) -> usize {
        match self {
            Self::Window(window) => window.len(),
            Self::List(list) => list.len(),
        }
    }

    /// The positions of a page.
    pub fn page(&self, start: usize, limit: Option<usize>) -> Vec<usize> {
        let start = start.min(self.len());
        let end = limit.map_or(self.len(), |limit| {
            start.saturating_add(limit).min(self.len())
        });
        match self {
            Self::Window(window) => (window.start + start..window.start + end).collect(),
            Self::List(list) => list[start..end].to_vec(),
        }
    }
}

/// How many rows the view shows.
pub fn total(store: &Store, export: &Export) -> usize {
    let there = |id: &&i64| store.position(**id).is_some();
    let hidden = export.hidden.iter().filter(there).count();
    let twice = export
        .duplicates
        .iter()
        .filter(|(id, _)| store.position(**id).is_some() && !export.hidden.contains(id));
    store.len() - hidden + twice.map(|(_, times)| times).sum::<usize>()
}

/// Finds the rows of a request. Conditions on the key and on `derniere_action` cost little;
/// the others make every row of the window.
pub fn select(store: &Store, renderer: &Renderer<'_>, request: &PageRequest) -> Selection {
    let export = renderer.export;
    let (on_key, rest): (Vec<&Condition>, Vec<&Condition>) = request
        .conditions
        .iter()
        .partition(|condition| condition.field == Field::Key);
    let window = key_window(store, &on_key);
    let ordered_by_key = match &request.order {
        None => export
            .column(&export.key)
            .is_some_and(|column| column.field == Field::Key),
        Some((field, descending)) => *field == Field::Key && !descending,
    };
    if rest.is_empty() && request.envelope.is_none() && ordered_by_key && export.shows_all_once() {
        return Selection::Window(window);
    }
    let (quick, slow): (Vec<&Condition>, Vec<&Condition>) = rest
        .into_iter()
        .partition(|condition| condition.field == Field::LastAction);
    let slow = Slow {
        conditions: slow,
        envelope: request.envelope,
    };
    let mut list = Vec::new();
    for position in window {
        let last_action = Scalar::Moment(store.last_action(position));
        let passes = quick.iter().all(|condition| holds(condition, &last_action));
        if !passes || !slow.passes(store, renderer, position) {
            continue;
        }
        let id = store.id(position);
        if !export.hidden.contains(&id) {
            list.push(position);
            let more = export.duplicates.get(&id).copied().unwrap_or(0);
            list.extend(std::iter::repeat_n(position, more));
        }
    }
    if !ordered_by_key {
        let default = export
            .column(&export.key)
            .map(|column| (column.field.clone(), false));
        if let Some((field, descending)) = request.order.clone().or(default) {
            sort(store, renderer, &mut list, &field, descending);
        }
    }
    Selection::List(list)
}

fn key_window(store: &Store, conditions: &[&Condition]) -> Range<usize> {
    let (mut low, mut high) = (i64::MIN, i64::MAX);
    for condition in conditions {
        let number = condition.value.number();
        if condition.comparison != Comparison::AtMost {
            low = low.max(number.ceil() as i64);
        }
        if condition.comparison != Comparison::AtLeast {
            high = high.min(number.floor() as i64);
        }
    }
    store.window(low, high)
}

/// What can only be told from the whole row.
struct Slow<'a> {
    conditions: Vec<&'a Condition>,
    envelope: Option<Envelope>,
}

impl Slow<'_> {
    fn passes(&self, store: &Store, renderer: &Renderer<'_>, position: usize) -> bool {
        if self.conditions.is_empty() && self.envelope.is_none() {
            return true;
        }
        let row = store.observation(position);
        let inside = self.envelope.is_none_or(|envelope| {
            row.geometry
                .as_ref()
                .is_some_and(|geometry| overlap(&geometry.envelope(), &envelope))
        });
        let value = |condition: &Condition| scalar(renderer, &row, &condition.field);
        inside
            && self
                .conditions
                .iter()
                .all(|condition| holds(condition, &value(condition)))
    }
}

fn holds(condition: &Condition, value: &Scalar) -> bool {
    if *value == Scalar::Null {
        return false;
    }
    match condition.comparison {
        Comparison::AtLeast => value.order(&condition.value) != Ordering::Less,
        Comparison::AtMost => value.order(&condition.value) != Ordering::Greater,
        Comparison::Equal => value.order(&condition.value) == Ordering::Equal,
    }
}

fn scalar(renderer: &Renderer<'_>, row: &Observation, field: &Field) -> Scalar {
    let moment = |moment: Option<i64>| moment.map_or(Scalar::Null, Scalar::Moment);
    match field {
        Field::Key => Scalar::Integer(row.id),
        Field::Integer(at) => {
            row.integers[*at].map_or(Scalar::Null, |value| Scalar::Integer(i64::from(value)))
        }
        Field::DateMin => moment(row.date_min),
        Field::DateMax => moment(row.date_max),
        Field::LastAction => Scalar::Moment(row.last_action()),
        Field::Created => Scalar::Moment(row.created),
        Field::Modified => moment(row.modified),
        other => from_json(&renderer.value_text(row, other)),
    }
}

fn from_json(json: &str) -> Scalar {
    match serde_json::from_str(json) {
        Ok(serde_json::Value::String(text)) => Scalar::Text(text),
        Ok(serde_json::Value::Number(number)) => match number.as_i64() {
            Some(integer) => Scalar::Integer(integer),
            None => Scalar::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        Ok(serde_json::Value::Null) => Scalar::Null,
        _ => Scalar::Text(json.to_owned()),
    }
}

/// A stable sort, so that rows with equal values keep the order of their keys.
fn sort(
    store: &Store,
    renderer: &Renderer<'_>,
    list: &mut [usize],
    field: &Field,
    descending: bool,
) {
    list.sort_by_cached_key(|position| {
        let value = match field {
            Field::Key => Scalar::Integer(store.id(*position)),
            Field::LastAction => Scalar::Moment(store.last_action(*position)),
            Field::Uuid => store
                .uuid(*position)
                .map_or(Scalar::Null, |uuid| Scalar::Text(uuid_text(uuid))),
            other => scalar(renderer, &store.observation(*position), other),
        };
        Sorted { value, descending }
    });
}

struct Sorted {
    value: Scalar,
    descending: bool,
}

impl PartialEq for Sorted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Sorted {}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.value.order(&other.value);
        if self.descending {
            order.reverse()
        } else {
            order
        }
    }
}
