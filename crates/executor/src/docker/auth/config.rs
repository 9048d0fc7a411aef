//! Docker's `config.json`, as far as it is about logins.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

/// How one logs in. Without `Debug`: it holds secrets.
pub(super) enum Secret {
    /// By name and password.
    Password { username: String, password: String },
    /// By a token that the registry has given for a password.
    Token(String),
    /// By what a helper says of a server.
    Helper { program: String, server: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct AuthConfig {
    auths: BTreeMap<String, AuthEntry>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthEntry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl AuthConfig {
    /// Reads the JSON.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The logins by registry, helpers first, and the helper for all registries.
    pub(super) fn into_logins(self) -> (Vec<(String, Secret)>, Option<String>) {
        let by_helper = self.cred_helpers.into_iter().map(|(registry, program)| {
            let server = registry.clone();
            (registry, Secret::Helper { program, server })
        });
        let given = self
            .auths
            .into_iter()
            .filter_map(|(registry, entry)| Some((registry, entry.secret()?)));
        let store = Some(self.creds_store).filter(|store| !store.is_empty());
        (by_helper.chain(given).collect(), store)
    }
}

impl AuthEntry {
    fn secret(self) -> Option<Secret> {
        if !self.identitytoken.is_empty() {
            return Some(Secret::Token(self.identitytoken));
        }
        let (username, password) = decode(&self.auth).unwrap_or((self.username, self.password));
        (!username.is_empty()).then_some(Secret::Password { username, password })
    }
}

/// `user:password` in base64, with or without padding.
fn decode(auth: &str) -> Option<(String, String)> {
    let bytes = STANDARD
        .decode(auth)
        .or_else(|_| STANDARD_NO_PAD.decode(auth))
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((
        username.to_owned(),
        password.trim_end_matches('\0').to_owned(),
    ))
}
