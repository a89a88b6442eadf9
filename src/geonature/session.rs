//! Logging in: once, again when the session has expired, never by two threads
//! at a time. What the account may see (the path of the export module) is kept
//! with the session.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use reqwest::Method;
use serde::Deserialize;

use super::ask::{Ask, Auth};
use super::client::{Inner, Module, Patience};
use super::endpoint::{Credentials, Secret};
use super::error::FetchError;

const EXPORT_MODULE: &str = "EXPORTS";
const USUAL_EXPORT_PATH: &str = "exports";

#[derive(Default)]
pub(super) struct Session {
    /// How many logins there were; a request remembers the one that it was sent with.
    number: u64,
    jwt: Option<Secret>,
    module_path: Option<String>,
    /// A refusal is final: an account is not to be locked by our insistence.
    refused: Option<FetchError>,
}

#[derive(Deserialize)]
struct LoginAnswer {
    token: Option<String>,
}

impl Inner {
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn jwt(&self) -> Option<Secret> {
        self.session().jwt.clone()
    }

    /// The session that a request is sent with: logs in when there is none. 0: none needed.
    pub(super) fn session_for(&self, auth: Auth) -> Result<u64, FetchError> {
        match (&self.endpoint.credentials, auth) {
            (_, Auth::Nothing) => Ok(0),
            (Credentials::Login { .. }, _) => self.renew_session(0),
            (_, Auth::Export) => Ok(0),
            (_, Auth::Account) => Err(FetchError::LoginNeeded {
                what: "this part of the GeoNature",
            }),
        }
    }

    /// Logs in, unless another thread has done so since session `stale`.
    pub(super) fn renew_session(&self, stale: u64) -> Result<u64, FetchError> {
        let mut session = self.session();
        if let Some(refused) = &session.refused {
            return Err(refused.clone());
        }
        if session.number == stale {
            self.log_in(&mut session)?;
        }
        Ok(session.number)
    }

    pub(super) fn log_in_afresh(&self) -> Result<(), FetchError> {
        let mut session = self.session();
        session.refused = None;
        self.log_in(&mut session)
    }

    /// Sends the login and the password; the cookies stay in the HTTP client.
    fn log_in(&self, session: &mut Session) -> Result<(), FetchError> {
        let Credentials::Login { login, password } = &self.endpoint.credentials else {
            return Err(FetchError::LoginNeeded { what: "a session" });
        };
        let body = serde_json::json!({ "login": login, "password": password.expose() });
        let ask = Ask {
            method: Method::POST,
            body: Some(body.to_string()),
            ..Ask::get(&["api", "auth", "login"], Auth::Nothing)
        };
        let result = self.call(&ask, Patience::SameAgain, |answer, url| {
            let read = serde_json::from_slice::<LoginAnswer>(&answer.body);
            read.map_err(|_| {
                let mut seen = self.seen(&answer, url);
                seen.excerpt = None; // A cut answer may still hold the session's token.
                FetchError::NotJson {
                    seen: Box::new(seen),
                }
            })
        });
        match result {
            Ok((answer, _)) => {
                session.jwt = answer.token.map(Secret::new);
                self.given
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(session.jwt.clone());
                session.number += 1;
                self.traffic.logins.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(FetchError::Status {
                status: 403, seen, ..
            }) => {
                let refused = FetchError::CredentialsRefused { seen };
                session.refused = Some(refused.clone());
                Err(refused)
            }
            Err(error) => {
                if matches!(error, FetchError::CredentialsRefused { .. }) {
                    session.refused = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    pub(super) fn modules(&self) -> Result<Vec<Module>, FetchError> {
        let ask = Ask::get(&["api", "gn_commons", "modules"], Auth::Account);
        let (modules, _) = self.call(&ask, Patience::SameAgain, |answer, url| {
            serde_json::from_slice::<Vec<Module>>(&answer.body).map_err(|error| {
                let seen = Box::new(self.seen(&answer, url));
                if error.is_data() {
                    let expected = "a list of modules".to_owned();
                    FetchError::BadShape { seen, expected }
                } else {
                    FetchError::NotJson { seen }
                }
            })
        })?;
        Ok(modules)
    }

    /// Where the exports are: as configured, as the account sees it, or the usual place.
    pub(super) fn module_path(&self) -> Result<String, FetchError> {
        if let Some(path) = &self.endpoint.module_path {
            return Ok(path.clone());
        }
        if !matches!(self.endpoint.credentials, Credentials::Login { .. }) {
            return Ok(USUAL_EXPORT_PATH.to_owned());
        }
        if let Some(path) = &self.session().module_path {
            return Ok(path.clone());
        }
        let found = match self.modules() {
            Ok(modules) => modules
                .into_iter()
                .find(|module| module.code == EXPORT_MODULE)
                .and_then(|module| module.path),
            Err(FetchError::Status {
                status: 403 | 404, ..
            }) => None,
            Err(error) => return Err(error),
        };
        let path = found.unwrap_or_else(|| USUAL_EXPORT_PATH.to_owned());
        self.session().module_path = Some(path.clone());
        Ok(path)
    }
}
