//! The world's container images, built from `docker/`, one folder per image.
//!
//! An image is rebuilt only when its folder has changed: the label `onspot.context` holds the
//! folder's hash. The Dockerfiles start from `debian:bookworm-slim`; if that is missing and can't
//! be pulled, debootstrap creates it (`base`).

mod base;
mod build;
mod context;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

use bollard::Docker;
use futures::stream::{self, StreamExt, TryStreamExt};

pub use base::{BASE, Step, ensure as ensure_base};
pub use context::Context;

use crate::Result;

/// The label with the hash of the folder from which an image was built.
pub const CONTEXT_LABEL: &str = "onspot.context";

/// How many images are built concurrently.
const AT_ONCE: usize = 3;

/// An image that the world needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Name and tag.
    pub name: &'static str,
    /// Its folder beneath `docker/`.
    pub folder: &'static str,
    /// Whether a registry may have it: then it is only built if it can't be pulled.
    pub public: bool,
}

/// LocalStack with Auto Scaling.
pub const LOCALSTACK: Image = Image {
    name: "onspot/localstack:0.1.0",
    folder: "localstack",
    public: false,
};
/// A guest of the hypervisor.
pub const GUEST: Image = Image {
    name: "onspot/guest:0.1.0",
    folder: "guest",
    public: false,
};
/// The registry for the guests.
pub const REGISTRY: Image = Image {
    name: "onspot/registry:0.1.0",
    folder: "registry",
    public: false,
};
/// The helper container's image, which the stack uploads to its bucket.
pub const HELPER: Image = Image {
    name: "onspot-helper:0.1.0",
    folder: "helper",
    public: false,
};
/// The image of the cowsay pipeline's jobs.
pub const COWSAY: Image = Image {
    name: "npalm/cowsay:latest",
    folder: "cowsay",
    public: true,
};
/// An image whose user is not root.
pub const NONROOT: Image = Image {
    name: "nonroot:1",
    folder: "nonroot",
    public: false,
};

/// All images in the order of building: the longest builds first.
pub const ALL: [Image; 6] = [LOCALSTACK, GUEST, HELPER, REGISTRY, COWSAY, NONROOT];

/// Makes sure that all images exist and are up to date, a few at a time: a build mostly waits for
/// packages.
pub async fn ensure(docker: &Docker, images: &[Image], tell: &mut dyn FnMut(Step)) -> Result<()> {
    let mut missing = Vec::new();
    for image in images {
        let context = Context::read(&folder(image.folder))?;
        if is_current(docker, *image, &context.hash()).await? {
            tell(Step::Ready {
                image: image.name.to_owned(),
                took: None,
            });
        } else {
            missing.push((*image, context));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    // The parent of all images, built first so that no two builds create it concurrently.
    base::ensure(docker, tell).await?;
    let tell = &RefCell::new(tell);
    stream::iter(missing)
        .map(|(image, context)| make(docker, image, context, tell))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Pulls or builds one image.
async fn make(
    docker: &Docker,
    image: Image,
    context: Context,
    tell: &RefCell<&mut dyn FnMut(Step)>,
) -> Result<()> {
    let (name, begin) = (image.name.to_owned(), Instant::now());
    tell.borrow_mut()(Step::Building {
        image: name.clone(),
    });
    if !(image.public && base::pull(docker, image.name).await.is_ok()) {
        build::build(docker, image.name, context).await?;
    }
    tell.borrow_mut()(Step::Ready {
        image: name,
        took: Some(begin.elapsed()),
    });
    Ok(())
}

/// Whether the engine has the image, built from exactly this folder (or pulled).
async fn is_current(docker: &Docker, image: Image, hash: &str) -> Result<bool> {
    let Some(found) = base::inspect(docker, image.name).await? else {
        return Ok(false);
    };
    let label = found
        .config
        .and_then(|config| config.labels)
        .and_then(|labels| labels.get(CONTEXT_LABEL).cloned());
    Ok(match label {
        Some(label) => label == hash,
        None => image.public,
    })
}

/// The root of the repository, with `docker/` and `fixtures/`.
pub fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map_or(here.clone(), std::path::Path::to_path_buf)
}

fn folder(name: &str) -> PathBuf {
    repository().join("docker").join(name)
}
