//! The folders of a job: made, opened without being led astray, and cleaned.
//!
//! What an earlier job of the same project left is not to be trusted: any folder on the way may
//! have become a symlink to somewhere else. What a job of another project left is gone before
//! anything of this job runs: a slot holds the files of one project.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use onspot_cache::archive::{Kind, Tree};

use super::request::{HelperAnswer, Place};
use super::{HelperError, say};
use onspot_gitlab::ansi;

/// Makes the slot ready for this job's project, before anything else.
pub(super) fn claim(place: &Place) -> Result<(), HelperError> {
    let folder = place.folder();
    fs::create_dir_all(&place.slot).map_err(HelperError::file("create", &place.slot))?;
    let entries = fs::read_dir(&place.slot).map_err(HelperError::file("read", &place.slot))?;
    for entry in entries {
        let entry = entry.map_err(HelperError::file("read", &place.slot))?;
        if entry.file_name() != *place.folder_name() {
            remove(&entry.path())?;
        }
    }
    fs::create_dir_all(&folder).map_err(HelperError::file("create", &folder))?;
    if place.world_writable {
        open_up(&folder)?;
    }
    link(place)
}

/// Makes the job's path of the builds folder lead to the project's folder.
fn link(place: &Place) -> Result<(), HelperError> {
    let folder = place.folder();
    if place.builds == folder {
        return Ok(());
    }
    match fs::read_link(&place.builds) {
        Ok(target) if target == folder => return Ok(()),
        Ok(_) => {
            fs::remove_file(&place.builds).map_err(HelperError::file("remove", &place.builds))?;
        }
        Err(_) => {}
    }
    symlink(&folder, &place.builds).map_err(HelperError::file("link", &place.builds))
}

/// Opens the project's folder, no symlink on the way.
pub(super) fn open(place: &Place) -> Result<Tree, HelperError> {
    let folder = place.folder();
    let base = Tree::open(&folder).map_err(HelperError::file("open", &folder))?;
    let tree = base
        .descend(place.project_path())
        .map_err(HelperError::file("open", place.project_dir()))?;
    Ok(tree)
}

/// Makes the project's folder (with what is in it, if `keep`) and an empty one for its secrets.
///
/// A symlink on the way is removed: it can only be meant to lead astray.
pub(super) fn make(place: &Place, keep: bool) -> Result<(), HelperError> {
    let folder = place.folder();
    let base = Tree::open(&folder).map_err(HelperError::file("open", &folder))?;
    let mut path = std::path::PathBuf::new();
    for part in place.project_path() {
        path.push(part);
        match base.stat(&path) {
            Ok(stat) if stat.kind == Kind::Directory => {}
            Ok(_) => remove(&folder.join(&path))?,
            Err(_) => break,
        }
    }
    let project = folder.join(place.project_path());
    if !keep {
        remove(&project)?;
    }
    let temp = folder.join(format!("{}.tmp", place.project));
    remove(&temp)?;
    for (name, dir) in [
        (place.project.clone(), &project),
        (format!("{}.tmp", place.project), &temp),
    ] {
        base.descend(Path::new(&name))
            .map_err(HelperError::file("create", dir))?;
    }
    Ok(())
}

/// Removes the file variables and git's login.
pub(super) fn clean_up(place: &Place) -> Result<HelperAnswer, HelperError> {
    let folder = place.folder();
    // Only if the way there is a way of folders: the job may have made it something else.
    let parent = place.project_path().parent().unwrap_or(Path::new(""));
    let sound = Tree::open(&folder)
        .and_then(|base| base.descend(parent))
        .is_ok();
    if sound {
        remove(&folder.join(format!("{}.tmp", place.project)))?;
    } else {
        say(&ansi::warning(
            "the job moved its own folder away; its files were not cleaned up",
        ));
    }
    Ok(HelperAnswer::Done)
}

/// Removes a file, a symlink or a folder with all that is in it; none is fine.
pub(super) fn remove(path: &Path) -> Result<(), HelperError> {
    let failed = HelperError::file("remove", path);
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

fn open_up(folder: &Path) -> Result<(), HelperError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777))
        .map_err(HelperError::file("open up", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path, project_id: u64) -> Place {
        Place {
            slot: dir.join("slot"),
            builds: dir.join("builds"),
            project_id,
            project: "group/project".into(),
            world_writable: false,
        }
    }

    #[test]
    fn a_slot_holds_one_project_at_its_usual_path() {
        let dir = tempfile::tempdir().unwrap();
        let first = place(dir.path(), 1);
        claim(&first).unwrap();
        make(&first, false).unwrap();
        fs::write(dir.path().join("builds/group/project/file"), "x").unwrap();

        // The same project finds its files again.
        claim(&first).unwrap();
        make(&first, true).unwrap();
        assert!(Path::new(&first.project_dir()).join("file").exists());

        // Another one does not.
        let second = place(dir.path(), 2);
        claim(&second).unwrap();
        make(&second, true).unwrap();
        assert!(!dir.path().join("slot/p1").exists());
        assert!(!Path::new(&second.project_dir()).join("file").exists());
    }

    #[test]
    fn a_folder_that_became_a_link_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("victim/project.tmp")).unwrap();
        fs::create_dir_all(dir.path().join("victim/project")).unwrap();
        fs::write(dir.path().join("victim/project.tmp/key"), "x").unwrap();
        let place = place(dir.path(), 1);
        claim(&place).unwrap();
        symlink(dir.path().join("victim"), dir.path().join("slot/p1/group")).unwrap();
        assert!(open(&place).is_err());
        clean_up(&place).unwrap();
        assert!(dir.path().join("victim/project.tmp/key").exists());

        make(&place, true).unwrap();
        assert!(open(&place).is_ok());
        assert!(dir.path().join("victim/project.tmp/key").exists());
        assert!(!dir.path().join("slot/p1/group").is_symlink());
    }
}
