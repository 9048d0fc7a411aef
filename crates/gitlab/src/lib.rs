//! The GitLab coordinator protocol: requests and responses as data, traces, masking.
