//! docs/fr: the guide is followed from its first step to its last, as its reader would, and what it shows comes.

use std::path::Path;

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::{Database, ExportServer};
use serde_json::json;

use crate::document::{self, Example, file, project, quoted};
use crate::support::*;
use gn_harvest_outside::gn2pg::{Gn2pg, V1_10};

/// The steps, in order: their files below docs/fr.
fn steps() -> Vec<String> {
    let entries = std::fs::read_dir(project().join("docs/fr")).expect("docs/fr");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a file").file_name().display().to_string())
        .filter(|name| name != "README.md")
        .collect();
    names.sort();
    names
}

fn step(name: &str) -> String {
    file(&format!("docs/fr/{name}"))
}

/// The reader's machine, and those of the partners of the guide.
struct Scene {
    /// The collector's database; GeoNature is in it, the extension is not yet.
    database: Database<'static>,
    /// The one of a partner that publishes.
    publishing: Database<'static>,
    cen: Simulator,
    lpo: Simulator,
    server: ExportServer,
}

impl Scene {
    fn set() -> Self {
        let database = cluster().source_database();
        database.run("DROP EXTENSION gn_harvest; DROP ROLE IF EXISTS moissonneur, lecteur_moisson");
        database.run(
            "INSERT INTO gn_meta.t_acquisition_frameworks (acquisition_framework_name, acquisition_framework_desc, acquisition_framework_start_date)
             VALUES ('Cadre de la plateforme', 'Cadre de la plateforme', '2020-01-01');
             INSERT INTO gn_meta.t_datasets (id_acquisition_framework, dataset_name, dataset_shortname, dataset_desc, marine_domain, terrestrial_domain)
             SELECT id_acquisition_framework, 'Suivis du CEN', 'Suivis', 'Suivis du CEN', false, true
             FROM gn_meta.t_acquisition_frameworks WHERE acquisition_framework_name = 'Cadre de la plateforme'",
        );
        let cen = partner(300);
        cen.update(cen.ids()[10], &json!({"cd_nom": 999_999}))
            .expect("a taxon that the target has not");
        cen.tamper(cen.ids()[20], "date_debut", Some("\"0000-00-00\""));
        let lpo = seeded(30, 7);
        // First: GN2PG stumbles over what others have brought.
        Gn2pg::set_up(V1_10, &database, &crate::adopt::settings(&lpo)).download();
        let publishing = publishing_database();
        let server = ExportServer::start(&publishing, "postgres");
        Scene {
            database,
            publishing,
            cen,
            lpo,
            server,
        }
    }

    fn run(&self, example: &Example) {
        let given = "SELECT min(token) FROM gn_exports.cor_exports_roles";
        let token = match example.sql.contains("le-jeton-reçu") {
            true => self.publishing.value(given),
            false => String::new(),
        };
        let url = self.server.url();
        let filled_in = [
            ("geonature2db", self.database.name.as_str()),
            ("https://geonature.example.org", self.cen.url()),
            ("https://geonature.lpo.example.org", self.lpo.url()),
            ("https://geonature.cen.example.org", &url),
            ("le-jeton-reçu", &token),
            ("le-jeton", "jeton-export-3"),
            ("le-mot-de-passe", "moissonneur"),
        ];
        let (database, role) = match example.by {
            "" => (&self.database, "moissonneur"),
            "superutilisateur" => (&self.database, "postgres"),
            "partenaire" => (&self.publishing, "postgres"),
            other => panic!("nobody is called {other}"),
        };
        document::run(database, role, example, &filled_in);
    }

    /// The file of the package that gives the operator its rights, by the call of the guide.
    fn grant(&self) {
        let guide = step("01-installer.md");
        let call = guide
            .lines()
            .find_map(|line| line.strip_prefix("psql -d geonature2db "))
            .expect("the call");
        let installed = "/usr/share/doc/postgresql-15-gn-harvest";
        assert!(call.contains(installed), "{call}");
        let call = call.replace(installed, &project().display().to_string());
        let arguments: Vec<&str> = call.split_whitespace().chain(["-q"]).collect();
        self.database
            .cluster
            .psql(&self.database.name, Path::new("/"), &arguments);
    }
}

fn seeded(observations: u32, seed: u64) -> Simulator {
    partner_with(Config {
        observations,
        seed,
        ..Config::default()
    })
}

/// A GeoNature with the export module, the extension and observations of its own.
fn publishing_database() -> Database<'static> {
    let database = cluster().source_database();
    let simulator = seeded(60, 11);
    add_source(&database, "filling", &simulator, 3, "");
    run_well(&database, "filling", "full");
    database.run(
        "SELECT gn_harvest.drop_source('filling');
         INSERT INTO utilisateurs.t_roles (groupe, identifiant, nom_role) VALUES (false, 'collecteur', 'Collecteur')",
    );
    database
}

#[test]
fn every_step_of_the_guide_runs_and_answers_what_it_shows() {
    let scene = Scene::set();
    let mut checked = 0;
    for name in steps() {
        for example in document::examples(&step(&name)) {
            scene.run(&example);
            checked += usize::from(example.answer.is_some());
        }
        if name.contains("installer") {
            scene.grant();
        }
    }
    assert!(checked >= 15, "only {checked} answers are shown");
    // 300 of CEN Alpes, of which one is given up, 60 that the partner published, 30 that GN2PG had brought.
    assert_eq!(
        scene
            .database
            .number("SELECT count(*) FROM gn_synthese.synthese"),
        299 + 60 + 30
    );
    scene
        .database
        .run("DROP OWNED BY moissonneur, lecteur_moisson; DROP ROLE moissonneur, lecteur_moisson");
}

#[test]
fn the_guide_lists_its_steps_and_each_is_one_screen() {
    let index = step("README.md");
    let steps = steps();
    for (name, next) in steps.iter().zip(steps.iter().skip(1)) {
        assert!(step(name).contains(&format!("]({next})")), "{name}");
    }
    for name in &steps {
        let text = step(name);
        let title = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .unwrap_or_else(|| panic!("{name} has no title"));
        assert!(index.contains(&format!("| [{title}]({name}) |")), "{title}");
        assert!(
            text.lines().count() <= 70,
            "{name}: {}",
            text.lines().count()
        );
    }
    assert_eq!(index.matches(".md) |").count(), steps.len());
}

#[test]
fn the_guide_explains_every_check() {
    let database = cluster().database();
    let partner = partner(30);
    add_source(&database, "cen", &partner, 3, "");
    let guide = step("03-verifier.md");
    let explained = quoted(&guide);
    for row in database.rows("SELECT \"check\" FROM gn_harvest.check_source('cen')") {
        assert!(explained.contains(text(&row, "check")), "{row:?}");
    }
}
