//! AWS Signature Version 4, as checked by the receiver: header authorization and presigned URLs.
//!
//! The rules are those of the AWS reference ("Create a signed AWS API request"); the tests compare
//! with the signer of the AWS SDK.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::{Credential, Credentials};

/// How far the signer's clock may deviate.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// The payload hash of a request with an unsigned body.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Why a signature is refused; the names are AWS's error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no signature at all.
    MissingAuthenticationToken,
    /// There is one, but it is malformed.
    IncompleteSignature,
    /// The access key is unknown.
    InvalidAccessKeyId,
    /// The session token is missing or wrong.
    InvalidToken,
    /// The credentials have expired.
    ExpiredToken,
    /// The signer's clock deviates, or a presigned URL has expired.
    RequestExpired,
    /// The signature differs from the computed one.
    SignatureDoesNotMatch,
    /// The body differs from the signed one.
    PayloadHashMismatch,
}

/// The parts of a request's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The access key.
    pub access_key: String,
    /// `YYYYMMDD`, region and service of the scope.
    pub date: String,
    /// The region of the scope.
    pub region: String,
    /// The service of the scope.
    pub service: String,
    /// The names of the signed headers, as given.
    pub signed_headers: Vec<String>,
    /// The signature, in hex.
    pub signature: String,
    /// `YYYYMMDDTHHMMSSZ`.
    pub timestamp: String,
    /// The request's session token.
    pub session_token: Option<String>,
    /// Presigned URLs: how many seconds they are valid.
    pub expires: Option<i64>,
}

/// The signed parts of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as sent (percent-encoded).
    pub path: &'a str,
    /// The query as sent, without `?`.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
}

impl Signed {
    /// Finds the signature in a request.
    pub fn find(request: &Request<'_>) -> Result<Self, Refusal> {
        if let Some(value) = header(request.headers, "authorization") {
            return Self::from_header(value, request.headers);
        }
        let pairs = query_pairs(request.query);
        if pairs.iter().any(|(name, _)| name == "X-Amz-Signature") {
            return Self::from_query(&pairs);
        }
        Err(Refusal::MissingAuthenticationToken)
    }

    fn from_header(value: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        let rest = value
            .strip_prefix("AWS4-HMAC-SHA256")
            .ok_or(Refusal::IncompleteSignature)?;
        let part = |name: &str| {
            rest.split(',')
                .filter_map(|part| part.trim().split_once('='))
                .find_map(|(key, value)| (key == name).then_some(value))
                .ok_or(Refusal::IncompleteSignature)
        };
        let timestamp = header(headers, "x-amz-date").ok_or(Refusal::IncompleteSignature)?;
        Self::assemble(
            part("Credential")?,
            part("SignedHeaders")?,
            part("Signature")?,
            timestamp,
            header(headers, "x-amz-security-token").map(str::to_owned),
            None,
        )
    }

