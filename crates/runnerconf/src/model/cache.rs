//! `[runners.cache]`: the flat keys of 2017 and today's `[runners.cache.s3]`.

use url::Url;

use crate::error::ConfigError;
use crate::reference::Key;
use crate::render::Entries;
use crate::section::{Complaint, Section};
use onspot_settings::{Encryption, Secret};

const ONLY_S3: &str = "onspot keeps caches in S3 or on the host";
const ROLE_ONCE: &str = "a role for the cache is assumed once an hour for all jobs";

/// How the keys of `[runners.cache]` are handled. It includes those of S3, as in 2017.
pub(crate) const KEYS: &[Key] = &[
    Key::honoured("AccessKey"),
    Key::refused("azure", ONLY_S3),
    Key::honoured("BucketLocation"),
    Key::honoured("BucketName"),
    Key::refused("gcs", ONLY_S3),
    Key::honoured("Insecure"),
    Key::honoured("MaxUploadedArchiveSize"),
    Key::honoured("Path"),
    Key::honoured("s3"),
    Key::honoured("SecretKey"),
    Key::honoured("ServerAddress"),
    Key::honoured("Shared"),
    Key::honoured("Type"),
];

/// How the keys of `[runners.cache.s3]` are handled.
pub(crate) const KEYS_OF_S3: &[Key] = &[
    Key::honoured("Accelerate"),
    Key::honoured("AccessKey"),
    Key::warned("AssumeRoleMaxConcurrency", ROLE_ONCE),
    Key::honoured("AuthenticationType"),
    Key::honoured("BucketLocation"),
    Key::honoured("BucketName"),
    Key::warned("DisableAssumeRoleCredentialsCaching", ROLE_ONCE),
    Key::honoured("DualStack"),
    Key::honoured("Insecure"),
    Key::honoured("PathStyle"),
    Key::honoured("RoleARN"),
    Key::honoured("SecretKey"),
    Key::honoured("ServerAddress"),
    Key::honoured("ServerSideEncryption"),
    Key::honoured("ServerSideEncryptionKeyID"),
    Key::honoured("SessionToken"),
    Key::honoured("UploadRoleARN"),
];

/// Where jobs' caches are stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cache {
    /// The kind of store; absent means only on the host.
    pub kind: Option<CacheType>,
    /// Prefix of every key.
    pub path: Option<String>,
    /// Whether runners share one cache; otherwise keys contain the runner's short token.
    pub shared: bool,
    /// The maximum size of an uploaded archive in bytes; 0 means no limit.
    pub max_uploaded_archive_size: u64,
    /// The S3 store.
    pub s3: Option<S3>,
    /// Kept, not used.
    pub other: toml::Table,
}

/// A kind of store for caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheType {
    /// S3 and compatible stores.
    S3,
    /// S3 with the newer SDK of GitLab Runner 18; here the same as [`CacheType::S3`].
    S3v2,
}

impl CacheType {
    const ALL: [Self; 2] = [Self::S3, Self::S3v2];
    /// The stores of Google and Azure, which onspot does not support.
    const OTHERS: [&str; 3] = ["gcs", "gcsv2", "azure"];

    /// The name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::S3v2 => "s3v2",
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if Self::OTHERS.contains(&text) {
            let reason = format!("is `{text}`, and onspot keeps caches in S3 or on the host");
            let hint = "use a bucket of S3, or leave the section out for a cache on the host";
            return Err(Complaint::new(reason).with_hint(hint));
        }
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| Complaint::none_of(text, &Self::ALL.map(Self::as_str)))
    }
}

