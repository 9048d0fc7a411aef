//! Copies files into and out of a container through the engine: a local cache is never mounted, so
//! that jobs cannot reach the caches of others.

use std::path::Path;

use bollard::Docker;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::io::AsyncReadExt;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::error::Error;

/// The block size of tar, in bytes.
const BLOCK: u64 = 512;

/// Copies a file into a container and creates its parent folders.
pub(super) async fn put(
    docker: &Docker,
    container: &str,
    from: &Path,
    at: &Path,
) -> Result<(), Error> {
    let failed = |error| Error::io(format!("read {}", from.display()))(error);
    let file = tokio::fs::File::open(from).await.map_err(failed)?;
    let size = file.metadata().await.map_err(failed)?.len();
    let mut header = tar::Header::new_ustar();
    let name = at.strip_prefix("/").unwrap_or(at);
    header.set_path(name).map_err(failed)?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(0);
    header.set_cksum();
    let begin = Bytes::copy_from_slice(header.as_bytes());
    let padding = usize::try_from(size.next_multiple_of(BLOCK) - size + 2 * BLOCK);
    let end = Bytes::from(vec![0; padding.unwrap_or_default()]);
    let content = ReaderStream::with_capacity(file.take(size), 256 << 10);
    let tar = futures::stream::iter([Ok(begin)])
        .chain(content)
        .chain(futures::stream::iter([Ok(end)]));
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    docker
        .upload_to_container(container, Some(options), bollard::body_try_stream(tar))
        .await
        .map_err(Error::docker("hand the cache to the helper"))
}

/// Copies a file out of a container.
pub(super) async fn take(
    docker: &Docker,
    container: &str,
    from: &Path,
    to: &Path,
) -> Result<(), Error> {
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(&from.to_string_lossy())
        .build();
    let stream = docker.download_from_container(container, Some(options));
    let mut tar = StreamReader::new(Box::pin(stream.map_err(std::io::Error::other)));
    let failed = |error| Error::io(format!("take {}", from.display()))(error);
    let size = regular_file(&mut tar).await.map_err(failed)?;
    let mut out = tokio::fs::File::create(to)
        .await
        .map_err(Error::io(format!("create {}", to.display())))?;
    let copied = tokio::io::copy(&mut (&mut tar).take(size), &mut out)
        .await
        .map_err(failed)?;
    out.sync_all()
        .await
        .map_err(Error::io(format!("write {}", to.display())))?;
    if copied == size {
        Ok(())
    } else {
        Err(failed(std::io::ErrorKind::UnexpectedEof.into()))
    }
}

/// Reads up to a tar's first file, and returns its size in bytes.
async fn regular_file(tar: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<u64> {
    loop {
        let mut header = tar::Header::new_old();
        tar.read_exact(header.as_mut_bytes()).await?;
        let size = header.entry_size()?;
        if header.entry_type().is_file() {
            return Ok(size);
        }
        // An extended header; its content does not matter.
        let mut skipped = tar.take(size.next_multiple_of(BLOCK));
        tokio::io::copy(&mut skipped, &mut tokio::io::sink()).await?;
        if size == 0 && header.path_bytes().is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
