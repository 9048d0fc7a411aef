//! `[manager.registry_cache]`: a cache of images beside the manager.

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::check::Flaw;
use super::locate::Step;

/// Docker Hub.
const UPSTREAM: &str = "https://registry-1.docker.io";
/// What the managers' disk has beside what is cached: the system, and what comes between two
/// looks at the cache's size. Their disk takes 125 MB/s, 2.5 GB in the twenty seconds between two.
const BESIDE_GB: u32 = 12;
/// Sizes whose network is only fast for some minutes, and slower than a few pulls at once then.
const SMALL: [&str; 3] = ["nano", "micro", "small"];

/// `[manager.registry_cache]`: each manager keeps the public images that workers pull from Docker
/// Hub, so that a thousand jobs count as one pull there. The section need not hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryCache {
    /// The image of the cache: a distribution registry.
    pub image: String,
    /// Whose images are kept: Docker Hub's, or those of a mirror of it.
    #[schemars(with = "String")]
    pub upstream: Url,
    /// How much is kept, in GB, at least 1. The managers' disk is that and 12 GB; what is over is
    /// thrown away, all of it, and fetched again as it is asked for.
    pub size_gb: u32,
}

impl Default for RegistryCache {
    fn default() -> Self {
        Self {
            image: "registry:2".to_owned(),
            upstream: Url::parse(UPSTREAM).unwrap_or_else(|_| unreachable!("a literal")),
            size_gb: 20,
        }
    }
}

impl RegistryCache {
    /// The port of the managers that workers reach, and the one that a worker's engine asks on its
    /// loopback interface. Nothing well known is there, as jobs may publish ports on a worker.
    pub const PORT: u16 = 15_850;

    /// What a worker's engine asks.
    pub(crate) fn on_worker() -> String {
        format!("http://127.0.0.1:{}", Self::PORT)
    }

    /// The upstream as registries and engines write it.
    pub(crate) fn upstream(&self) -> &str {
        self.upstream.as_str().trim_end_matches('/')
    }

    /// Where the engine of the manager itself finds the cache's image, if that is not Docker Hub.
    pub(crate) fn mirror(&self) -> Option<&str> {
        Some(self.upstream()).filter(|upstream| *upstream != UPSTREAM)
    }

    /// The size of the managers' disk, in GB.
    pub(crate) fn disk_gb(&self) -> u32 {
        self.size_gb.saturating_add(BESIDE_GB)
    }

    /// What a person should know of it, on managers of this type.
    pub(super) fn note(&self, instance_type: &str) -> String {
        let note = format!(
            "each manager keeps images of {} for the workers, up to {} GB (looked at every 20 s), \
             on a disk of {} GB",
            self.upstream.host_str().unwrap_or_default(),
            self.size_gb,
            self.disk_gb()
        );
        if !is_slow(instance_type) {
            return note;
        }
        format!(
            "{note}; a {instance_type} shares a slow network between this and its other work, and \
             workers leave a slow cache for Docker Hub: set instance_type = \"t3.medium\" \
             or a larger type"
        )
    }

    /// Finds the first flaw. Image and upstream go into a systemd unit as they are.
    pub(super) fn check(&self, here: &[Step]) -> Result<(), Flaw> {
        let at = |key| [here, &[Step::Key(key)]].concat();
        let is_plain = |text: &str, more: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            !text.is_empty() && !text.starts_with('-') && text.chars().all(allowed)
        };
        if !is_plain(&self.image, "._-/:@") {
            return Err(Flaw::new(
                &at("image"),
                format!("{:?} is not an image", self.image),
                "for example image = \"registry:2\", which is the default",
            ));
        }
        let upstream = &self.upstream;
        if !upstream.username().is_empty() || upstream.password().is_some() {
            return Err(Flaw::new(
                &at("upstream"),
                "`upstream` holds a login, and every job could use what that may pull",
                "only public images can be kept: leave the login out",
            ));
        }
        let is_web = matches!(upstream.scheme(), "http" | "https") && upstream.host().is_some();
        if !is_web || !is_plain(self.upstream(), "._-/:[]") {
            return Err(Flaw::new(
                &at("upstream"),
                format!("`{upstream}` is not the address of a registry"),
                format!("for example upstream = \"{UPSTREAM}\", which is the default"),
            ));
        }
        super::check::positive(self.size_gb, &at("size_gb"))
    }
}

/// Whether a type's network is too slow for a cache: that of small burstable ones (`t2.micro`,
/// `t3a.small`) is, after some minutes, 128 Mbit/s or less.
fn is_slow(instance_type: &str) -> bool {
    let burstable = |family: &str| {
        let mut letters = family.chars();
        letters.next() == Some('t') && letters.next().is_some_and(|c| c.is_ascii_digit())
    };
    instance_type
        .split_once('.')
        .is_some_and(|(family, size)| burstable(family) && SMALL.contains(&size))
}
