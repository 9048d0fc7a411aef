//! `[runners.cache]`: the flat keys of 2017 and today's `[runners.cache.s3]`.

use crate::error::ConfigError;
use crate::known;
use crate::render::Entries;
use crate::section::{Complaint, Section};
use crate::token::Secret;

/// Where jobs keep their cache.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cache {
    /// The kind of store; absent means on the host only.
    pub kind: Option<CacheType>,
    /// Prepended to every key.
    pub path: Option<String>,
    /// Whether runners share one cache, so that keys do not hold the runner's short token.
    pub shared: bool,
    /// The largest archive to upload, in bytes; 0 means no limit.
    pub max_uploaded_archive_size: u64,
    /// The S3 store.
    pub s3: Option<S3>,
    /// Kept, not used.
    pub other: toml::Table,
}

/// A kind of store for caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheType {
    /// S3 and what speaks like it.
    S3,
    /// S3 by the SDK of GitLab Runner 18; here the same as [`CacheType::S3`].
    S3v2,
    /// Google Cloud Storage, which onspot does not have.
    Gcs,
    /// Azure Blob Storage, which onspot does not have.
    Azure,
}

impl CacheType {
    const ALL: [Self; 4] = [Self::S3, Self::S3v2, Self::Gcs, Self::Azure];

    /// The name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::S3v2 => "s3v2",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| Complaint::none_of(text, &Self::ALL.map(Self::as_str)))
    }
}

/// An S3 bucket for caches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct S3 {
    /// Host, and port if need be, of the endpoint; AWS if absent.
    pub server_address: Option<String>,
    /// An access key's id; the host's own role is used if absent.
    pub access_key: Option<Secret>,
    /// The access key.
    pub secret_key: Option<Secret>,
    /// The bucket.
    pub bucket_name: Option<String>,
    /// The bucket's region.
    pub bucket_location: Option<String>,
    /// Whether the endpoint speaks plain HTTP.
    pub insecure: bool,
    /// Kept, not used; only in `[runners.cache.s3]`.
    pub other: toml::Table,
}

impl Cache {
    pub(super) fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let kind = section.string_at("Type")?;
        let kind = match kind {
            Some((text, _)) if text.is_empty() => None,
            Some((text, span)) => Some(
                CacheType::parse(&text)
                    .map_err(|complaint| section.bad_value("Type", complaint, span))?,
            ),
            None => None,
        };
        let flat = S3::read_keys(&mut section)?;
        let nested = match section.section("s3")? {
            Some(mut section) => {
                let mut s3 = S3::read_keys(&mut section)?.unwrap_or_default();
                s3.other = section.finish(known::CACHE_S3)?;
                Some(s3)
            }
            None => None,
        };
        Ok(Self {
            kind,
            path: section.string("Path")?,
            shared: section.boolean("Shared")?.unwrap_or(false),
            max_uploaded_archive_size: section.number("MaxUploadedArchiveSize")?.unwrap_or(0),
            s3: nested.or(flat),
            other: section.finish(known::CACHE)?,
        })
    }

    /// The flat shape of 2017, unless there are keys that it does not have.
    pub(super) fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        entries.put_some("Type", self.kind.map(CacheType::as_str));
        entries.put_some("Path", self.path.clone());
        entries.put_flag("Shared", self.shared);
        entries.put_nonzero("MaxUploadedArchiveSize", self.max_uploaded_archive_size);
        match &self.s3 {
            Some(s3) if s3.other.is_empty() => s3.put_keys(&mut entries),
            Some(s3) => {
                let mut section = Entries::default();
                s3.put_keys(&mut section);
                section.put_others(&s3.other);
                entries.put_section("s3", section);
            }
            None => {}
        }
        entries.put_others(&self.other);
        entries
    }
}

impl S3 {
    /// Takes the keys that 2017 has too; `None` if there is none of them.
    fn read_keys(section: &mut Section<'_>) -> Result<Option<Self>, ConfigError> {
        let insecure = section.boolean("Insecure")?;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let s3 = Self {
            server_address: filled(section.string("ServerAddress")?),
            access_key: filled(section.string("AccessKey")?).map(Secret::new),
            secret_key: filled(section.string("SecretKey")?).map(Secret::new),
            bucket_name: filled(section.string("BucketName")?),
            bucket_location: filled(section.string("BucketLocation")?),
            insecure: insecure.unwrap_or(false),
            other: toml::Table::new(),
        };
        Ok((insecure.is_some() || s3 != Self::default()).then_some(s3))
    }

    fn put_keys(&self, entries: &mut Entries) {
        let shown = |secret: &Option<Secret>| secret.as_ref().map(|key| key.expose().to_owned());
        entries.put_some("ServerAddress", self.server_address.clone());
        entries.put_some("AccessKey", shown(&self.access_key));
        entries.put_some("SecretKey", shown(&self.secret_key));
        entries.put_some("BucketName", self.bucket_name.clone());
        entries.put_some("BucketLocation", self.bucket_location.clone());
        entries.put("Insecure", self.insecure);
    }
}
