//! Why a record is refused: reason codes that users see, count and replay by.

/// The longest value that a rejection quotes, in characters.
const QUOTED: usize = 500;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $code:literal,)*) => {
        /// Why a record was not written. The code is stable: it is stored and shown.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            pub const fn code(self) -> &'static str {
                match self {
                    $(Reason::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// The item is not a JSON object, or a value is of a JSON type that its column cannot hold.
    BadJson => "bad_json",
    /// A column that a record cannot do without is absent or null.
    MissingField => "missing_field",
    /// Not a whole number, or beyond the target's integers.
    BadNumber => "bad_number",
    /// Not a date, or one that does not exist, or outside the years 1 to 9999.
    BadDate => "bad_date",
    /// Not a UUID.
    BadUuid => "bad_uuid",
    /// Not a geometry in longitude and latitude that PostGIS can hold.
    InvalidGeometry => "invalid_geometry",
    /// Longer than the target's column; never cut.
    ValueTooLong => "value_too_long",
    DateMinGtMax => "date_min_gt_max",
    CountMinGtMax => "count_min_gt_max",
    AltitudeMinGtMax => "altitude_min_gt_max",
    DepthMinGtMax => "depth_min_gt_max",
    /// The taxon is not in the target's Taxref.
    UnknownCdNom => "unknown_cd_nom",
    /// The habitat is not in the target's Habref.
    UnknownHabitat => "unknown_habitat",
    /// The area of `area_attachment` is not in the target's `ref_geo`.
    UnknownArea => "unknown_area",
    /// A code or label that the target does not know, under the policy `reject`.
    UnknownValue => "unknown_value",
    /// No local dataset, and none that can be created.
    UnmappedDataset => "unmapped_dataset",
    /// The UUID belongs to an observation of another source.
    UuidOwnedByOtherSource => "uuid_owned_by_other_source",
    /// Two records of the source with one UUID.
    DuplicateUuid => "duplicate_uuid",
    /// Two records of the source with one key.
    DuplicateKey => "duplicate_key",
    /// UUID and key lead to two different observations.
    IdentityConflict => "identity_conflict",
    /// A trigger or constraint of the target refused it; the message has its SQLSTATE.
    TargetError => "target_error",
}

impl Reason {
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.code() == code)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str(self.code())
    }
}

/// A record that cannot be written, with what a data manager needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub reason: Reason,
    /// The source's key, where it could be read.
    pub key: Option<String>,
    pub uuid: Option<[u8; 16]>,
    /// The export's column, where its value can not be read; the target's, where the value does not fit there.
    pub column: Option<String>,
    /// The value that was refused, cut at 500 characters.
    pub value: Option<String>,
    /// A plain English sentence.
    pub message: String,
}

/// A rejection in the making: what is wrong, before it is known whose record it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub reason: Reason,
    pub column: Option<String>,
    pub value: Option<String>,
    pub message: String,
}

impl Fault {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            column: None,
            value: None,
            message: message.into(),
        }
    }

    pub fn at(self, column: &str, value: &str) -> Self {
        Self {
            column: Some(column.to_owned()),
            value: Some(quoted(value)),
            ..self
        }
    }

    pub fn of(self, key: Option<String>, uuid: Option<[u8; 16]>) -> Rejection {
        let Fault {
            reason,
            column,
            value,
            message,
        } = self;
        Rejection {
            reason,
            key,
            uuid,
            column,
            value,
            message,
        }
    }
}

/// A value as a rejection shows it: at most 500 characters, without NUL.
pub fn quoted(value: &str) -> String {
    value.chars().filter(|c| *c != '\0').take(QUOTED).collect()
}