/// An S3 bucket for caches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct S3 {
    /// Host and optional port of the endpoint; AWS if absent.
    pub server_address: Option<String>,
    /// An access key's id; the host's own role is used if absent.
    pub access_key: Option<Secret>,
    /// The access key.
    pub secret_key: Option<Secret>,
    /// The bucket.
    pub bucket_name: Option<String>,
    /// The bucket's region.
    pub bucket_location: Option<String>,
    /// Whether the endpoint uses plain HTTP.
    pub insecure: bool,
    /// The session token of temporary keys; this and the following keys exist only in
    /// `[runners.cache.s3]`.
    pub session_token: Option<Secret>,
    /// Which credentials sign: the keys above, or the host's own role; by default the keys if they
    /// are set.
    pub authentication: Option<S3Authentication>,
    /// Whether the bucket's name is in the path instead of the host name; by default it depends on
    /// the endpoint.
    pub path_style: Option<bool>,
    /// Whether AWS may be reached over IPv6; true by default.
    pub dual_stack: Option<bool>,
    /// Whether AWS is reached by S3 Transfer Acceleration.
    pub accelerate: bool,
    /// The encryption that S3 is asked for with each archive.
    pub server_side_encryption: Option<Encryption>,
    /// The KMS key's id, ARN or alias.
    pub server_side_encryption_key_id: Option<String>,
    /// The role to assume for the cache.
    pub role_arn: Option<String>,
    /// The role to assume for uploads only.
    pub upload_role_arn: Option<String>,
    /// Kept, not used.
    pub other: toml::Table,
}

/// Which credentials sign requests to S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum S3Authentication {
    /// The keys in the file.
    AccessKey,
    /// The host's own role, or other credentials found by the SDK.
    Iam,
}

impl S3Authentication {
    const ALL: [Self; 2] = [Self::AccessKey, Self::Iam];

    /// The name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessKey => "access-key",
            Self::Iam => "iam",
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let lower = text.to_ascii_lowercase();
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == lower);
        found.ok_or_else(|| Complaint::none_of(text, &Self::ALL.map(Self::as_str)))
    }
}

impl Cache {
    /// The bucket, if one is set.
    pub(crate) fn place(&self) -> Option<onspot_settings::Cache> {
        // Without `..`, so that an unused key is noticed here.
        let Self {
            kind,
            path,
            shared,
            max_uploaded_archive_size,
            s3,
            // Named in a warning by `lint`.
            other: _,
        } = self;
        kind.as_ref()?;
        // All its other keys configure the connection.
        let s3 = s3.as_ref()?;
        Some(onspot_settings::Cache {
            bucket: s3.bucket_name.clone()?,
            prefix: path.clone(),
            shared: *shared,
            upload_limit: *max_uploaded_archive_size,
            encryption: s3.server_side_encryption,
            encryption_key: s3.server_side_encryption_key_id.clone(),
        })
    }

