//! The partner as a whole: what it holds, what it is set to, who is logged in. One lock a
//! part, so that pages are rendered side by side.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use crate::clock::Clock;
use crate::faults::Rule;
use crate::files::PublishedFiles;
use crate::generate::Generator;
use crate::metadata::Metadata;
use crate::nomenclature::Nomenclatures;
use crate::random::mix;
use crate::render::{Renderer, Tampered};
use crate::sessions::Sessions;
use crate::statistics::Statistics;
use crate::store::Store;
use crate::taxon::Taxa;
use crate::views::{self, Export};

static TAXA: LazyLock<Taxa> = LazyLock::new(Taxa::load);

/// What a simulated partner starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the partner is called in what the binary prints.
    pub name: String,
    pub observations: u32,
    pub seed: u64,
    /// Decides the observations' UUIDs; the seed by default. Two partners with the same one
    /// have the same observations' UUIDs, rank by rank.
    pub uuid_seed: Option<u64>,
    /// Decides the UUIDs of frameworks, datasets, organisms and persons; `uuid_seed` by default.
    pub metadata_seed: Option<u64>,
    /// Keys start after it.
    pub id_offset: i64,
    pub datasets: usize,
    /// 0 lets the system choose.
    pub port: u16,
    /// The greatest page that the administrator allows.
    pub cap: usize,
    /// Password of `moissonneur`; its login by default.
    pub password: Option<String>,
    /// Tokens that replace `jeton-export-<id>`.
    pub tokens: BTreeMap<u32, String>,
    /// Without it every answer closes its connection, as the application server does when no
    /// proxy stands before it.
    pub keep_alive: bool,
    /// Seconds that a login takes (about 0.5 on a real server).
    pub login_seconds: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "partenaire".to_owned(),
            observations: 1000,
            seed: 1,
            uuid_seed: None,
            metadata_seed: None,
            id_offset: 0,
            datasets: 12,
            port: 0,
            cap: 1000,
            password: None,
            tokens: BTreeMap::new(),
            keep_alive: true,
            login_seconds: 0.0,
        }
    }
}

/// What a page costs the client, in time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub seconds_per_request: f64,
    pub seconds_per_row: f64,
}

/// What the partner holds and is set to.
pub struct Partner {
    pub clock: Clock,
    pub store: Store,
    pub metadata: Metadata,
    pub nomenclatures: Nomenclatures,
    pub exports: BTreeMap<u32, Export>,
    pub tampered: Tampered,
    pub cap: usize,
    pub cost: Cost,
    pub tokens: BTreeMap<u32, String>,
    pub passwords: HashMap<String, String>,
}

impl Partner {
    fn new(config: &Config) -> Self {
        let uuid_seed = config.uuid_seed.unwrap_or(config.seed);
        let nomenclatures = Nomenclatures::load();
        let datasets = config.datasets.max(1);
        let generator = Generator::new(
            config.seed,
            uuid_seed,
            config.id_offset,
            datasets,
            &nomenclatures,
            &TAXA,
        );
        let exports = views::exports();
        let token = |id: &u32| {
            let usual = || format!("jeton-export-{id}");
            (*id, config.tokens.get(id).cloned().unwrap_or_else(usual))
        };
        let mut passwords: HashMap<String, String> = ["admin", "moissonneur", "sansdroit"]
            .map(|login| (login.to_owned(), login.to_owned()))
            .into();
        if let Some(password) = &config.password {
            passwords.insert("moissonneur".to_owned(), password.clone());
        }
        Self {
            clock: Clock::default(),
            store: Store::new(generator, config.observations),
            metadata: Metadata::generate(config.metadata_seed.unwrap_or(uuid_seed), datasets),
            nomenclatures,
            tokens: exports.keys().map(token).collect(),
            exports,
            tampered: Tampered::new(),
            cap: config.cap,
            cost: Cost::default(),
            passwords,
        }
    }

    pub fn renderer<'a>(&'a self, export: &'a Export) -> Renderer<'a> {
        Renderer {
            export,
            nomenclatures: &self.nomenclatures,
            metadata: &self.metadata,
            taxa: &TAXA,
            tampered: &self.tampered,
            separator: b' ',
        }
    }
}

/// Everything that the threads of a simulator share, and what a test may do to it (the methods
/// are in `control`).
pub struct Shared {
    pub(crate) config: Config,
    partner: RwLock<Partner>,
    faults: Mutex<Vec<Rule>>,
    sessions: Mutex<Sessions>,
    statistics: Mutex<Statistics>,
    pub(crate) files: PublishedFiles,
    counter: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            partner: RwLock::new(Partner::new(&config)),
            faults: Mutex::default(),
            sessions: Mutex::default(),
            statistics: Mutex::default(),
            files: PublishedFiles::new(),
            counter: AtomicU64::new(0),
            config,
        }
    }

    pub(crate) fn partner(&self) -> RwLockReadGuard<'_, Partner> {
        self.partner.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn partner_mut(&self) -> RwLockWriteGuard<'_, Partner> {
        self.partner.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn statistics(&self) -> MutexGuard<'_, Statistics> {
        self.statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no request had before, for identifiers and unstable orders.
    pub(crate) fn fresh(&self) -> u64 {
        mix(self.config.seed ^ mix(self.counter.fetch_add(1, Ordering::Relaxed)))
    }

    /// Back to the first day: data, settings, faults, sessions, figures and files.
    pub fn reset(&self) {
        *self.partner_mut() = Partner::new(&self.config);
        self.faults().clear();
        *self.sessions() = Sessions::default();
        self.statistics().clear();
        self.files.forget();
    }
}
