//! Packs the files of a folder that match some patterns, as for a job's cache, and prints the
//! object key: `cargo run --example pack_a_folder -- FOLDER 'target/**' '*.lock'`.

#![expect(clippy::print_stdout, reason = "examples print their results")]

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;

use onspot_cache::archive::{self, Level, Tree};
use onspot_cache::{CacheScope, Selection, object_key};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let mut paths: Vec<String> = arguments.collect();
    if paths.is_empty() {
        paths.push("*.md".to_owned());
    }

    let tree = Tree::open(&folder)?;
    let selection = Selection {
        paths,
        ..Selection::default()
    };
    let selected = selection.find(&tree, b"")?;
    let file = std::env::temp_dir().join(format!("cache-{}.zip", std::process::id()));
    let packed =
        archive::zip::create(&tree, &selected.paths, Level::Default, File::create(&file)?)?;

    let scope = CacheScope {
        prefix: None,
        shared: true,
        short_token: "abc".to_owned(),
        project_id: 7,
    };
    println!("{} entries in {}", packed.entries, file.display());
    println!("to be stored as {}", object_key(&scope, "main")?);
    Ok(())
}
