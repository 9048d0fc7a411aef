//! Both formats: files come back as they were packed, and nothing is ever written outside.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{FileType, Mode};

use super::*;
use crate::Selection;

mod hostile;

type Create = fn(&Tree, &BTreeSet<PathBuf>, Level, File) -> Result<Contents, Error>;
const FORMATS: [(&str, Create); 3] = [
    ("zip", zip::create),
    ("zipzstd", zip::create_zstd),
    ("tarzstd", tarzstd::create),
];
const PLENTY: Limits = Limits {
    bytes: 1 << 30,
    entries: 1000,
};

struct Folders {
    dir: tempfile::TempDir,
}

impl Folders {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("from")).unwrap();
        fs::create_dir(dir.path().join("to")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tree(&self, name: &str) -> Tree {
        Tree::open(&self.path(name)).unwrap()
    }

    fn everything(&self) -> BTreeSet<PathBuf> {
        let all = Selection {
            paths: vec!["**".into()],
            ..Selection::default()
        };
        all.find(&self.tree("from"), b"").unwrap().paths
    }

    fn pack(&self, create: Create) -> Contents {
        let out = File::create(self.path("archive")).unwrap();
        create(&self.tree("from"), &self.everything(), Level::Fastest, out).unwrap()
    }

    fn unpack(&self) -> Result<Contents, Error> {
        let archive = File::open(self.path("archive")).unwrap();
        extract(&self.tree("to"), archive, PLENTY)
    }
}

#[test]
fn a_folder_comes_back_as_it_was() {
    for (format, create) in FORMATS {
        let folders = Folders::new();
        let from = folders.path("from");
        fs::create_dir_all(from.join("bin/empty")).unwrap();
        fs::write(from.join("bin/tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::write(from.join("größe.txt"), vec![b'x'; 300_000]).unwrap();
        symlink("bin/tool", from.join("link")).unwrap();
        symlink("/etc/passwd", from.join("absolute")).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_001);
        File::open(from.join("bin/tool"))
            .unwrap()
            .set_modified(time)
            .unwrap();

        let packed = folders.pack(create);
        assert_eq!(
            packed,
            Contents {
                entries: 6,
                skipped: 0
            },
            "{format}"
        );
        assert_eq!(folders.unpack().unwrap(), packed, "{format}");

        let to = folders.path("to");
        let tool = fs::metadata(to.join("bin/tool")).unwrap();
        assert_eq!(
            tool.mode() & 0o7777,
            0o755,
            "{format}: the set-user-id bit is not kept"
        );
        assert_eq!(tool.mtime(), 1_500_000_001, "{format}");
        assert!(to.join("bin/empty").is_dir());
        assert_eq!(fs::read(to.join("größe.txt")).unwrap().len(), 300_000);
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("bin/tool")
        );
        assert_eq!(
            fs::read_link(to.join("absolute")).unwrap(),
            Path::new("/etc/passwd")
        );
    }
}

