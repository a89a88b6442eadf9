//! The partner's observations before anybody changes one. Each is a function of the seed and
//! of its rank, made when it is asked for: a million of them cost no memory.

use std::borrow::Cow;

use crate::clock::{DAY, SECOND, days};
use crate::geometry::{Geometry, Position};
use crate::nomenclature::{self, Nomenclatures};
use crate::observation::{AreaAttachment, Observation, Text};
use crate::random::{Draw, uuid};
use crate::taxon::Taxa;

/// What the draws are for: a change in one does not move the others.
mod purpose {
    pub const KEY: u64 = 1;
    pub const MOMENT: u64 = 2;
    pub const VALUES: u64 = 3;
    pub const TERMS: u64 = 4;
    pub const PLACE: u64 = 5;
    pub const UUID: u64 = 6;
    pub const GROUP_UUID: u64 = 7;
}

/// The rectangle that the target's areas cover.
const WEST: f64 = 5.40;
const EAST: f64 = 6.20;
const SOUTH: f64 = 44.75;
const NORTH: f64 = 45.25;

const OBSERVERS: [&str; 8] = [
    "Lefèvre Zoé",
    "Gonçalves François",
    "D'Agostino Jean-René",
    "Œuvrard Noël, Béranger Zoé",
    "Müller Anaïs",
    "Châtelain Éloïse (CEN fictif)",
    "Núñez Maël \"le Rouge\"",
    "Anonyme",
];
const PLACES: [&str; 5] = [
    "Rive d'Arve",
    "Combe Noire",
    "Étang du Roi",
    "La Chênaie",
    "Col de l'Œillet \"bas\"",
];
const WEATHER: [&str; 4] = ["soleil", "pluie", "brouillard", "neige « lourde »"];
const RELEVE: &str =
    "Temps ensoleillé, vent faible.\n2ᵉ passage \"rapide\"\tle long du sentier ; été ☀️";

pub struct Generator {
    pub seed: u64,
    pub uuid_seed: u64,
    pub id_offset: i64,
    pub datasets: usize,
    known_terms: Vec<u16>,
    information: usize,
    georeferenced: u16,
    attached: u16,
    taxa: Vec<(i32, &'static str)>,
}

impl Generator {
    pub fn new(
        seed: u64,
        uuid_seed: u64,
        id_offset: i64,
        datasets: usize,
        nomenclatures: &Nomenclatures,
        taxa: &'static Taxa,
    ) -> Self {
        let information = nomenclature::column("type_info_geo").unwrap_or_default();
        Self {
            seed,
            uuid_seed,
            id_offset,
            datasets,
            known_terms: nomenclatures.known(),
            information,
            georeferenced: nomenclatures.position(information, "1"),
            attached: nomenclatures.position(information, "2"),
            taxa: taxa
                .list()
                .iter()
                .map(|taxon| (taxon.cd_nom as i32, taxon.nom_complet.as_str()))
                .collect(),
        }
    }

    /// The key: it grows, with a few holes everywhere and a large one every 10 000 rows.
    pub fn id(&self, rank: u32) -> i64 {
        let (rank, block) = (i64::from(rank), i64::from(rank / 20));
        let shift = Draw::new(self.seed, purpose::KEY, block as u64).below(4) as i64;
        self.id_offset + 1 + block * 23 + rank % 20 + shift + rank / 10_000 * 5000
    }

    /// When the row was created, and when it was last changed if it ever was.
    pub fn moments(&self, rank: u32) -> (i64, Option<i64>) {
        let first = days(2018, 1, 1) * DAY;
        let last = days(2025, 7, 1) * DAY;
        let mut draw = Draw::new(self.seed, purpose::MOMENT, u64::from(rank));
        let created = first + draw.below((last - first) as u64) as i64;
        let modified = draw
            .chance(300)
            .then(|| created + draw.below((last - created) as u64) as i64);
        (created, modified)
    }

    /// About one row in a hundred has none.
    pub fn uuid(&self, rank: u32) -> Option<u128> {
        let missing = Draw::new(self.seed, purpose::UUID, u64::from(rank)).chance(10);
        (!missing).then(|| uuid(self.uuid_seed, purpose::UUID, u64::from(rank)))
    }

