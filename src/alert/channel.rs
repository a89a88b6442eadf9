//! A channel as a delivery reads it: where it leads, with its secrets, and in which language it speaks.

use pgrx::prelude::*;
use serde::Deserialize;

use super::text::Language;
use crate::error::Failure;

#[derive(Debug, Clone, Deserialize)]
pub struct Channel {
    pub id: i32,
    pub name: String,
    language: String,
    pub owner: String,
    pub failures: i64,
    /// Events go each in a message of its own.
    pub singly: bool,
    #[serde(flatten)]
    pub way: Way,
}

/// How a channel tells.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", content = "way", rename_all = "lowercase")]
pub enum Way {
    Notify {
        listen: String,
    },
    Email(Email),
    Webhook(Webhook),
    Geonature {
        roles: Vec<String>,
        link: Option<String>,
    },
}

#[derive(Debug, Clone, Deserialize)]
pub struct Email {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub login: Option<String>,
    pub password: Option<String>,
    pub sender: String,
    pub recipients: Vec<String>,
    pub ca_certificate: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    None,
    Starttls,
    Implicit,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Webhook {
    pub template: super::payload::Template,
    pub url: String,
    pub token: Option<String>,
    pub chat_id: Option<String>,
    pub ca_certificate: Option<String>,
}

impl Channel {
    /// Reads a channel; none if it is gone.
    pub fn load(channel_id: i32) -> Result<Option<Channel>, Failure> {
        let text = Spi::get_one_with_args::<String>(
            "SELECT max(jsonb_build_object(
                        'id', c.id, 'name', c.name, 'language', c.language, 'owner', c.owner, 'failures', c.failures,
                        'singly', c.digest = interval '0', 'kind', c.kind,
                        'way', c.settings || jsonb_strip_nulls(jsonb_build_object('url', x.url, 'password', x.password, 'token', x.token)))::text)
             FROM gn_harvest.channel c
             LEFT JOIN gn_harvest.channel_secret x ON x.channel_id = c.id
             WHERE c.id = $1",
            &[channel_id.into()],
        )?;
        text.map(|text| {
            // The text of a serde error holds values: it could hold a secret.
            serde_json::from_str(&text).map_err(|_| {
                Failure::new(
                    "XX000",
                    format!("the settings of channel {channel_id} can not be read"),
                )
                .hint("Drop the channel and add it again.")
            })
        })
        .transpose()
    }

    pub fn language(&self) -> Language {
        Language::of(&self.language)
    }
}
