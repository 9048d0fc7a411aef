//! Uploads artifacts from a file and downloads them as a stream.

use std::path::Path;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Request, StatusCode};
use reqwest::multipart::{Form, Part};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;
use url::Url;

use crate::Error;
use crate::client::{Client, between_requests, request_id};
use crate::request::ArtifactUpload;
use crate::response;
use crate::token::{JobId, JobToken};
use onspot_patience::Stall;

const UPLOAD: &str = "take an artifact";
const DOWNLOAD: &str = "give an artifact";

/// Bytes read at once for an upload.
const UPLOAD_CHUNK: usize = 64 << 10;

/// How many redirects are followed for one artifact.
const MAX_REDIRECTS: usize = 5;

impl Client {
    /// Uploads a file as a job's artifact, streamed from disk; retries temporary failures.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read; see [`response::uploaded`] for GitLab's refusals.
    pub async fn upload_artifact(
        &self,
        job: JobId,
        token: &JobToken,
        upload: &ArtifactUpload,
        file: &Path,
    ) -> Result<(), Error> {
        let request = self.api.upload_artifact(job, token, upload)?;
        let mut backoff = between_requests();
        let mut attempt = 1;
        loop {
            match self.upload_once(&request, upload, file).await {
                Err(error) if error.is_transient() && attempt < self.options.attempts => {
                    attempt += 1;
                    let wait = backoff.pause_as(error.retry_after());
                    tracing::warn!(%job, %error, ?wait, "uploading the artifact again");
                    tokio::time::sleep(wait).await;
                }
                result => return result,
            }
        }
    }

    async fn upload_once(
        &self,
        head: &Request<Vec<u8>>,
        upload: &ArtifactUpload,
        file: &Path,
    ) -> Result<(), Error> {
        let mut url = parse_url(&head.uri().to_string())?;
        for _ in 0..=MAX_REDIRECTS {
            let stall = Stall::new(self.options.stall_timeout, self.options.stall_timeout);
            let part = file_part(file, &upload.name, &stall).await?;
            let mut request = self
                .http
                .post(url.clone())
                .multipart(Form::new().part("file", part))
                .header("x-request-id", request_id());
            if self.is_own(&url) {
                request = request.headers(head.headers().clone());
            }
            let answer = match stall.guard(request.send()).await {
                Some(answer) => answer.map_err(|e| self.unreachable(UPLOAD, e))?,
                None => return Err(stalled(UPLOAD)),
            };
            if answer.status() == StatusCode::TEMPORARY_REDIRECT
                && let Some(next) = location(&url, &answer)
            {
                url = next;
                continue;
            }
            let answer = match stall.guard(self.read(answer, UPLOAD)).await {
                Some(answer) => answer?,
                None => return Err(stalled(UPLOAD)),
            };
            return response::uploaded(&upload.name, answer.status, &answer.headers, &answer.body);
        }
        Err(too_many_redirects(UPLOAD))
    }

    /// Begins the download of a job's archive.
    ///
    /// `token` is that of the [`Dependency`](crate::job::Dependency). It is not sent to the object
    /// storage when GitLab redirects there. With `direct`, GitLab may redirect on the first try
    /// only; later tries get the archive from GitLab itself, in case the storage cannot be reached
    /// from here.
    ///
    /// # Errors
    /// [`Error::NoArtifacts`], [`Error::Refused`], [`Error::Status`], [`Error::Unreachable`].
    pub async fn download_artifact(
        &self,
        job: JobId,
        token: &JobToken,
        direct: bool,
    ) -> Result<ArtifactStream, Error> {
        let mut request = self.api.download_artifact(job, token, direct)?;
        let mut backoff = between_requests();
        let mut attempt = 1;
        loop {
            match self.download_once(job, &request).await {
                Err(error) if error.is_transient() && attempt < self.options.attempts => {
                    attempt += 1;
                    request = self.api.download_artifact(job, token, false)?;
                    let wait = backoff.pause_as(error.retry_after());
                    tracing::warn!(%job, %error, ?wait, "asking for the artifact again");
                    tokio::time::sleep(wait).await;
                }
                result => return result,
            }
        }
    }

