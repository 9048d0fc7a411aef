//! Archives made to do harm: whatever they hold, nothing outside is written or read, and no more
//! is unpacked than may be.

use std::io::Cursor;

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};

use super::*;

/// An entry of a hostile archive.
#[derive(Debug, Clone)]
enum Entry {
    File(String),
    Folder(String),
    Symlink(String, String),
    HardLink(String, String),
    Device(String),
    Fifo(String),
}

fn names() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-b]{1,2}",
        2 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just("link".to_owned()),
        1 => Just(String::new()),
    ];
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    (any::<bool>(), path)
        .prop_map(|(absolute, path)| format!("{}{path}", if absolute { "/" } else { "" }))
}

/// Where links lead: out by every way.
fn targets() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("../outside".to_owned()),
        Just("../outside/victim".to_owned()),
        Just("..".to_owned()),
        Just("/proc/self/root".to_owned()),
        Just("/proc/self/cwd".to_owned()),
        Just("{outside}".to_owned()),
        names(),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = prop_oneof![
        3 => names().prop_map(Entry::File),
        1 => names().prop_map(Entry::Folder),
        3 => (prop_oneof![names(), Just("link".to_owned())], targets())
            .prop_map(|(name, target)| Entry::Symlink(name, target)),
        2 => (names(), targets()).prop_map(|(name, target)| Entry::HardLink(name, target)),
        1 => names().prop_map(Entry::Device),
        1 => names().prop_map(Entry::Fifo),
    ];
    prop::collection::vec(entry, 1..12)
}

/// A tar file as no honest program writes it: names go into the header as they are.
fn tar_of(entries: &[Entry], outside: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        let (name, kind, target, content) = match entry {
            Entry::File(name) => (name, b'0', "", &b"evil"[..]),
            Entry::Folder(name) => (name, b'5', "", &b""[..]),
            Entry::Symlink(name, target) => (name, b'2', target.as_str(), &b""[..]),
            Entry::HardLink(name, target) => (name, b'1', target.as_str(), &b""[..]),
            Entry::Device(name) => (name, b'4', "", &b""[..]),
            Entry::Fifo(name) => (name, b'6', "", &b""[..]),
        };
        let target = target.replace("{outside}", &outside.display().to_string());
        let mut header = ::tar::Header::new_gnu();
        let raw = header.as_mut_bytes();
        raw[..name.len()].copy_from_slice(name.as_bytes());
        raw[157..157 + target.len().min(100)]
            .copy_from_slice(&target.as_bytes()[..target.len().min(100)]);
        raw[156] = kind;
        header.set_mode(0o6777);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    zstd::encode_all(&tar[..], 1).unwrap()
}

