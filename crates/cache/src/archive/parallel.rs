//! Compresses files on all processors at once; one thread writes them.

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use zip::write::ZipFileBuilder;
use zip::{PreparedZipFile, ZipWriter};

use super::entry::{Packing, options, start, write_error};
use super::{Contents, Stat, Tree, is_skippable};
use crate::Error;

/// Files up to this size are compressed in memory by the workers; larger ones, and those whose name
/// is not UTF-8, are streamed one after the other by the writing thread.
const IN_MEMORY: u64 = 16 << 20;

/// Adds regular files. The entries are in the order in which they were compressed.
pub(super) fn add_files(
    zip: &mut ZipWriter<BufWriter<File>>,
    tree: &Tree,
    files: &[(PathBuf, Stat)],
    packing: Packing,
) -> Result<Contents, Error> {
    let (small, large): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|(path, stat)| stat.size <= IN_MEMORY && path.to_str().is_some());
    let mut contents = Contents::default();
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(small.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, ready) = sync_channel(threads.max(1) * 2);
        for _ in 0..threads {
            let sender = sender.clone();
            scope.spawn(|| compress_all(tree, &small, &next, packing, sender));
        }
        drop(sender);
        // If an error ends the loop early, the channel closes and the threads end with it.
        for prepared in ready {
            match prepared? {
                Some(file) => {
                    zip.add_prepared_file(file).map_err(write_error)?;
                    contents.entries += 1;
                }
                None => contents.skipped += 1,
            }
        }
        Ok::<_, Error>(())
    })?;
    for (path, stat) in large {
        if add_streamed(zip, tree, path, *stat, packing)? {
            contents.entries += 1;
        } else {
            contents.skipped += 1;
        }
    }
    Ok(contents)
}

type Prepared = Result<Option<PreparedZipFile>, Error>;

#[expect(
    clippy::needless_pass_by_value,
    reason = "the channel closes when the last thread ends"
)]
fn compress_all(
    tree: &Tree,
    files: &[&(PathBuf, Stat)],
    next: &AtomicUsize,
    packing: Packing,
    sender: SyncSender<Prepared>,
) {
    while let Some((path, stat)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        let prepared = compress(tree, path, *stat, packing);
        if sender.send(prepared).is_err() {
            return;
        }
    }
}

fn compress(tree: &Tree, path: &Path, stat: Stat, packing: Packing) -> Prepared {
    let Some(file) = open(tree, path)? else {
        return Ok(None);
    };
    let name = path.to_str().unwrap_or_default();
    let mut entry = ZipFileBuilder::new(name, options(stat, packing)?).map_err(write_error)?;
    // No more than the size seen before: a file that is still growing must end somewhere.
    io::copy(&mut file.take(stat.size), &mut entry).map_err(Error::file("read", path))?;
    entry.finish().map(Some).map_err(write_error)
}

fn add_streamed(
    zip: &mut ZipWriter<BufWriter<File>>,
    tree: &Tree,
    path: &Path,
    stat: Stat,
    packing: Packing,
) -> Result<bool, Error> {
    let Some(file) = open(tree, path)? else {
        return Ok(false);
    };
    start(zip, path, stat, packing)?;
    io::copy(&mut file.take(stat.size), zip).map_err(Error::file("read", path))?;
    Ok(true)
}

fn open(tree: &Tree, path: &Path) -> Result<Option<File>, Error> {
    match tree.read(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_skippable(&error) => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}