    async fn download_once(
        &self,
        job: JobId,
        head: &Request<Vec<u8>>,
    ) -> Result<ArtifactStream, Error> {
        let mut url = parse_url(&head.uri().to_string())?;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self
                .http
                .get(url.clone())
                .header("x-request-id", request_id());
            if self.is_own(&url) {
                request = request.headers(head.headers().clone());
            }
            let sent = tokio::time::timeout(self.options.stall_timeout, request.send()).await;
            let answer = match sent {
                Ok(answer) => answer.map_err(|e| self.unreachable(DOWNLOAD, e))?,
                Err(_) => return Err(stalled(DOWNLOAD)),
            };
            match answer.status() {
                StatusCode::OK => {
                    return Ok(ArtifactStream {
                        client: self.clone(),
                        answer,
                    });
                }
                StatusCode::NOT_FOUND => {
                    let host = url.host_str().unwrap_or_default().to_owned();
                    return Err(Error::NoArtifacts { job, host });
                }
                StatusCode::FOUND | StatusCode::TEMPORARY_REDIRECT => {
                    match location(&url, &answer) {
                        Some(next) => url = next,
                        None => return Err(too_many_redirects(DOWNLOAD)),
                    }
                }
                _ => {
                    let answer = self.read(answer, DOWNLOAD).await?;
                    let (status, headers) = (answer.status, &answer.headers);
                    return Err(response::not_downloaded(job, status, headers, &answer.body));
                }
            }
        }
        Err(too_many_redirects(DOWNLOAD))
    }

    /// Whether a URL is GitLab's own, so that it may receive a token.
    fn is_own(&self, url: &Url) -> bool {
        self.api.origin() == url.origin()
    }
}

/// An archive being downloaded from GitLab.
#[derive(Debug)]
pub struct ArtifactStream {
    client: Client,
    answer: reqwest::Response,
}

impl ArtifactStream {
    /// The archive's size in bytes, if it is known.
    pub fn size(&self) -> Option<u64> {
        self.answer.content_length()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if the transfer breaks off, [`Error::Status`] if it stalls.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let next = self.answer.chunk();
        match tokio::time::timeout(self.client.options.stall_timeout, next).await {
            Ok(chunk) => chunk.map_err(|e| self.client.unreachable(DOWNLOAD, e)),
            Err(_) => Err(stalled(DOWNLOAD)),
        }
    }

    /// Writes the archive to a file, creating or overwriting it, and returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::File`], and those of [`ArtifactStream::chunk`].
    pub async fn save(mut self, path: &Path) -> Result<u64, Error> {
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let mut file = File::create(path).await.map_err(failed)?;
        let mut size = 0;
        while let Some(chunk) = self.chunk().await? {
            file.write_all(&chunk).await.map_err(failed)?;
            size += chunk.len() as u64;
        }
        file.flush().await.map_err(failed)?;
        Ok(size)
    }
}

/// The file as a part of a form, streamed from disk.
async fn file_part(path: &Path, name: &str, stall: &Stall) -> Result<Part, Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).await.map_err(failed)?;
    let size = file.metadata().await.map_err(failed)?.len();
    let content = stall.watch(ReaderStream::with_capacity(file, UPLOAD_CHUNK));
    Part::stream_with_length(reqwest::Body::wrap_stream(content), size)
        .file_name(name.to_owned())
        .mime_str("application/octet-stream")
        .map_err(Error::Setup)
}

fn parse_url(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|_| Error::BaseUrl {
        url: url.to_owned(),
    })
}

/// Where a redirect leads.
fn location(from: &Url, answer: &reqwest::Response) -> Option<Url> {
    from.join(answer.headers().get(LOCATION)?.to_str().ok()?)
        .ok()
}

fn too_many_redirects(what: &'static str) -> Error {
    Error::Status {
        what,
        status: StatusCode::TEMPORARY_REDIRECT,
        message: "the redirects lead nowhere".to_owned(),
        retry_after: None,
    }
}

fn stalled(what: &'static str) -> Error {
    Error::Status {
        what,
        status: StatusCode::REQUEST_TIMEOUT,
        message: "the transfer stands still".to_owned(),
        retry_after: None,
    }
}