    pub fn observation(&self, rank: u32) -> Observation {
        let id = self.id(rank);
        let (created, modified) = self.moments(rank);
        let mut draw = Draw::new(self.seed, purpose::VALUES, u64::from(rank));
        let area = draw.chance(4).then(|| area(&mut draw));
        let (date_min, date_max) = dates(&mut draw, created);
        let (cd_nom, name) = *draw.pick(&self.taxa);
        Observation {
            id,
            uuid: self.uuid(rank),
            group_uuid: draw
                .chance(950)
                .then(|| uuid(self.uuid_seed, purpose::GROUP_UUID, u64::from(rank / 7))),
            dataset: draw.below(self.datasets as u64) as usize,
            texts: texts(&mut draw, rank, id, name),
            integers: integers(&mut draw, cd_nom),
            terms: self.terms(rank, area.is_some()),
            date_min: Some(date_min),
            date_max: Some(date_max),
            created,
            modified,
            geometry: Some(place(&mut Draw::new(
                self.seed,
                purpose::PLACE,
                u64::from(rank),
            ))),
            area,
            additional_data: additional_data(&mut draw),
        }
    }

    fn terms(&self, rank: u32, attached: bool) -> [u16; nomenclature::COUNT] {
        let mut draw = Draw::new(self.seed, purpose::TERMS, u64::from(rank));
        let mut terms = [nomenclature::NULL; nomenclature::COUNT];
        for (column, term) in terms.iter_mut().enumerate() {
            // Some columns are often null, others seldom.
            if !draw.chance((column as u64 * 61) % 290 + 10) {
                *term = draw.below(u64::from(self.known_terms[column])) as u16;
            }
        }
        terms[self.information] = if attached {
            self.attached
        } else {
            self.georeferenced
        };
        terms
    }
}

fn area(draw: &mut Draw) -> AreaAttachment {
    let code = 90_000 + draw.below(40) * 40 + draw.below(40);
    AreaAttachment {
        type_code: "COM".into(),
        area_code: format!("{code:05}").into(),
    }
}

/// Half of the observations have a time of day; some last several days.
fn dates(draw: &mut Draw, created: i64) -> (i64, i64) {
    let first = days(2012, 1, 1);
    let day = first + draw.below((created / DAY - first) as u64) as i64;
    let minute = |draw: &mut Draw| draw.below(24 * 60) as i64 * 60 * SECOND;
    let start = day * DAY + if draw.chance(500) { minute(draw) } else { 0 };
    let end = match draw.below(10) {
        0..7 => start,
        7 => start + draw.below(120) as i64 * 60 * SECOND,
        8 => start + draw.below(10) as i64 * DAY,
        _ => start + draw.below(10) as i64 * DAY + minute(draw),
    };
    (start, end)
}

fn texts(draw: &mut Draw, rank: u32, id: i64, name: &'static str) -> [Text; 14] {
    let sometimes = |draw: &mut Draw, per_mille, text: &dyn Fn() -> Cow<'static, str>| {
        draw.chance(per_mille).then(text)
    };
    let observer = *draw.pick(&OBSERVERS);
    let place = *draw.pick(&PLACES);
    let individual =
        || format!("Individu observé près de l'étang n°{rank}, comportement « typique ».").into();
    [
        Some(format!("OCC-{id}").into()),
        Some(if draw.chance(950) {
            name.into()
        } else {
            format!("{name} (à confirmer)").into()
        }),
        sometimes(draw, 990, &|| {
            if rank.is_multiple_of(3) {
                "Taxref V16.0"
            } else {
                "Taxref V18.0"
            }
            .into()
        }),
        sometimes(draw, 980, &|| observer.into()),
        sometimes(draw, 300, &|| OBSERVERS[1].into()),
        sometimes(draw, 250, &|| "Commission de validation".into()),
        sometimes(draw, 40, &|| format!("ECH-{rank}").into()),
        sometimes(draw, 20, &|| {
            format!("https://example.org/photo/{rank}?taille=grande&n=1").into()
        }),
        sometimes(draw, 40, &|| format!("Herbier n°{rank}").into()),
        sometimes(draw, 150, &|| RELEVE.into()),
        sometimes(draw, 250, &individual),
        sometimes(draw, 40, &|| {
            "Dupont É. & Müller K., 2018. « Faune d'été », p. 12-45.".into()
        }),
        sometimes(draw, 200, &|| format!("{place} {rank}").into()),
        sometimes(draw, 200, &|| "Regroupement par journée".into()),
    ]
}

