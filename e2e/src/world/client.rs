//! The HTTP client for the world's parts.

use crate::{Error, Result};

/// A client that uses no HTTP proxy, because none leads to the world's parts.
pub(super) fn http_client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(Error::http("make an HTTP client"))
}
