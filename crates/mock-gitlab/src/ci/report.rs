//! The kinds of `artifacts:reports`, as GitLab names and packs them.

/// A kind of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    /// Its name in the configuration and on the wire.
    pub(crate) kind: &'static str,
    /// The name of the uploaded file.
    pub(crate) file: &'static str,
    pub(crate) format: &'static str,
}

/// All kinds except `coverage_report`, which stands for one of them by its format.
const KINDS: [(&str, &str, &str); 24] = [
    ("accessibility", "gl-accessibility.json", "raw"),
    ("annotations", "gl-annotations.json", "gzip"),
    ("api_fuzzing", "gl-api-fuzzing-report.json", "raw"),
    ("browser_performance", "browser-performance.json", "raw"),
    (
        "cluster_image_scanning",
        "gl-cluster-image-scanning-report.json",
        "raw",
    ),
    ("cobertura", "cobertura-coverage.xml", "gzip"),
    ("codequality", "gl-code-quality-report.json", "raw"),
    (
        "container_scanning",
        "gl-container-scanning-report.json",
        "raw",
    ),
    ("coverage_fuzzing", "gl-coverage-fuzzing.json", "raw"),
    ("cyclonedx", "gl-sbom.cdx.json", "gzip"),
    ("dast", "gl-dast-report.json", "raw"),
    (
        "dependency_scanning",
        "gl-dependency-scanning-report.json",
        "raw",
    ),
    ("dotenv", ".env", "gzip"),
    ("jacoco", "jacoco-coverage.xml", "gzip"),
    ("junit", "junit.xml", "gzip"),
    ("license_scanning", "gl-license-scanning-report.json", "raw"),
    ("load_performance", "load-performance.json", "raw"),
    ("lsif", "lsif.json", "zip"),
    ("metrics", "metrics.txt", "gzip"),
    ("performance", "performance.json", "raw"),
    ("requirements", "requirements.json", "raw"),
    ("sast", "gl-sast-report.json", "raw"),
    ("secret_detection", "gl-secret-detection-report.json", "raw"),
    ("terraform", "tfplan.json", "raw"),
];

impl Report {
    /// The kind of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = KINDS.into_iter().find(|(kind, ..)| *kind == name);
        found.map(|(kind, file, format)| Self { kind, file, format })
    }
}
