//! A job's caches: unpacked before the script, packed after it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onspot_cache::archive::{self, Extracted, Format, Limits, Tree};
use onspot_cache::{Error as CacheError, Found, Selected, Selection, Transfer, TransferOptions};
use onspot_gitlab::ansi;
use url::Url;

use super::request::{
    Candidate, HelperAnswer, Location, Place, RestoreCache, SaveCache, UploadParts,
};
use super::{HelperError, blocking, place, say, sources};

/// The pause before a cache is tried again.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);

pub(super) async fn restore(
    at: &Place,
    request: RestoreCache,
) -> Result<HelperAnswer, HelperError> {
    let transfer = transfer(request.transfer_seconds)?;
    for (index, candidate) in request.candidates.into_iter().enumerate() {
        say(&ansi::info(&format!(
            "Checking cache for {}...",
            candidate.key
        )));
        match restore_one(at, &transfer, &candidate, request.attempts.max(1)).await {
            Ok(Some(found)) => {
                let text = format!(
                    "Successfully extracted cache ({} entries)",
                    found.extracted.contents.entries
                );
                say(&ansi::info(&text));
                let fingerprint = if index == 0 && found.under_own_name {
                    match find(at, request.selection.clone()).await {
                        Ok(there) => {
                            fingerprint(at, there.paths, Some(found.extracted.names)).await
                        }
                        Err(_) => None,
                    }
                } else {
                    None
                };
                return Ok(HelperAnswer::Restored {
                    key: Some(candidate.key),
                    fingerprint,
                });
            }
            Ok(None) => say("No cache under this key yet."),
            // A broken cache is no reason to fail: the job can do without it.
            Err(error) => say(&ansi::warning(&not_restored(&error))),
        }
    }
    Ok(HelperAnswer::Restored {
        key: None,
        fingerprint: None,
    })
}

/// The fingerprint of these files, if their names are those that `names` stands for.
async fn fingerprint(at: &Place, found: BTreeSet<PathBuf>, names: Option<u64>) -> Option<String> {
    let at = at.clone();
    let taken = blocking(move || {
        if names.is_some_and(|names| archive::sum_of_names(&found) != names) {
            return Ok(None);
        }
        Ok(archive::fingerprint(&place::open(&at)?, &found).ok())
    });
    // Without it, the cache is saved once more than needed.
    taken.await.ok().flatten()
}

/// The message for a cache that could not be restored, with a hint.
fn not_restored(error: &HelperError) -> String {
    let hint = match error {
        HelperError::Cache(error) => error.hint(),
        _ => None,
    };
    let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
    match error {
        // As far as this side can tell, the cache does not exist.
        HelperError::Cache(CacheError::Refused { status: 403, .. }) => {
            format!("no cache that may be read under this key: {error}{hint}")
        }
        _ => format!("the cache was not restored: {error}{hint}"),
    }
}

/// A cache that was found and unpacked.
struct Restored {
    extracted: Extracted,
    /// Whether it was not under the name that it would have with `FF_HASH_CACHE_KEYS` the other
    /// way round.
    under_own_name: bool,
}