fn zip_of(entries: &[Entry], outside: &Path) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in entries {
        let (name, kind, content) = match entry {
            Entry::File(name) => (name, FileType::RegularFile, "evil".to_owned()),
            Entry::Folder(name) => (name, FileType::Directory, String::new()),
            Entry::Symlink(name, target) | Entry::HardLink(name, target) => {
                let target = target.replace("{outside}", &outside.display().to_string());
                (name, FileType::Symlink, target)
            }
            Entry::Device(name) => (name, FileType::BlockDevice, String::new()),
            Entry::Fifo(name) => (name, FileType::Fifo, String::new()),
        };
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .external_attributes((kind.as_raw_mode() | 0o6777) << 16);
        // A name that is there already is refused by the writer.
        if zip.start_file(name.as_str(), options).is_ok() {
            zip.write_all(content.as_bytes()).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

/// All that is outside, with contents and times.
fn outside(folders: &Folders) -> Vec<(PathBuf, String, i64, u64)> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(folders.dir.path()).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        if path.starts_with(folders.path("to")) || path == folders.path("archive") {
            continue;
        }
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = fs::read_to_string(&path).unwrap_or_default();
        found.push((path, content, metadata.mtime_nsec(), metadata.nlink()));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_archive_writes_outside(entries in entries(), tar in any::<bool>(), aside in any::<bool>()) {
        let folders = Folders::new();
        fs::create_dir(folders.path("outside")).unwrap();
        fs::create_dir(folders.path("to/aside")).unwrap();
        fs::write(folders.path("outside/victim"), "mine").unwrap();
        let make = if tar { tar_of } else { zip_of };
        fs::write(folders.path("archive"), make(&entries, &folders.path("outside"))).unwrap();
        let before = outside(&folders);
        if aside {
            let archive = File::open(folders.path("archive")).unwrap();
            let (aside, to) = (folders.tree("to/aside"), folders.tree("to"));
            let _ = extract_by_way_of(&aside, &to, archive, PLENTY);
        } else {
            let _ = folders.unpack();
        }
        prop_assert_eq!(before, outside(&folders));
        // Nothing of what is inside is a device, a FIFO, another name of an outer file, or has a
        // set-id bit.
        for entry in walkdir::WalkDir::new(folders.path("to")) {
            let metadata = entry.unwrap().metadata().unwrap();
            let kind = FileType::from_raw_mode(metadata.mode());
            prop_assert!(matches!(
                kind,
                FileType::RegularFile | FileType::Directory | FileType::Symlink
            ));
            if kind == FileType::RegularFile {
                prop_assert_eq!((metadata.nlink(), metadata.mode() & 0o6000), (1, 0));
            }
        }
        // And an archive of what came of it holds nothing from outside.
        let packed = Folders::new();
        let all = Selection { paths: vec!["**".into(), "link/**".into()], untracked: true, ..Selection::default() };
        let tree = folders.tree("to");
        let found = all.find(&tree, b"link/victim\0../outside/victim\0").unwrap().paths;
        let out = File::create(packed.path("archive")).unwrap();
        tarzstd::create(&tree, &found, Level::Fastest, out).unwrap();
        packed.unpack().unwrap();
        for entry in walkdir::WalkDir::new(packed.path("to")) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                prop_assert_ne!(fs::read(entry.path()).unwrap(), b"mine");
            }
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    for (format, create) in FORMATS {
        let folders = Folders::new();
        fs::create_dir(folders.path("aside")).unwrap();
        let big = File::create(folders.path("from/big")).unwrap();
        big.set_len(20 << 20).unwrap();
        folders.pack(create);
        let limits = Limits {
            bytes: 1 << 20,
            entries: 10,
        };
        let (aside, to) = (folders.tree("aside"), folders.tree("to"));
        let archive = File::open(folders.path("archive")).unwrap();
        let error = extract_by_way_of(&aside, &to, archive, limits).unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { most: 1_048_576 }),
            "{format}: {error}"
        );
        assert!(!error.is_worth_another_try(), "{format}");
        assert!(error.hint().is_some(), "{format}");
        assert_eq!(
            fs::read_dir(folders.path("to")).unwrap().count(),
            0,
            "{format}"
        );
        assert!(fs::metadata(folders.path("aside/big")).unwrap().len() <= (1 << 20) + 1);
    }
}

#[test]
fn many_entries_stop_at_the_limit() {
    for (format, create) in FORMATS {
        let folders = Folders::new();
        for number in 0..20 {
            fs::create_dir(folders.path(&format!("from/{number}"))).unwrap();
        }
        folders.pack(create);
        let limits = Limits {
            bytes: 1 << 20,
            entries: 10,
        };
        let archive = File::open(folders.path("archive")).unwrap();
        let error = extract(&folders.tree("to"), archive, limits).unwrap_err();
        assert!(
            matches!(error, Error::TooMany { most: 10 }),
            "{format}: {error}"
        );
        assert_eq!(
            fs::read_dir(folders.path("to")).unwrap().count(),
            10,
            "{format}"
        );
    }
}

#[test]
fn what_follows_the_end_of_a_tar_file_is_not_read_for_ever() {
    let folders = Folders::new();
    let tar = vec![0; 40 << 20];
    let mut packed = zstd::encode_all(&tar[..], 1).unwrap();
    // Whoever reads on to the end finds it cut short.
    packed.truncate(packed.len() - 4);
    fs::write(folders.path("archive"), packed).unwrap();
    let limits = Limits {
        bytes: 1 << 20,
        entries: 10,
    };
    let archive = File::open(folders.path("archive")).unwrap();
    assert_eq!(
        extract(&folders.tree("to"), archive, limits)
            .unwrap()
            .entries,
        0
    );
}

#[test]
fn the_room_on_the_disk_is_the_limit() {
    let folders = Folders::new();
    let limits = Limits::of(&folders.tree("to")).unwrap();
    assert!(limits.bytes > 0 && limits.entries > 0);
}
