//! `onspot version`.

use serde::Serialize;

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::Output;

/// Version and build of this binary.
#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
    helper_image: &'static str,
}

/// Prints the version.
pub(crate) fn version(global: Global) -> Result<(), Failure> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        helper_image: onspot_executor::HELPER_IMAGE,
    };
    Output::new(global.output).result(&version, || format!("onspot {}\n", version.version))
}
