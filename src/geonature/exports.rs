//! The list of the exports that an account may see.

use serde::Deserialize;

use super::ask::{Ask, Auth};
use super::client::{Client, Patience};
use super::error::{FetchError, Seen};

#[derive(Deserialize)]
struct Listed {
    id: i32,
    label: String,
}

impl Client {
    /// How the partner calls an export; none when it is not in the list.
    pub fn export_label(&self, export_id: i32) -> Result<Option<String>, FetchError> {
        let module = self.0.module_path()?;
        let parts = module.split('/').filter(|part| !part.is_empty());
        let path: Vec<&str> = ["api"].into_iter().chain(parts).chain([""]).collect();
        let ask = Ask::get(&path, Auth::Account);
        let (list, _) = self.0.call(&ask, Patience::SameAgain, |answer, url| {
            serde_json::from_slice::<Vec<Listed>>(&answer.body).map_err(|_| {
                // The list holds everybody's tokens: nothing of it is shown.
                let seen = Box::new(Seen {
                    url: self.0.shown(url),
                    status: Some(answer.status),
                    ..Seen::default()
                });
                let expected = "a list of exports".to_owned();
                FetchError::BadShape { seen, expected }
            })
        })?;
        let mut list = list.into_iter();
        Ok(list
            .find(|listed| listed.id == export_id)
            .map(|listed| listed.label))
    }
}