    pub(super) fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let kind = section.parsed("Type", CacheType::parse)?;
        let flat = S3::read_keys(&mut section)?;
        let nested = match section.section("s3")? {
            Some(mut section) => {
                let s3 = S3::read_keys(&mut section)?.unwrap_or_default();
                Some(S3 {
                    session_token: section.string("SessionToken")?.map(Secret::new),
                    authentication: section
                        .parsed("AuthenticationType", S3Authentication::parse)?,
                    path_style: section.boolean("PathStyle")?,
                    dual_stack: section.boolean("DualStack")?,
                    accelerate: section.boolean("Accelerate")?.unwrap_or(false),
                    server_side_encryption: section.parsed("ServerSideEncryption", encryption)?,
                    server_side_encryption_key_id: section.string("ServerSideEncryptionKeyID")?,
                    role_arn: section.string("RoleARN")?,
                    upload_role_arn: section.string("UploadRoleARN")?,
                    other: section.finish()?,
                    ..s3
                })
            }
            None => None,
        };
        let s3 = nested.or(flat);
        if kind.is_some() {
            let bucket = s3.as_ref().and_then(|s3| s3.bucket_name.as_ref());
            section.required("BucketName", bucket)?;
        }
        if let Some(s3) = &s3 {
            s3.insist_on_keys(&section)?;
        }
        Ok(Self {
            kind,
            path: section.string("Path")?,
            shared: section.boolean("Shared")?.unwrap_or(false),
            max_uploaded_archive_size: section.number("MaxUploadedArchiveSize")?.unwrap_or(0),
            s3,
            other: section.finish()?,
        })
    }

    /// The flat format of 2017, unless keys are set that it does not have.
    pub(super) fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        entries.put_some("Type", self.kind.map(CacheType::as_str));
        entries.put_some("Path", self.path.clone());
        entries.put_flag("Shared", self.shared);
        entries.put_nonzero("MaxUploadedArchiveSize", self.max_uploaded_archive_size);
        match &self.s3 {
            Some(s3) if s3.is_of_2017() => s3.put_keys(&mut entries),
            Some(s3) => {
                let mut section = Entries::default();
                s3.put_keys(&mut section);
                s3.put_newer_keys(&mut section);
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
    /// Reads the keys that existed in 2017; `None` if none of them is set.
    fn read_keys(section: &mut Section<'_>) -> Result<Option<Self>, ConfigError> {
        let insecure = section.boolean("Insecure")?;
        let s3 = Self {
            server_address: section.parsed("ServerAddress", server_address)?,
            access_key: section.string("AccessKey")?.map(Secret::new),
            secret_key: section.string("SecretKey")?.map(Secret::new),
            bucket_name: section.string("BucketName")?,
            bucket_location: section.string("BucketLocation")?,
            insecure: insecure.unwrap_or(false),
            ..Self::default()
        };
        Ok((insecure.is_some() || s3 != Self::default()).then_some(s3))
    }

    /// An access key without its secret cannot sign, and neither can missing ones.
    fn insist_on_keys(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let wanted = self.authentication == Some(S3Authentication::AccessKey)
            || self.access_key.is_some()
            || self.secret_key.is_some();
        if wanted {
            section.required("AccessKey", self.access_key.as_ref())?;
            section.required("SecretKey", self.secret_key.as_ref())?;
        }
        Ok(())
    }

    /// Whether all keys that are set existed in 2017.
    fn is_of_2017(&self) -> bool {
        let Self {
            server_address,
            access_key,
            secret_key,
            bucket_name,
            bucket_location,
            insecure,
            ..
        } = self.clone();
        *self
            == Self {
                server_address,
                access_key,
                secret_key,
                bucket_name,
                bucket_location,
                insecure,
                ..Self::default()
            }
    }

    fn put_newer_keys(&self, entries: &mut Entries) {
        entries.put_some("SessionToken", shown(self.session_token.as_ref()));
        let authentication = self.authentication.map(S3Authentication::as_str);
        entries.put_some("AuthenticationType", authentication);
        entries.put_some("PathStyle", self.path_style);
        entries.put_some("DualStack", self.dual_stack);
        entries.put_flag("Accelerate", self.accelerate);
        let encryption = self.server_side_encryption.map(Encryption::as_str);
        entries.put_some("ServerSideEncryption", encryption);
        let key = self.server_side_encryption_key_id.clone();
        entries.put_some("ServerSideEncryptionKeyID", key);
        entries.put_some("RoleARN", self.role_arn.clone());
        entries.put_some("UploadRoleARN", self.upload_role_arn.clone());
    }

    fn put_keys(&self, entries: &mut Entries) {
        entries.put_some("ServerAddress", self.server_address.clone());
        entries.put_some("AccessKey", shown(self.access_key.as_ref()));
        entries.put_some("SecretKey", shown(self.secret_key.as_ref()));
        entries.put_some("BucketName", self.bucket_name.clone());
        entries.put_some("BucketLocation", self.bucket_location.clone());
        entries.put("Insecure", self.insecure);
    }
}

fn encryption(text: &str) -> Result<Encryption, Complaint> {
    let found = Encryption::parse(text);
    found.ok_or_else(|| Complaint::none_of(text, &Encryption::ALL.map(Encryption::as_str)))
}

/// `host`, or `host:port`.
fn server_address(text: &str) -> Result<String, Complaint> {
    let plain = !text.contains(['/', '@', ' ', '?', '#']);
    match Url::parse(&format!("https://{text}")) {
        Ok(url) if plain && url.has_host() => Ok(text.to_owned()),
        _ => Err(Complaint::new(format!("is `{text}`, which is no host"))
            .with_hint("write host or host:port; Insecure = true means plain HTTP")),
    }
}

fn shown(secret: Option<&Secret>) -> Option<String> {
    secret.map(|secret| secret.expose().to_owned())
}
