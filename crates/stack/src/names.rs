//! The names of a stack's resources. All are derived from the stack's name and region, so that
//! onspot finds them again even where AWS has no search by tag.

use sha2::{Digest as _, Sha256};

/// The longest name of a stack. With it the longest derived names still fit: a bucket's 63
/// characters, a role's 64.
pub const MAX_STACK_NAME: usize = 20;

/// The longest slug of a runner, for the same reason.
const MAX_SLUG: usize = 20;

/// A stack in a region, and what its resources are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    stack: String,
    region: String,
}

/// Why a text is not allowed as the name of a stack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name for a stack: 1 to {MAX_STACK_NAME} lowercase letters, digits and inner \
     hyphens, beginning with a letter"
)]
pub struct BadName(pub String);

impl Names {
    /// The names of the stack `stack` in `region`.
    ///
    /// # Errors
    /// [`BadName`] unless AWS accepts all names made from it.
    pub fn new(stack: &str, region: &str) -> Result<Self, BadName> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let valid = stack.len() <= MAX_STACK_NAME
            && stack.starts_with(|c: char| c.is_ascii_lowercase())
            && !stack.ends_with('-')
            && stack.chars().all(inner);
        if !valid {
            return Err(BadName(stack.to_owned()));
        }
        Ok(Self {
            stack: stack.to_owned(),
            region: region.to_owned(),
        })
    }

    /// The stack's own name: the value of the tag `onspot:stack`.
    pub fn stack(&self) -> &str {
        &self.stack
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The bucket. Bucket names are shared by all of AWS, so the account and the region are in it.
    pub fn bucket(&self, account: &str) -> String {
        format!("onspot-{}-{account}-{}", self.stack, self.region)
    }

    /// The launch template and the Auto Scaling group of the managers.
    pub fn manager(&self) -> String {
        format!("onspot-{}-manager", self.stack)
    }

    /// The launch template of a runner's workers.
    pub fn workers(&self, slug: &str) -> String {
        format!("onspot-{}-{slug}", self.stack)
    }

    /// The path of all roles and instance profiles of this stack in this region.
    pub fn iam_path(&self) -> String {
        format!("/onspot/{}/{}/", self.region, self.stack)
    }

    /// The managers' role and instance profile. Roles are not regional, so the region is in it.
    pub fn manager_role(&self) -> String {
        format!("onspot-{}-{}-manager", self.stack, self.region)
    }

    /// The role and instance profile of a runner's workers.
    pub fn worker_role(&self, slug: &str) -> String {
        format!("onspot-{}-{}-{slug}", self.stack, self.region)
    }

    /// The path of all SSM parameters of this stack.
    pub fn parameter_path(&self) -> String {
        format!("/onspot/{}/", self.stack)
    }

    /// The SSM parameter of a runner's token.
    pub fn token_parameter(&self, slug: &str) -> String {
        format!("/onspot/{}/{slug}/token", self.stack)
    }

    /// The log group.
    pub fn log_group(&self) -> String {
        format!("/onspot/{}", self.stack)
    }
}

/// The prefix of a runner's cache in the bucket. The role of its workers has access to this prefix
/// only.
pub fn cache_prefix(slug: &str) -> String {
    format!("cache/{slug}")
}

/// A runner's name in a form that every resource accepts: lowercase letters, digits and inner
/// hyphens, at most 20 characters. A longer name is cut and ends in a few digits of its hash.
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if !slug.is_empty() && slug.len() <= MAX_SLUG {
        return slug.to_owned();
    }
    let hash = hex::encode(Sha256::digest(name.as_bytes()));
    let head = slug[..slug.len().min(MAX_SLUG - 7)].trim_end_matches('-');
    format!(
        "{}{}{}",
        head,
        if head.is_empty() { "" } else { "-" },
        &hash[..6]
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_read_as_in_the_console() {
        let names = Names::new("ci-runners", "eu-west-1").unwrap();
        assert_eq!(
            names.bucket("123456789012"),
            "onspot-ci-runners-123456789012-eu-west-1"
        );
        assert_eq!(
            names.worker_role("docker-m3"),
            "onspot-ci-runners-eu-west-1-docker-m3"
        );
        assert_eq!(names.workers("docker-m3"), "onspot-ci-runners-docker-m3");
        assert_eq!(
            names.token_parameter("docker-m3"),
            "/onspot/ci-runners/docker-m3/token"
        );
        assert_eq!(slug("docker.m3"), "docker-m3");
        assert_eq!(slug("Große Läufer!"), "gro-e-l-ufer");
    }

    #[test]
    fn the_longest_names_fit() {
        let names = Names::new(&"s".repeat(MAX_STACK_NAME), "ap-southeast-1").unwrap();
        let slug = slug(&"runner ".repeat(20));
        assert_eq!(slug.len(), MAX_SLUG);
        assert!(names.bucket("123456789012").len() <= 63);
        assert!(names.worker_role(&slug).len() <= 64);
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", "Ci", "1ci", "-ci", "ci-", "c_i", "c.i", &"c".repeat(21)] {
            assert!(Names::new(name, "eu-west-1").is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_has_a_slug_that_aws_takes(name in ".{1,80}") {
            let slug = slug(&name);
            prop_assert!(!slug.is_empty() && slug.len() <= MAX_SLUG);
            prop_assert!(slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            prop_assert!(!slug.starts_with('-') && !slug.ends_with('-'));
        }
    }
}