async fn restore_one(
    at: &Place,
    transfer: &Transfer,
    candidate: &Candidate,
    attempts: u32,
) -> Result<Option<Restored>, HelperError> {
    let mut attempt = 1;
    loop {
        match restore_once(at, transfer, candidate).await {
            Err(HelperError::Cache(error))
                if attempt < attempts && error.is_worth_another_try() =>
            {
                let again = format!("{error}; trying again ({attempt} of {attempts})");
                say(&ansi::warning(&again));
                tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

async fn restore_once(
    at: &Place,
    transfer: &Transfer,
    candidate: &Candidate,
) -> Result<Option<Restored>, HelperError> {
    let folder = tempfile::tempdir().map_err(HelperError::file("create", "a temporary folder"))?;
    let (from, under_own_name) = newer(transfer, candidate).await?;
    let archive = match from {
        Location::File(path) if path.exists() => path.clone(),
        Location::File(_) => return Ok(None),
        Location::Url(url) => {
            let file = folder.path().join("cache");
            match transfer.download(&parse(url)?, &file).await? {
                Some(_) => file,
                None => return Ok(None),
            }
        }
    };
    let extracted = unpack(at, archive).await?;
    Ok(Some(Restored {
        extracted,
        under_own_name,
    }))
}

/// Which of a cache's two places has the newer one, and whether that is its own.
async fn newer<'a>(
    transfer: &Transfer,
    candidate: &'a Candidate,
) -> Result<(&'a Location, bool), HelperError> {
    if let (Location::Url(own), Some(location @ Location::Url(other))) =
        (&candidate.from, &candidate.other)
    {
        let (own, other) = (parse(own)?, parse(other)?);
        let (own, other) = tokio::join!(transfer.modified(&own), transfer.modified(&other));
        if other.is_some_and(|other| own.is_none_or(|own| other > own)) {
            return Ok((location, false));
        }
    }
    if let Some(location @ Location::File(_)) = &candidate.other {
        // The worker has chosen.
        return Ok((location, false));
    }
    Ok((&candidate.from, true))
}

/// Unpacks an archive into the project's folder, completely or not at all.
pub(super) async fn unpack(at: &Place, archive: PathBuf) -> Result<Extracted, HelperError> {
    let at = at.clone();
    blocking(move || {
        let tree = place::open(&at)?;
        let aside = place::aside(&at)?;
        let file = File::open(&archive).map_err(HelperError::file("open", &archive))?;
        let limits = Limits::of(&tree).map_err(HelperError::file("measure", at.project_dir()))?;
        let (aside, tree) = (&aside.tree, &tree);
        Ok(archive::extract_by_way_of(aside, tree, file, limits)?)
    })
    .await
}

pub(super) async fn save(at: &Place, request: SaveCache) -> Result<HelperAnswer, HelperError> {
    say(&ansi::info(&format!("Creating cache {}...", request.key)));
    let folder = tempfile::tempdir().map_err(HelperError::file("create", "a temporary folder"))?;
    let file = match &request.to {
        Location::File(path) => path.clone(),
        Location::Url(_) => folder.path().join("cache"),
    };
    let found = select(at, request.selection.clone()).await?;
    if found.is_empty() {
        say(&ansi::warning("no files for this cache"));
        return Ok(HelperAnswer::Nothing);
    }
    if request.stored.is_some() && request.stored == fingerprint(at, found.clone(), None).await {
        say(&ansi::info("Archive is up to date!"));
        return Ok(HelperAnswer::Nothing);
    }
    let bytes = pack(at, found, request.format, request.level, file.clone()).await?;
    if let Some(most) = request.most_bytes
        && bytes > most
    {
        say(&ansi::warning(&format!(
            "the cache is not stored: it has {bytes} bytes, and the runner allows {most} \
             (MaxUploadedArchiveSize)"
        )));
        return Ok(HelperAnswer::Nothing);
    }
    if let (Location::Url(_), Some((most, kept))) = (&request.to, request.one_put)
        && bytes > most
    {
        keep(&file, &kept)?;
        return Ok(HelperAnswer::TooLargeForOnePut { bytes, file: kept });
    }
    if let Location::Url(url) = &request.to {
        let transfer = transfer(request.transfer_seconds)?;
        transfer
            .upload(&parse(url)?, &request.headers, &file)
            .await?;
    }
    say(&ansi::info(&format!("Created cache ({bytes} bytes)")));
    Ok(HelperAnswer::Stored { bytes })
}

fn keep(file: &Path, kept: &Path) -> Result<(), HelperError> {
    let failed = HelperError::file("move", kept);
    let parent = kept.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent).map_err(HelperError::file("create", parent))?;
    match std::fs::rename(file, kept) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            std::fs::copy(file, kept).map(drop).map_err(failed)
        }
        renamed => renamed.map_err(failed),
    }
}