fn integers(draw: &mut Draw, cd_nom: i32) -> [Option<i32>; 9] {
    const PRECISIONS: [i32; 6] = [10, 25, 50, 100, 250, 500];
    let mut range = |per_mille, greatest: u64, spread: u64| {
        let low = draw.below(greatest) as i32;
        let high = low
            + if draw.chance(600) {
                0
            } else {
                draw.below(spread) as i32
            };
        if draw.chance(per_mille) {
            (Some(low), Some(high))
        } else {
            (None, None)
        }
    };
    let (count_min, count_max) = range(900, 40, 12);
    let (altitude_min, altitude_max) = range(860, 3200, 60);
    let (depth_min, depth_max) = range(20, 30, 8);
    [
        Some(cd_nom),
        count_min,
        count_max,
        altitude_min,
        altitude_max,
        depth_min,
        depth_max,
        draw.chance(800).then(|| *draw.pick(&PRECISIONS)),
        draw.chance(100).then(|| draw.below(40) as i32 + 1),
    ]
}

fn additional_data(draw: &mut Draw) -> Text {
    match draw.below(10) {
        0..6 => None,
        6 => Some("{}".into()),
        _ => {
            let weather = draw.pick(&WEATHER);
            let temperature = draw.below(400) as f64 / 10.0 - 5.0;
            let detail = draw.below(7);
            let code = draw.below(5);
            let valid = draw.chance(500);
            Some(
                format!(
                    "{{\"effectif_détail\": [1, 2, {detail}], \"météo\": \"{weather}\", \"protocole\": \
                     {{\"code\": \"P{code}\", \"valide\": {valid}}}, \"température\": {temperature:.1}}}"
                )
                .into(),
            )
        }
    }
}

/// Points for 88 %, lines, polygons, and a few of several parts.
fn place(draw: &mut Draw) -> Geometry {
    let middle: Position = [
        WEST + 0.02 + draw.unit() * (EAST - WEST - 0.04),
        SOUTH + 0.02 + draw.unit() * (NORTH - SOUTH - 0.04),
    ];
    match draw.below(1000) {
        0..880 => Geometry::Point(middle),
        880..930 => Geometry::LineString(path(draw, middle)),
        930..985 => Geometry::Polygon(vec![disc(draw, middle, 0.0)]),
        985..990 => {
            let east = [middle[0] + 0.001 + draw.unit() * 0.003, middle[1]];
            Geometry::MultiPoint(vec![middle, east])
        }
        990..995 => {
            let (first, second) = (path(draw, middle), path(draw, middle));
            Geometry::MultiLineString(vec![first, second])
        }
        _ => {
            let (first, second) = (disc(draw, middle, 0.0), disc(draw, middle, 0.009));
            Geometry::MultiPolygon(vec![vec![first], vec![second]])
        }
    }
}

fn path(draw: &mut Draw, start: Position) -> Vec<Position> {
    let mut at = start;
    let mut line = vec![at];
    for _ in 0..3 {
        at = [
            at[0] + 0.0002 + draw.unit() * 0.003,
            at[1] + (draw.unit() - 0.5) * 0.002,
        ];
        line.push(at);
    }
    line
}

/// A polygon of 24 sides, `shift` degrees east of the middle.
fn disc(draw: &mut Draw, middle: Position, shift: f64) -> Vec<Position> {
    let radius = 0.001 + draw.unit() * 0.003;
    let mut ring: Vec<Position> = (0..24)
        .map(|side| {
            let (sine, cosine) = (f64::from(side) * std::f64::consts::TAU / 24.0).sin_cos();
            [
                middle[0] + shift + radius * cosine,
                middle[1] + radius * 0.7 * sine,
            ]
        })
        .collect();
    ring.push(ring[0]);
    ring
}
