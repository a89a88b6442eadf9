//! The rules: what an alert can be about, how grave it is by default and from when on it is raised. One table of data,
//! from which SQL lists them and the README is checked. Without PostgreSQL.

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    RunFailed,
    Failing,
    SourcePaused,
    DataLate,
    EmptyExport,
    VolumeDrop,
    LossGuard,
    Rejects,
    UnknownValues,
    MissingTaxa,
    ColumnsChanged,
    CredentialsRefused,
    ExportGone,
    HookFailed,
    ChannelFailing,
}

/// How grave an alert is; in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// What is fixed about a rule.
pub struct Definition {
    pub rule: Rule,
    pub code: &'static str,
    pub severity: Severity,
    /// From when on it is raised; none: the rule has no threshold, or none by default.
    pub threshold: Option<f64>,
    /// What the threshold counts; empty: the rule has none.
    pub unit: &'static str,
    pub english: &'static str,
    pub french: &'static str,
}

impl Severity {
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    pub fn code(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// The severity of that code; a code that is none counts as a warning.
    pub fn of(code: &str) -> Severity {
        let named = Severity::ALL.into_iter().find(|s| s.code() == code);
        named.unwrap_or(Severity::Warning)
    }
}

impl Rule {
    pub fn definition(self) -> &'static Definition {
        // Every rule is in the table: a test says so.
        let found = RULES.iter().find(|definition| definition.rule == self);
        found.unwrap_or(&RULES[0])
    }

    pub fn code(self) -> &'static str {
        self.definition().code
    }

    pub fn of(code: &str) -> Option<Rule> {
        RULES.iter().find(|d| d.code == code).map(|d| d.rule)
    }
}

/// Every rule, in the order in which people read them.
pub const RULES: &[Definition] = &[
    Definition {
        rule: Rule::RunFailed,
        code: "run_failed",
        severity: Severity::Warning,
        threshold: None,
        unit: "",
        english: "the last run failed, for a reason that no other rule names",
        french: "la dernière moisson a échoué, pour une raison qu'aucune autre règle ne nomme",
    },
    Definition {
        rule: Rule::Failing,
        code: "failing",
        severity: Severity::Critical,
        threshold: Some(3.0),
        unit: "failed runs in a row",
        english: "runs have failed in a row",
        french: "des moissons ont échoué de suite",
    },
    Definition {
        rule: Rule::SourcePaused,
        code: "source_paused",
        severity: Severity::Critical,
        threshold: None,
        unit: "",
        english: "the source was paused because too many runs failed in a row",
        french: "la source a été mise en pause après trop d'échecs de suite",
    },
    Definition {
        rule: Rule::DataLate,
        code: "data_late",
        severity: Severity::Warning,
        threshold: Some(24.0),
        unit: "hours",
        english: "no run has succeeded since its time, and the threshold has passed; of a source without a schedule, since the last one, where its own threshold is set",
        french: "aucune moisson n'a réussi depuis son heure, et le seuil est passé ; sans planification, depuis la dernière, si la source a son propre seuil",
    },
    Definition {
        rule: Rule::EmptyExport,
        code: "empty_export",
        severity: Severity::Warning,
        threshold: None,
        unit: "",
        english: "a run succeeded, and the export was empty",
        french: "une moisson a réussi, et l'export était vide",
    },
    Definition {
        rule: Rule::VolumeDrop,
        code: "volume_drop",
        severity: Severity::Warning,
        threshold: Some(50.0),
        unit: "percent less than usual",
        english: "a full run read far fewer records than earlier full runs",
        french: "une moisson complète a lu bien moins de données que les précédentes",
    },
    Definition {
        rule: Rule::LossGuard,
        code: "loss_guard",
        severity: Severity::Critical,
        threshold: None,
        unit: "",
        english: "a run would have deleted more than max_loss and was blocked",
        french: "une moisson aurait supprimé plus que max_loss et a été bloquée",
    },
    Definition {
        rule: Rule::Rejects,
        code: "rejects",
        severity: Severity::Warning,
        threshold: Some(5.0),
        unit: "percent of the records read",
        english: "many records of a run that read at least 20 could not be written",
        french: "beaucoup de données d'une moisson d'au moins 20 n'ont pas pu être écrites",
    },
    Definition {
        rule: Rule::UnknownValues,
        code: "unknown_values",
        severity: Severity::Warning,
        threshold: Some(1.0),
        unit: "values",
        english: "values wait for a decision because the local referentials do not know them",
        french: "des valeurs inconnues des référentiels locaux attendent une décision",
    },
    Definition {
        rule: Rule::MissingTaxa,
        code: "missing_taxa",
        severity: Severity::Warning,
        threshold: Some(1.0),
        unit: "taxa",
        english: "records wait because their taxa are not in the local Taxref",
        french: "des données attendent car leurs taxons manquent au Taxref local",
    },
    Definition {
        rule: Rule::ColumnsChanged,
        code: "columns_changed",
        severity: Severity::Warning,
        threshold: None,
        unit: "",
        english: "the columns of the export are no longer what they were",
        french: "les colonnes de l'export ne sont plus ce qu'elles étaient",
    },
    Definition {
        rule: Rule::CredentialsRefused,
        code: "credentials_refused",
        severity: Severity::Critical,
        threshold: None,
        unit: "",
        english: "the partner refuses the login or the token",
        french: "le partenaire refuse l'identifiant ou le jeton",
    },
    Definition {
        rule: Rule::ExportGone,
        code: "export_gone",
        severity: Severity::Critical,
        threshold: None,
        unit: "",
        english: "the partner no longer has the export",
        french: "l'export n'existe plus chez le partenaire",
    },
    Definition {
        rule: Rule::HookFailed,
        code: "hook_failed",
        severity: Severity::Warning,
        threshold: None,
        unit: "",
        english: "the function after_run of the source failed",
        french: "la fonction after_run de la source a échoué",
    },
    Definition {
        rule: Rule::ChannelFailing,
        code: "channel_failing",
        severity: Severity::Warning,
        threshold: Some(3.0),
        unit: "failed deliveries in a row",
        english: "a channel does not deliver its messages",
        french: "un canal ne distribue plus ses messages",
    },
];