/// Uploads a packed cache in parts; its file is removed whatever happens.
pub(super) async fn upload_parts(request: UploadParts) -> Result<HelperAnswer, HelperError> {
    let uploaded = async {
        let urls: Result<Vec<Url>, _> = request.urls.iter().map(|url| parse(url)).collect();
        let transfer = transfer(request.transfer_seconds)?;
        let (urls, file) = (urls?, &request.file);
        let etags = transfer.upload_parts(&urls, request.part_bytes, file).await;
        Ok(HelperAnswer::Parts { etags: etags? })
    };
    let uploaded = uploaded.await;
    place::remove(&request.file)?;
    uploaded
}

/// What a selection finds.
async fn find(at: &Place, selection: Selection) -> Result<Selected, HelperError> {
    let untracked = if selection.untracked {
        sources::untracked(at).await?
    } else {
        Vec::new()
    };
    let at = at.clone();
    blocking(move || {
        let tree = place::open(&at)?;
        // Absolute paths are relative to what the job sees.
        let tree = tree.known_as(at.project_dir());
        Ok(selection.find(&tree, &untracked)?)
    })
    .await
}

/// What a selection finds, each part of it said in the trace.
pub(super) async fn select(
    at: &Place,
    selection: Selection,
) -> Result<BTreeSet<PathBuf>, HelperError> {
    let selected = find(at, selection).await?;
    for found in &selected.report {
        match found {
            Found::Pattern { pattern, count: 0 } => {
                say(&ansi::warning(&format!("{pattern}: no matching files")));
            }
            Found::Pattern { pattern, count } => {
                say(&format!(
                    "{pattern}: found {count} matching files and folders"
                ));
            }
            Found::Outside { pattern } => {
                say(&ansi::warning(&format!(
                    "{pattern}: not in the project's folder"
                )));
            }
            Found::Untracked { count } => say(&format!("untracked: found {count} files")),
            Found::Excluded { count } => say(&format!("excluded: {count} files and folders")),
        }
    }
    Ok(selected.paths)
}

/// Packs files into an archive, and returns its size in bytes.
pub(super) async fn pack(
    at: &Place,
    paths: BTreeSet<PathBuf>,
    format: Format,
    level: archive::Level,
    to: PathBuf,
) -> Result<u64, HelperError> {
    let at = at.clone();
    blocking(move || {
        let tree: Tree = place::open(&at)?;
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(HelperError::file("create", parent))?;
        }
        let out = File::create(&to).map_err(HelperError::file("create", &to))?;
        let contents = archive::create(format, &tree, &paths, level, out)?;
        if contents.skipped > 0 {
            let text = format!("left out {} special or unreadable files", contents.skipped);
            say(&ansi::warning(&text));
        }
        size(&to)
    })
    .await
}

pub(super) fn size(path: &Path) -> Result<u64, HelperError> {
    Ok(std::fs::metadata(path)
        .map_err(HelperError::file("read", path))?
        .len())
}

fn transfer(seconds: Option<u64>) -> Result<Transfer, HelperError> {
    Ok(Transfer::new(TransferOptions {
        request_timeout: seconds.map(Duration::from_secs),
        ..TransferOptions::default()
    })?)
}

fn parse(url: &str) -> Result<Url, HelperError> {
    // Not in the error: the URL is a credential.
    Url::parse(url).map_err(|_| HelperError::Request("the cache's URL is no URL".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_cache_is_reported_with_the_required_rights() {
        let refused = |status| {
            HelperError::Cache(CacheError::Refused {
                action: "download",
                status,
                detail: "AccessDenied".into(),
            })
        };
        let said = not_restored(&refused(403));
        assert!(
            said.starts_with("no cache that may be read under this key: "),
            "{said}"
        );
        for right in ["s3:ListBucket", "kms:Decrypt", "AccessDenied"] {
            assert!(said.contains(right), "{said}");
        }
        assert!(not_restored(&refused(400)).starts_with("the cache was not restored: "));
    }
}