    fn from_query(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let find = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| decode(value))
        };
        let part = |name: &str| find(name).ok_or(Refusal::IncompleteSignature);
        let expires = part("X-Amz-Expires")?
            .parse()
            .map_err(|_| Refusal::IncompleteSignature)?;
        Self::assemble(
            &part("X-Amz-Credential")?,
            &part("X-Amz-SignedHeaders")?,
            &part("X-Amz-Signature")?,
            &part("X-Amz-Date")?,
            find("X-Amz-Security-Token"),
            Some(expires),
        )
    }

    fn assemble(
        credential: &str,
        headers: &str,
        signature: &str,
        timestamp: &str,
        session_token: Option<String>,
        expires: Option<i64>,
    ) -> Result<Self, Refusal> {
        let parts: Vec<&str> = credential.split('/').collect();
        let &[access_key, date, region, service, "aws4_request"] = parts.as_slice() else {
            return Err(Refusal::IncompleteSignature);
        };
        if !timestamp.starts_with(date) {
            return Err(Refusal::IncompleteSignature);
        }
        Ok(Self {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: headers.split(';').map(str::to_owned).collect(),
            signature: signature.to_owned(),
            timestamp: timestamp.to_owned(),
            session_token,
            expires,
        })
    }

    /// Checks the signature against the issued credentials; returns their owner.
    ///
    /// `payload_hash` is the hash of the body in hex, or the value of `x-amz-content-sha256`.
    pub fn check(
        &self,
        request: &Request<'_>,
        payload_hash: &str,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<Credential, Refusal> {
        let known = credentials
            .find(&self.access_key)
            .ok_or(Refusal::InvalidAccessKeyId)?;
        if self.session_token != known.session_token {
            return Err(Refusal::InvalidToken);
        }
        if known.expires.is_some_and(|expires| expires <= now) {
            return Err(Refusal::ExpiredToken);
        }
        self.check_time(now)?;
        self.check_headers(request.headers)?;
        let canonical = self.canonical_request(request, payload_hash)?;
        let expected = self.signature_of(&canonical, &known.secret_key);
        // Hex of equal length, compared completely, so that the time does not depend on the guess.
        let differs = expected.len() != self.signature.len()
            || expected
                .bytes()
                .zip(self.signature.bytes())
                .fold(0, |sum, (a, b)| sum | (a ^ b))
                != 0;
        if differs {
            tracing::debug!(%canonical, "signature does not match");
            return Err(Refusal::SignatureDoesNotMatch);
        }
        Ok(known)
    }

    /// AWS requires `host` and every `x-amz-*` header to be signed; S3 requires the payload's hash.
    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let is_signed = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        let mut ours = headers
            .keys()
            .map(http::HeaderName::as_str)
            .filter(|name| name.starts_with("x-amz-"));
        let unsigned = !is_signed("host") || !ours.all(is_signed);
        let is_presigned = self.expires.is_some();
        let unhashed = self.service == "s3" && !headers.contains_key("x-amz-content-sha256");
        if unsigned || (unhashed && !is_presigned) {
            return Err(Refusal::IncompleteSignature);
        }
        Ok(())
    }

    fn check_time(&self, now: Timestamp) -> Result<(), Refusal> {
        let signed = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", &self.timestamp)
            .and_then(|parsed| parsed.to_datetime())
            .and_then(|datetime| jiff::tz::TimeZone::UTC.to_timestamp(datetime))
            .map_err(|_| Refusal::IncompleteSignature)?;
        let latest = self.expires.map_or(SKEW, SignedDuration::from_secs);
        let age = now.duration_since(signed);
        if age > latest || age < -SKEW {
            Err(Refusal::RequestExpired)
        } else {
            Ok(())
        }
    }

    fn canonical_request(
        &self,
        request: &Request<'_>,
        payload_hash: &str,
    ) -> Result<String, Refusal> {
        let mut headers = String::new();
        for name in &self.signed_headers {
            let values: Vec<String> = request
                .headers
                .get_all(name)
                .iter()
                .map(|value| squeeze(&String::from_utf8_lossy(value.as_bytes())))
                .collect();
            if values.is_empty() {
                return Err(Refusal::SignatureDoesNotMatch);
            }
            // Writing to a string does not fail; the same below.
            let _ = writeln!(headers, "{name}:{}", values.join(","));
        }
        Ok(format!(
            "{}\n{}\n{}\n{headers}\n{}\n{payload_hash}",
            request.method,
            self.canonical_path(request.path),
            canonical_query(request.query),
            self.signed_headers.join(";"),
        ))
    }

    /// S3 signs the path as it is sent, all other services encode it once more.
    fn canonical_path(&self, path: &str) -> String {
        let path = if path.is_empty() { "/" } else { path };
        if self.service == "s3" {
            encode(&decode(path), true)
        } else {
            encode(path, true)
        }
    }

    fn signature_of(&self, canonical: &str, secret: &str) -> String {
        let scope = format!(
            "{}/{}/{}/aws4_request",
            self.date, self.region, self.service
        );
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
            self.timestamp,
            hex::encode(Sha256::digest(canonical))
        );
        let key = [&self.date, &self.region, &self.service]
            .into_iter()
            .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
                mac(&key, part)
            });
        hex::encode(mac(&mac(&key, "aws4_request"), &text))
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Removes spaces at the ends and merges inner ones.
fn squeeze(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names and values as sent, still encoded.
fn query_pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Sorted and encoded again, without the signature itself.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query_pairs(query)
        .into_iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| {
            (
                encode(&decode(&name), false),
                encode(&decode(&value), false),
            )
        })
        .collect();
    pairs.sort();
    pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&")
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten();
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            plain.push(byte);
            at += 3;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Keeps RFC 3986's unreserved characters and encodes all others as `%XX`.
fn encode(text: &str, keep_slash: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let keep =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/');
        if keep {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
