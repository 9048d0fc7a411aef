//! One image build by the Docker engine.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::BuildImageOptionsBuilder;
use futures::StreamExt;

use super::{CONTEXT_LABEL, Context};
use crate::{Error, Result};

/// How many of the last lines of a failed build the error shows.
const LAST_LINES: usize = 25;

/// The host's environment variables for the way to the package registries. None of them stays in
/// the image.
const BUILD_ARGUMENTS: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "PIP_INDEX_URL",
];

/// Builds `name` from `context`.
pub(super) async fn build(docker: &Docker, name: &str, context: Context) -> Result<()> {
    let labels = HashMap::from([(CONTEXT_LABEL, context.hash())]);
    let arguments: HashMap<&str, String> = BUILD_ARGUMENTS
        .into_iter()
        .filter_map(|key| Some((key, std::env::var(key).ok()?)))
        .collect();
    let options = BuildImageOptionsBuilder::new()
        .t(name)
        .rm(true)
        .forcerm(true)
        .labels(&labels)
        .buildargs(&arguments)
        .build();
    let tar = bollard::body_full(context.tar()?.into());
    let mut output = docker.build_image(options, None, Some(tar));
    let mut lines: Vec<String> = Vec::new();
    while let Some(part) = output.next().await {
        match part {
            Ok(info) => {
                lines.extend(
                    info.stream
                        .iter()
                        .flat_map(|text| text.lines())
                        .map(str::to_owned),
                );
                if let Some(error) = info.error_detail.and_then(|detail| detail.message) {
                    return Err(failed(name, &error, &lines));
                }
            }
            Err(error) => return Err(failed(name, &crate::error::chain(&error), &lines)),
        }
    }
    Ok(())
}

fn failed(name: &str, message: &str, lines: &[String]) -> Error {
    let from = lines.len().saturating_sub(LAST_LINES);
    Error::ImageBuild {
        image: name.to_owned(),
        message: format!("{message}\n{}", lines[from..].join("\n")),
    }
}
