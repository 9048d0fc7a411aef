//! The HTTP client for the world's own parts.

use crate::{Error, Result};

/// For the world's own parts, to which no HTTP proxy leads.
pub(super) fn http_client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(Error::http("make an HTTP client"))
}
