//! The folders of a job: creating, safely opening and cleaning them.
//!
//! Files of an earlier job of the same project are not trusted: any folder on the path may have
//! become a symlink to somewhere else. A slot contains the files of one project; those of another
//! project are removed before anything of this job runs. The worker remembers their owner, because
//! a job could change any file here.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

use onspot_cache::archive::{Kind, Tree};

use super::request::{GiveAway, HelperAnswer, Place};
use super::{HelperError, say};
use onspot_gitlab::ansi;

/// Prepares the folder of all builds for this job, before anything else: removes files of other
/// projects and secrets of earlier jobs.
pub(super) fn claim(place: &Place, keep: bool) -> Result<HelperAnswer, HelperError> {
    let builds = &place.builds;
    fs::create_dir_all(builds).map_err(HelperError::file("create", builds))?;
    if keep {
        remove_temp(place)?;
    } else {
        // Its contents, not the folder itself, which may be a mount.
        for entry in fs::read_dir(builds).map_err(HelperError::file("read", builds))? {
            remove(&entry.map_err(HelperError::file("read", builds))?.path())?;
        }
    }
    if place.world_writable {
        open_up(builds)?;
    }
    Ok(HelperAnswer::Done)
}

/// Opens the project's folder without following symlinks.
pub(super) fn open(place: &Place) -> Result<Tree, HelperError> {
    let folder = &place.builds;
    let base = Tree::open(folder).map_err(HelperError::file("open", folder))?;
    let tree = base
        .descend(place.project_path())
        .map_err(HelperError::file("open", place.project_dir()))?;
    Ok(tree)
}

/// Creates the project's folder (with its contents, if `keep`) and an empty one for its secrets.
///
/// A symlink on the path is removed: it can only be an attack.
pub(super) fn make(place: &Place, keep: bool) -> Result<(), HelperError> {
    let folder = &place.builds;
    let base = Tree::open(folder).map_err(HelperError::file("open", folder))?;
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

/// A temporary folder on the project's file system; removed when dropped.
pub(super) struct Aside {
    pub(super) tree: Tree,
    path: std::path::PathBuf,
}

/// Creates a temporary folder next to the job's secrets, which are removed after every job.
pub(super) fn aside(place: &Place) -> Result<Aside, HelperError> {
    let name = format!("{}.tmp/unpack-{}", place.project, uuid::Uuid::new_v4());
    let path = place.builds.join(&name);
    let tree = Tree::open(&place.builds)
        .and_then(|base| base.descend(Path::new(&name)))
        .map_err(HelperError::file("create", &path))?;
    Ok(Aside { tree, path })
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            say(&ansi::warning(&error.to_string()));
        }
    }
}

/// Empties a folder below the project's; anything else at its place, or on the way, is removed.
pub(super) fn empty_below(place: &Place, relative: &Path) -> Result<(), HelperError> {
    let project = Path::new(&place.project_dir()).to_owned();
    let tree = open(place)?;
    let mut path = std::path::PathBuf::new();
    for part in relative {
        path.push(part);
        match tree.stat(&path) {
            Ok(stat) if stat.kind == Kind::Directory => {}
            Ok(_) => remove(&project.join(&path))?,
            Err(_) => break,
        }
    }
    remove(&project.join(relative))?;
    tree.descend(relative)
        .map(drop)
        .map_err(HelperError::file("create", project.join(relative)))
}

/// Removes the contents of the project's folder.
pub(super) fn empty(place: &Place) -> Result<(), HelperError> {
    let project = place.builds.join(place.project_path());
    open(place)?;
    remove(&project)?;
    open(place).map(drop)
}

/// Changes the owner of the project's files and its folder for secrets. Symlinks are not followed.
pub(super) fn give_away(place: &Place, to: GiveAway) -> Result<HelperAnswer, HelperError> {
    open(place)?;
    for folder in [place.project_dir(), place.temp_dir()] {
        say(&format!(
            "Changing ownership of files at {folder:?} to {}:{}",
            to.user, to.group
        ));
        for entry in walkdir::WalkDir::new(&folder) {
            let entry = entry.map_err(|error| HelperError::file("read", &folder)(error.into()))?;
            lchown(entry.path(), Some(to.user), Some(to.group))
                .map_err(HelperError::file("give away", entry.path()))?;
        }
    }
    Ok(HelperAnswer::Done)
}

/// Removes the file variables and git's login.
pub(super) fn clean_up(place: &Place) -> Result<HelperAnswer, HelperError> {
    if !remove_temp(place)? {
        say(&ansi::warning(
            "the job moved its own folder away; its files were not cleaned up",
        ));
    }
    Ok(HelperAnswer::Done)
}

/// Removes the folder of secrets, but only if the path to it consists of real folders, because a
/// job may have replaced them. Returns whether it does.
fn remove_temp(place: &Place) -> Result<bool, HelperError> {
    let parent = place.project_path().parent().unwrap_or(Path::new(""));
    let sound = Tree::open(&place.builds)
        .and_then(|base| base.descend(parent))
        .is_ok();
    if sound {
        remove(&place.builds.join(format!("{}.tmp", place.project)))?;
    }
    Ok(sound)
}

/// Removes a file, a symlink or a folder with its contents; a missing one is fine.
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
    use std::os::unix::fs::symlink;

    fn place(dir: &Path, project: &str) -> Place {
        Place {
            builds: dir.join("builds"),
            project: project.into(),
            world_writable: false,
        }
    }

    #[test]
    fn a_slot_holds_one_project_at_its_usual_path() {
        let dir = tempfile::tempdir().unwrap();
        let first = place(dir.path(), "group/project");
        claim(&first, false).unwrap();
        make(&first, false).unwrap();
        fs::write(dir.path().join("builds/group/project/file"), "x").unwrap();
        fs::write(dir.path().join("builds/group/project.tmp/key"), "x").unwrap();

        // The same project finds its files again, but not its secrets.
        claim(&first, true).unwrap();
        assert!(!dir.path().join("builds/group/project.tmp").exists());
        make(&first, true).unwrap();
        assert!(Path::new(&first.project_dir()).join("file").exists());

        // Another project does not, whatever its name.
        claim(&first, false).unwrap();
        let left = fs::read_dir(dir.path().join("builds")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_folder_replaced_by_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("victim/project.tmp")).unwrap();
        fs::create_dir_all(dir.path().join("victim/project")).unwrap();
        fs::write(dir.path().join("victim/project.tmp/key"), "x").unwrap();
        let place = place(dir.path(), "group/project");
        claim(&place, false).unwrap();
        let group = dir.path().join("builds/group");
        symlink(dir.path().join("victim"), &group).unwrap();
        assert!(open(&place).is_err());
        clean_up(&place).unwrap();
        claim(&place, true).unwrap();
        assert!(dir.path().join("victim/project.tmp/key").exists());

        make(&place, true).unwrap();
        assert!(open(&place).is_ok());
        assert!(dir.path().join("victim/project.tmp/key").exists());
        assert!(!group.is_symlink());

        fs::remove_dir_all(&group).unwrap();
        symlink(dir.path().join("victim"), &group).unwrap();
        claim(&place, false).unwrap();
        assert!(!group.is_symlink());
        assert!(dir.path().join("victim/project.tmp/key").exists());
    }
}
