//! Transfers archives by presigned URLs: ranged GETs in parallel, one PUT, retries.
//!
//! A presigned URL allows exactly one method on one object for a limited time, without credentials.
//! A job's helper has no other access to the bucket.

use std::io::SeekFrom;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use onspot_patience::{Backoff, Stall};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, LAST_MODIFIED, RANGE};
use reqwest::{Client, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use url::Url;

use crate::Error;
use crate::error::chain;

/// Bytes read at once for an upload: few enough that even a slow connection sends them within the
/// idle timeout.
const UPLOAD_CHUNK: usize = 64 << 10;

/// Factor on the idle timeout while waiting for the answer.
const FOR_ANSWER: u32 = 5;

/// Settings of a transfer.
#[derive(Debug, Clone)]
pub struct TransferOptions {
    /// Size of one ranged GET, in bytes.
    pub part_size: u64,
    /// How many of them run at once.
    pub parallel: usize,
    /// How often one request is tried.
    pub tries: u32,
    /// Wait before the second try; doubled for each further one.
    pub backoff: Duration,
    /// How long no bytes may be received or sent before a request counts as failed.
    pub idle_timeout: Duration,
    /// How long one try of a whole transfer may take, if there is a limit
    /// (`CACHE_REQUEST_TIMEOUT`).
    pub request_timeout: Option<Duration>,
}

impl Default for TransferOptions {
    fn default() -> Self {
        Self {
            part_size: 16 << 20,
            parallel: 8,
            tries: 5,
            backoff: Duration::from_millis(200),
            idle_timeout: Duration::from_mins(1),
            request_timeout: None,
        }
    }
}

/// Fetches and stores objects by presigned URLs.
#[derive(Debug, Clone)]
pub struct Transfer {
    client: Client,
    /// Like `client` without a read timeout, which would also run while a request is being sent.
    uploads: Client,
    options: TransferOptions,
}

/// A failed request.
enum Failure {
    /// Trying again may help.
    Transient(String),
    /// Trying again will not help.
    Final(Error),
}

/// The result of the first ranged GET.
struct FirstPart {
    response: Response,
    /// The object's whole size, if the answer was partial.
    total: Option<u64>,
    etag: Option<String>,
}

impl Transfer {
    /// A transfer with connections of its own.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(options: TransferOptions) -> Result<Self, Error> {
        let builder = || Client::builder().connect_timeout(Duration::from_secs(10));
        let failed = |error| Error::Transfer {
            action: "connect",
            tries: 1,
            message: plain(error),
        };
        let client = builder().read_timeout(options.idle_timeout).build();
        Ok(Self {
            client: client.map_err(failed)?,
            uploads: builder().build().map_err(failed)?,
            options,
        })
    }

    /// Downloads an object into a new file; `None` if there is no such object.
    ///
    /// Objects larger than one part are fetched in parallel; each part is requested with the first
    /// one's `ETag`, so that all come from one version of the object.
    ///
    /// # Errors
    /// If it is refused, or fails after all tries.
    pub async fn download(&self, url: &Url, to: &Path) -> Result<Option<u64>, Error> {
        let file = std::fs::File::create(to).map_err(Error::file("create", to))?;
        let file = Arc::new(file);
        let result = self
            .retry("download", || self.download_once(url, &file))
            .await;
        match result {
            Err(Error::Refused { status: 404, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Uploads a file with the headers that were signed.
    ///
    /// # Errors
    /// If it is refused, or fails after all tries.
    pub async fn upload(
        &self,
        url: &Url,
        headers: &[(String, String)],
        from: &Path,
    ) -> Result<u64, Error> {
        self.retry("upload", || self.upload_once(url, headers, from))
            .await
    }

    /// When an object was stored; `None` if it cannot be had. Asked by a GET of one byte: a
    /// presigned URL allows no other method.
    pub async fn modified(&self, url: &Url) -> Option<Timestamp> {
        let request = self.client.get(url.clone()).header(RANGE, "bytes=0-0");
        let response = request.send().await.ok()?;
        let response = response.error_for_status().ok()?;
        let time = response.headers().get(LAST_MODIFIED)?.to_str().ok()?;
        Some(jiff::fmt::rfc2822::parse(time).ok()?.timestamp())
    }

    async fn in_time<T>(
        &self,
        tried: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(limit) = self.options.request_timeout else {
            return tried.await;
        };
        match tokio::time::timeout(limit, tried).await {
            Ok(tried) => tried,
            Err(_) => Err(Failure::Transient(format!(
                "it took longer than {} s (CACHE_REQUEST_TIMEOUT)",
                limit.as_secs()
            ))),
        }
    }

    async fn download_once(&self, url: &Url, file: &Arc<std::fs::File>) -> Result<u64, Failure> {
        let part = self.options.part_size;
        let first = self.first_part(url).await?;
        file.set_len(0)
            .map_err(|e| Failure::Transient(e.to_string()))?;
        let received = store(first.response, file, 0).await?;
        let Some(total) = first.total else {
            return Ok(received);
        };
        let starts = (1..total.div_ceil(part)).map(|index| index * part);
        let rest: u64 = futures::stream::iter(starts)
            .map(|start| self.part(url, file, start, total, first.etag.as_deref()))
            .buffer_unordered(self.options.parallel)
            .try_fold(0, |sum, bytes| async move { Ok(sum + bytes) })
            .await?;
        if received + rest == total {
            Ok(total)
        } else {
            Err(Failure::Transient(format!(
                "{} of {total} bytes arrived",
                received + rest
            )))
        }
    }

    async fn first_part(&self, url: &Url) -> Result<FirstPart, Failure> {
        let range = format!("bytes=0-{}", self.options.part_size - 1);
        let response = self
            .client
            .get(url.clone())
            .header(RANGE, range)
            .send()
            .await;
        let response = response.map_err(transient)?;
        // The object is empty: there is no byte 0.
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            let response = self
                .client
                .get(url.clone())
                .send()
                .await
                .map_err(transient)?;
            let response = checked("download", response).await?;
            return Ok(FirstPart {
                response,
                total: None,
                etag: None,
            });
        }
        let response = checked("download", response).await?;
        let total = (response.status() == StatusCode::PARTIAL_CONTENT)
            .then(|| {
                response
                    .headers()
                    .get(CONTENT_RANGE)?
                    .to_str()
                    .ok()?
                    .rsplit_once('/')
            })
            .flatten()
            .and_then(|(_, total)| total.parse().ok());
        let etag = response
            .headers()
            .get(ETAG)
            .and_then(|tag| tag.to_str().ok());
        Ok(FirstPart {
            total,
            etag: etag.map(str::to_owned),
            response,
        })
    }

    /// Fetches one further part, with its own retries before the whole download is tried again.
    async fn part(
        &self,
        url: &Url,
        file: &Arc<std::fs::File>,
        start: u64,
        total: u64,
        etag: Option<&str>,
    ) -> Result<u64, Failure> {
        let end = (start + self.options.part_size).min(total) - 1;
        let mut request = self
            .client
            .get(url.clone())
            .header(RANGE, format!("bytes={start}-{end}"));
        if let Some(etag) = etag {
            request = request.header(IF_MATCH, etag);
        }
        let mut last = String::new();
        for attempt in 0..2 {
            if attempt > 0 {
                tokio::time::sleep(self.options.backoff).await;
            }
            let Some(request) = request.try_clone() else {
                break;
            };
            let tried = async {
                let response = request.send().await.map_err(transient)?;
                // The object was replaced meanwhile: start again with the new one.
                if response.status() == StatusCode::PRECONDITION_FAILED {
                    return Err(Failure::Transient("the object changed".into()));
                }
                store(checked("download", response).await?, file, start).await
            };
            match tried.await {
                Ok(bytes) if bytes == end + 1 - start => return Ok(bytes),
                Ok(bytes) => last = format!("{bytes} of {} bytes arrived", end + 1 - start),
                Err(Failure::Transient(message)) => last = message,
                Err(error) => return Err(error),
            }
        }
        Err(Failure::Transient(last))
    }

    /// Uploads a file in parts, some of them at once; returns the parts' `ETag`s in their order.
    ///
    /// # Errors
    /// If a part is refused, or fails after all tries.
    pub async fn upload_parts(
        &self,
        urls: &[Url],
        part_bytes: u64,
        from: &Path,
    ) -> Result<Vec<String>, Error> {
        let parts = urls.iter().zip(0_u64..).map(|(url, index)| {
            let start = index * part_bytes;
            self.retry("upload", move || {
                self.part_once(url, from, start, part_bytes)
            })
        });
        futures::stream::iter(parts)
            .buffered(self.options.parallel)
            .try_collect()
            .await
    }

    async fn part_once(
        &self,
        url: &Url,
        from: &Path,
        start: u64,
        most: u64,
    ) -> Result<String, Failure> {
        let (_, response) = self.put(url, &[], from, start, most).await?;
        let etag = response.headers().get(ETAG);
        let etag = etag.and_then(|tag| tag.to_str().ok());
        etag.map(str::to_owned)
            .ok_or_else(|| Failure::Transient("the part has no ETag".into()))
    }

    async fn upload_once(
        &self,
        url: &Url,
        headers: &[(String, String)],
        from: &Path,
    ) -> Result<u64, Failure> {
        let (size, _) = self.put(url, headers, from, 0, u64::MAX).await?;
        Ok(size)
    }

    /// Sends a part of a file; returns its size and the answer.
    async fn put(
        &self,
        url: &Url,
        headers: &[(String, String)],
        from: &Path,
        start: u64,
        most: u64,
    ) -> Result<(u64, Response), Failure> {
        let broken = |error| Failure::Final(Error::file("read", from)(error));
        let mut file = tokio::fs::File::open(from).await.map_err(broken)?;
        let size = file.metadata().await.map_err(broken)?.len();
        let size = size.saturating_sub(start).min(most);
        file.seek(SeekFrom::Start(start)).await.map_err(broken)?;
        let stall = Stall::new(
            self.options.idle_timeout,
            self.options.idle_timeout * FOR_ANSWER,
        );
        let content = ReaderStream::with_capacity(file.take(size), UPLOAD_CHUNK);
        let body = reqwest::Body::wrap_stream(stall.watch(content));
        let upload = async {
            let request = self.uploads.put(url.clone()).header(CONTENT_LENGTH, size);
            let request = headers.iter().fold(request, |request, (name, value)| {
                request.header(name.as_str(), value.as_str())
            });
            let response = request.body(body).send().await.map_err(transient)?;
            checked("upload", response).await
        };
        match stall.guard(upload).await {
            Some(uploaded) => uploaded.map(|response| (size, response)),
            None => Err(Failure::Transient("the upload stands still".into())),
        }
    }

    async fn retry<T, F, Fut>(&self, action: &'static str, once: F) -> Result<T, Error>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let first = self.options.backoff;
        let mut backoff = Backoff::new(first, first * 16);
        let mut message = String::new();
        for attempt in 0..self.options.tries {
            if attempt > 0 {
                tokio::time::sleep(backoff.pause()).await;
            }
            match self.in_time(once()).await {
                Ok(bytes) => return Ok(bytes),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Transient(text)) => {
                    tracing::debug!(action, attempt, error = text, "transfer failed");
                    message = text;
                }
            }
        }
        Err(Error::Transfer {
            action,
            tries: self.options.tries,
            message,
        })
    }
}

/// Writes a response's body at an offset.
async fn store(response: Response, file: &Arc<std::fs::File>, offset: u64) -> Result<u64, Failure> {
    let mut body = response.bytes_stream();
    let mut position = offset;
    while let Some(chunk) = body.next().await {
        let chunk: Bytes = chunk.map_err(transient)?;
        let length = chunk.len() as u64;
        let file = Arc::clone(file);
        tokio::task::spawn_blocking(move || file.write_all_at(&chunk, position))
            .await
            .map_err(|error| Failure::Transient(error.to_string()))?
            .map_err(|error| Failure::Transient(error.to_string()))?;
        position += length;
    }
    Ok(position - offset)
}

async fn checked(action: &'static str, response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.text().await.unwrap_or_default();
    let detail = error_code(&body).unwrap_or_default().to_owned();
    if status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        )
        || detail == "RequestTimeout"
    {
        return Err(Failure::Transient(
            format!("HTTP {status} {detail}").trim_end().to_owned(),
        ));
    }
    Err(Failure::Final(Error::Refused {
        action,
        status: status.as_u16(),
        detail,
    }))
}

/// The code in S3's XML error, e.g. `NoSuchKey`.
fn error_code(body: &str) -> Option<&str> {
    let code = body.split_once("<Code>")?.1.split_once("</Code>")?.0;
    code.chars()
        .all(|c| c.is_ascii_alphanumeric())
        .then_some(code)
}

fn transient(error: reqwest::Error) -> Failure {
    Failure::Transient(plain(error))
}

/// An HTTP client's error and its cause, without the URL, whose query is a credential.
fn plain(error: reqwest::Error) -> String {
    chain(&error.without_url())
}

#[cfg(test)]
mod tests;
