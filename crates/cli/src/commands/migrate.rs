//! `onspot migrate`: an onspot.toml from a config.toml.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use onspot_stack::Migration;
use serde::Serialize;

use crate::cli::{Global, Migrate};
use crate::failure::Failure;
use crate::output::Output;

/// The result, for programs.
#[derive(Debug, Serialize)]
struct Migrated<'a> {
    path: &'a str,
    runners: &'a [String],
    changes: usize,
    variables: &'a [String],
}

/// Writes the file. An existing one is only replaced with `--force`.
pub(crate) fn migrate(args: &Migrate, global: Global) -> Result<(), Failure> {
    let file = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file).map_err(|error| {
        Failure::caused(format!("cannot read {file}"), error)
            .hint("name the file: onspot migrate FILE")
    })?;
    let migration = onspot_stack::migrate(&text, &file)?;
    write(&args.out, &migration.text, args.force)?;
    let path = args.out.display().to_string();
    let migrated = Migrated {
        path: &path,
        runners: &migration.runners,
        changes: migration.changes,
        variables: &migration.variables,
    };
    Output::new(global.output).result(&migrated, || next_steps(&path, &migration))
}

fn next_steps(path: &str, migration: &Migration) -> String {
    let counted = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    };
    let mut exports = String::new();
    for name in &migration.variables {
        exports.extend(["  export ", name, "=glrt-…\n"]);
    }
    format!(
        "{path} is written: {}, {} with \"Changed\". Read these, then:\n\n{exports}  \
         onspot plan --config {path}\n  onspot up --config {path}\n",
        counted(migration.runners.len(), "runner"),
        counted(migration.changes, "comment"),
    )
}

/// Creates the file, readable only for its owner: it may hold variables of jobs.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let shown = path.display();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    match options.open(path) {
        // An existing file keeps its mode when it is opened.
        Ok(mut file) => file
            .set_permissions(std::fs::Permissions::from_mode(0o600))
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|error| Failure::caused(format!("cannot write {shown}"), error)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::new(format!("{shown} is there already"))
                .hint("name another file with --out FILE, or replace it with --force"))
        }
        Err(error) => Err(Failure::caused(format!("cannot write {shown}"), error)),
    }
}
