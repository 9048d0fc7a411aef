//! GitLab Runner's config.toml: model, reading, rendering, lint.