#[test]
fn fifos_are_skipped_and_links_never_followed() {
    for (format, create) in FORMATS {
        let folders = Folders::new();
        let from = folders.path("from");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            from.join("fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        fs::write(folders.path("secret"), "s").unwrap();
        symlink("../secret", from.join("leak")).unwrap();
        assert_eq!(
            folders.pack(create),
            Contents {
                entries: 1,
                skipped: 1
            },
            "{format}"
        );
        folders.unpack().unwrap();
        let leak = fs::symlink_metadata(folders.path("to/leak")).unwrap();
        assert!(leak.is_symlink(), "{format}");
        assert!(!folders.path("to/fifo").exists());
    }
}

#[test]
fn unpacking_replaces_what_is_there_without_writing_through_it() {
    for (format, create) in FORMATS {
        let folders = Folders::new();
        fs::write(folders.path("from/config"), "new").unwrap();
        folders.pack(create);
        fs::write(folders.path("victim"), "untouched").unwrap();
        symlink("../victim", folders.path("to/config")).unwrap();
        folders.unpack().unwrap();
        assert_eq!(
            fs::read_to_string(folders.path("victim")).unwrap(),
            "untouched",
            "{format}"
        );
        assert_eq!(
            fs::read_to_string(folders.path("to/config")).unwrap(),
            "new",
            "{format}"
        );
    }
}

#[test]
fn unpacking_does_not_go_through_a_symlink_that_leads_outside() {
    for (format, create) in FORMATS {
        let folders = Folders::new();
        fs::create_dir(folders.path("from/dir")).unwrap();
        fs::write(folders.path("from/dir/file"), "evil").unwrap();
        folders.pack(create);
        fs::create_dir(folders.path("outside")).unwrap();
        symlink("../outside", folders.path("to/dir")).unwrap();
        assert!(folders.unpack().is_err(), "{format}");
        assert!(!folders.path("outside/file").exists(), "{format}");
    }
}

#[test]
fn a_link_in_the_archive_does_not_open_a_way_out() {
    let folders = Folders::new();
    let mut zip = ::zip::ZipWriter::new(File::create(folders.path("archive")).unwrap());
    let options = ::zip::write::SimpleFileOptions::default();
    zip.add_symlink("door", "..", options).unwrap();
    zip.start_file("door/evil", options).unwrap();
    zip.write_all(b"x").unwrap();
    zip.finish().unwrap();
    assert!(folders.unpack().is_err());
    assert!(!folders.path("evil").exists());
}

#[test]
fn names_that_lead_outside_are_refused() {
    for name in ["../evil", "/tmp/onspot-evil", "a/../../evil"] {
        let folders = Folders::new();
        let mut zip = ::zip::ZipWriter::new(File::create(folders.path("archive")).unwrap());
        zip.start_file(name, ::zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.finish().unwrap();
        let refused = folders.unpack();
        assert!(
            matches!(refused, Err(Error::Escapes { .. })),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn descending_refuses_every_symlink() {
    let folders = Folders::new();
    fs::create_dir(folders.path("to/real")).unwrap();
    symlink("real", folders.path("to/link")).unwrap();
    let tree = folders.tree("to");
    assert!(tree.descend(Path::new("real/new/deeper")).is_ok());
    assert!(tree.descend(Path::new("link")).is_err());
    assert!(tree.descend(Path::new("../from")).is_err());
}

#[test]
fn rubbish_is_an_error_not_a_panic() {
    for rubbish in [
        &b""[..],
        b"rubbish",
        &[0x28, 0xb5, 0x2f, 0xfd, 0, 1, 2],
        b"PK\x03\x04",
    ] {
        let folders = Folders::new();
        fs::write(folders.path("archive"), rubbish).unwrap();
        assert!(folders.unpack().is_err(), "{rubbish:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_files_come_back(
        files in prop::collection::btree_map(
            "[a-c]{1,3}(/[a-c]{1,2}){0,2}\\.x",
            prop::collection::vec(any::<u8>(), 0..2000),
            1..20,
        ),
        format in 0..FORMATS.len(),
    ) {
        let folders = Folders::new();
        for (name, content) in &files {
            let path = folders.path("from").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folders.pack(FORMATS[format].1);
        folders.unpack().unwrap();
        for (name, content) in &files {
            prop_assert_eq!(&fs::read(folders.path("to").join(name)).unwrap(), content);
        }
    }
}

#[test]
fn owner_and_group_come_back() {
    if !rustix::process::geteuid().is_root() {
        // Only root can change owners; the next test covers everybody else.
        return;
    }
    for (format, create) in FORMATS {
        let folders = Folders::new();
        let from = folders.path("from");
        fs::create_dir(from.join("dir")).unwrap();
        fs::write(from.join("dir/file"), "x").unwrap();
        symlink("file", from.join("dir/link")).unwrap();
        for name in ["dir", "dir/file", "dir/link"] {
            std::os::unix::fs::lchown(from.join(name), Some(1000), Some(1001)).unwrap();
        }
        folders.pack(create);
        folders.unpack().unwrap();
        for name in ["dir", "dir/file", "dir/link"] {
            let stat = fs::symlink_metadata(folders.path("to").join(name)).unwrap();
            assert_eq!((stat.uid(), stat.gid()), (1000, 1001), "{format}: {name}");
        }
    }
}

#[test]
fn the_owner_is_stored_as_info_zip_does() {
    let folders = Folders::new();
    fs::write(folders.path("from/file"), "x").unwrap();
    folders.pack(zip::create);
    let stat = fs::metadata(folders.path("from/file")).unwrap();
    let mut field = vec![0x75, 0x78, 11, 0, 1, 4];
    field.extend(stat.uid().to_le_bytes());
    field.push(4);
    field.extend(stat.gid().to_le_bytes());
    let archive = fs::read(folders.path("archive")).unwrap();
    let found = archive.windows(field.len()).filter(|part| *part == field);
    assert_eq!(found.count(), 2, "in the entry and in the directory");
}

#[test]
fn names_that_are_not_utf8_come_back_unchanged() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    for (format, create) in FORMATS {
        let folders = Folders::new();
        let odd = |bytes: &'static [u8]| Path::new(OsStr::from_bytes(bytes));
        let from = folders.path("from");
        fs::create_dir(from.join(odd(b"d\xe4r"))).unwrap();
        fs::write(from.join(odd(b"d\xe4r/caf\xe9")), "one").unwrap();
        fs::write(from.join(odd(b"d\xe4r/caf\xe8")), "two").unwrap();
        symlink(odd(b"caf\xe9"), from.join(odd(b"d\xe4r/l\xefnk"))).unwrap();
        let packed = folders.pack(create);
        assert_eq!((packed.entries, packed.skipped), (4, 0), "{format}");
        folders.unpack().unwrap();
        let read = |name| fs::read_to_string(folders.path("to").join(odd(name))).unwrap();
        assert_eq!(read(b"d\xe4r/caf\xe9"), "one", "{format}");
        assert_eq!(read(b"d\xe4r/caf\xe8"), "two", "{format}");
        assert_eq!(read(b"d\xe4r/l\xefnk"), "one", "{format}");
    }
}

#[test]
fn files_moved_into_place_replace_existing_ones() {
    for (format, create) in FORMATS {
        let folders = Folders::new();
        for name in ["from/dir", "from/closed", "to/dir", "aside"] {
            fs::create_dir(folders.path(name)).unwrap();
        }
        fs::write(folders.path("from/dir/file"), "new").unwrap();
        symlink("file", folders.path("from/dir/link")).unwrap();
        fs::write(folders.path("from/closed/file"), "new").unwrap();
        let closed = fs::Permissions::from_mode(0o550);
        fs::set_permissions(folders.path("from/closed"), closed).unwrap();
        folders.pack(create);
        fs::write(folders.path("to/dir/file"), "old").unwrap();
        fs::write(folders.path("to/dir/own"), "own").unwrap();
        let unpack = |to: &str| {
            let archive = File::open(folders.path("archive")).unwrap();
            extract_by_way_of(&folders.tree("aside"), &folders.tree(to), archive, PLENTY)
        };
        assert_eq!(unpack("to").unwrap().contents.entries, 5, "{format}");
        let read = |name: &str| fs::read_to_string(folders.path("to").join(name)).unwrap();
        let all = [
            read("dir/file"),
            read("dir/link"),
            read("dir/own"),
            read("closed/file"),
        ];
        assert_eq!(all, ["new", "new", "own", "new"], "{format}");
        let mode = fs::metadata(folders.path("to/closed")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o550, "{format}");
    }
}

#[test]
fn an_archive_that_is_broken_halfway_changes_nothing() {
    for (format, create) in FORMATS {
        let folders = Folders::new();
        for number in 0..20 {
            let noise: Vec<u8> = (0..50_000_u32)
                .flat_map(|i| i.wrapping_mul(2_654_435_761 + number).to_be_bytes())
                .collect();
            fs::write(folders.path(&format!("from/{number}")), noise).unwrap();
        }
        folders.pack(create);
        let mut archive = fs::read(folders.path("archive")).unwrap();
        let middle = archive.len() / 2;
        for byte in &mut archive[middle..middle + 1000] {
            *byte ^= 0x55;
        }
        fs::write(folders.path("archive"), archive).unwrap();
        fs::write(folders.path("to/0"), "old").unwrap();
        fs::create_dir(folders.path("aside")).unwrap();
        let archive = File::open(folders.path("archive")).unwrap();
        let (aside, to) = (folders.tree("aside"), folders.tree("to"));
        let unpacked = extract_by_way_of(&aside, &to, archive, PLENTY);
        assert!(unpacked.is_err(), "{format}");
        assert_eq!(fs::read_dir(folders.path("to")).unwrap().count(), 1);
        assert_eq!(fs::read(folders.path("to/0")).unwrap(), b"old", "{format}");
    }
}
