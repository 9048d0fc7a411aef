//! `onspot-world images`: builds missing or changed images.

use std::process::ExitCode;

use crate::images::{self, Step};
use crate::{Result, duration, engine};

/// Builds all images and reports how long each took.
pub(super) async fn run() -> Result<ExitCode> {
    let docker = engine::connect().await?;
    images::ensure(&docker, &images::ALL, &mut tell).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints one line for a built image; nothing for an available one.
pub(super) fn tell(step: Step) {
    match step {
        Step::Building { image } => anstream::println!("  image {image} …"),
        Step::Ready {
            image,
            took: Some(took),
        } => {
            anstream::println!("  image {image} is ready ({})", duration::rough(took));
        }
        Step::Ready { took: None, .. } => {}
    }
}
