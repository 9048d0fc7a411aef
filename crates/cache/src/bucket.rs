//! The stack's bucket: `cache/`, `bin/` and `run/`. Encrypted, private and TLS only; lifecycle
//! rules delete old objects.
//!
//! Its name is derived from the stack's, because S3 cannot search by tag.

mod apply;
mod delete;
mod observe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_smithy_types::error::operation::BuildError;
use onspot_reconcile::{CallError, Change, Patience, Plan, TagError, Tags};
use serde_json::{Value, json};

pub use apply::{apply, destroy};
pub use observe::{exists, observe};

/// Days after which parts of unfinished uploads are removed.
const UPLOAD_DAYS: i32 = 1;
/// How long a new or deleted bucket may take to become visible everywhere in S3.
const SETTLING: Patience = Patience::new(Duration::from_secs(2), Duration::from_mins(2));

/// The desired bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSpec {
    /// The stack's name.
    pub stack: String,
    /// The bucket's name.
    pub name: String,
    /// The account's number, which must own the bucket.
    pub account: String,
    /// The region, for example `eu-west-1`.
    pub region: String,
    /// Days after which a cache is removed; 1 at least.
    pub cache_days: u32,
    /// Days after which records of finished jobs are removed; 1 at least. Everything else in the
    /// ledger may still be in use, however old it is; the leader removes it.
    pub record_days: u32,
    /// Further tags.
    pub tags: Tags,
}

impl BucketSpec {
    /// A bucket named `onspot-<stack>-<account>-<region>` that keeps caches for 30 days.
    pub fn new(
        stack: impl Into<String>,
        account: impl Into<String>,
        region: impl Into<String>,
    ) -> Self {
        let (stack, account, region) = (stack.into(), account.into(), region.into());
        let name = format!("onspot-{stack}-{account}-{region}");
        Self {
            stack,
            name,
            account,
            region,
            cache_days: 30,
            record_days: 1,
            tags: Tags::new(),
        }
    }

    /// All tags of the bucket: `onspot`'s own and the further ones.
    pub fn all_tags(&self) -> Tags {
        let mut tags = self.tags.clone();
        tags.extend([(onspot_reconcile::STACK, self.stack.as_str())]);
        tags.with_role("bucket").with_name(&self.name)
    }

    /// The policy that refuses requests without TLS.
    pub fn policy(&self) -> Value {
        let arn = format!("arn:{}:s3:::{}", partition(&self.region), self.name);
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, format!("{arn}/*")],
                "Condition": { "Bool": { "aws:SecureTransport": "false" } },
            }],
        })
    }

    /// The lifecycle rules.
    pub fn expiry(&self) -> Vec<ExpiryRule> {
        let days = |days: u32| i32::try_from(days.max(1)).unwrap_or(i32::MAX);
        let expire = |id: &str, prefix: &str, after| ExpiryRule {
            id: id.to_owned(),
            prefix: prefix.to_owned(),
            expire_days: Some(days(after)),
            abort_upload_days: None,
        };
        vec![
            expire("onspot-cache", "cache/", self.cache_days),
            expire("onspot-records", "run/done/", self.record_days),
            ExpiryRule {
                id: "onspot-uploads".to_owned(),
                prefix: String::new(),
                expire_days: None,
                abort_upload_days: Some(UPLOAD_DAYS),
            },
        ]
    }
}

/// The AWS partition of a region, as in ARNs.
fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// A lifecycle rule, with the fields that onspot uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpiryRule {
    /// The rule's name.
    pub id: String,
    /// The prefix of the keys it applies to.
    pub prefix: String,
    /// Days after which objects are removed.
    pub expire_days: Option<i32>,
    /// Days after which parts of unfinished uploads are removed.
    pub abort_upload_days: Option<i32>,
}

/// The observed bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BucketState {
    /// Its tags.
    pub tags: Tags,
    /// Whether objects are encrypted by default.
    pub encrypted: bool,
    /// Whether all four blocks of public access are on.
    pub private: bool,
    /// Whether all objects belong to the bucket's owner and access lists are off.
    pub owner_enforced: bool,
    /// Its policy, if it has one.
    pub policy: Option<Value>,
    /// Its lifecycle rules.
    pub expiry: Vec<ExpiryRule>,
}

/// The steps that turn the observed bucket into the desired one, or remove it.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketPlan {
    spec: BucketSpec,
    /// All tags that the bucket will have; setting tags replaces all of them.
    tags: Tags,
    actions: Vec<Action>,
    change: Option<Change>,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Tag,
    Encrypt,
    BlockPublicAccess,
    EnforceOwner,
    SetPolicy,
    SetExpiry,
    Delete,
}

impl BucketPlan {
    /// The plan as data for display.
    pub fn plan(&self) -> Plan {
        self.change.iter().cloned().collect()
    }

    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

/// The steps from `observed` to `spec`, in order. Pure.
///
/// # Errors
/// If AWS would refuse a tag.
pub fn diff(spec: &BucketSpec, observed: Option<&BucketState>) -> Result<BucketPlan, BucketError> {
    let wanted = spec.all_tags();
    wanted.check()?;
    let Some(state) = observed else {
        let change = Change::create("bucket", &spec.name)
            .setting("encryption", "AES256")
            .setting("public access", "blocked")
            .setting("policy", "TLS only")
            .setting("cache expires", format!("{} days", spec.cache_days));
        let actions = vec![
            Action::Create,
            Action::Tag,
            Action::BlockPublicAccess,
            Action::EnforceOwner,
            Action::Encrypt,
            Action::SetPolicy,
            Action::SetExpiry,
        ];
        return Ok(BucketPlan {
            spec: spec.clone(),
            tags: wanted,
            actions,
            change: Some(change),
        });
    };
    let rules = |mut rules: Vec<ExpiryRule>| {
        rules.sort();
        rules
    };
    let expiry = rules(state.expiry.clone()) == rules(spec.expiry());
    let drift = wanted.drift(&state.tags);
    let fixes = [
        (
            state.private,
            Action::BlockPublicAccess,
            "public access",
            "open",
            "blocked",
        ),
        (
            state.owner_enforced,
            Action::EnforceOwner,
            "owner",
            "any",
            "enforced",
        ),
        (
            state.encrypted,
            Action::Encrypt,
            "encryption",
            "none",
            "AES256",
        ),
        (
            state.policy == Some(spec.policy()),
            Action::SetPolicy,
            "policy",
            "other",
            "TLS only",
        ),
        (
            expiry,
            Action::SetExpiry,
            "expiry",
            "other",
            "as configured",
        ),
    ];
    let broken: Vec<_> = fixes.into_iter().filter(|(right, ..)| !right).collect();
    let mut change = if broken.is_empty() && drift.is_empty() {
        Change::keep("bucket", &spec.name)
    } else {
        drift.shown_in(Change::update("bucket", &spec.name))
    };
    for (_, _, field, old, new) in &broken {
        change = change.changing(*field, *old, *new);
    }
    let tag = (!drift.is_empty()).then_some(Action::Tag);
    let broken = broken.into_iter().map(|(_, action, ..)| action);
    let actions = tag.into_iter().chain(broken).collect();
    Ok(BucketPlan {
        spec: spec.clone(),
        tags: drift.after(),
        actions,
        change: Some(change.with_id(&spec.name)),
    })
}

/// The steps that remove the bucket and its contents. Pure.
pub fn teardown(spec: &BucketSpec, observed: Option<&BucketState>) -> BucketPlan {
    let change = observed.map(|_| {
        Change::delete("bucket", &spec.name)
            .with_id(&spec.name)
            .setting("contents", "all removed")
    });
    BucketPlan {
        spec: spec.clone(),
        tags: Tags::new(),
        actions: observed.iter().map(|_| Action::Delete).collect(),
        change,
    }
}

/// An error with the bucket.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// S3 refused a call or could not be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A tag that AWS would refuse.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The name is taken by a bucket that this account may not use.
    #[error("bucket {name} exists and belongs to somebody else")]
    Foreign {
        /// The bucket's name.
        name: String,
    },
    /// S3 could not remove some objects.
    #[error("{count} objects of bucket {name} could not be removed, first {key}: {why}")]
    Undeletable {
        /// The bucket's name.
        name: String,
        /// How many objects of one batch.
        count: usize,
        /// The first one's key.
        key: String,
        /// S3's reason.
        why: String,
    },
    /// The SDK refused a request before it was sent.
    #[error("the request for bucket {name} could not be built")]
    Build {
        /// The bucket's name.
        name: String,
        /// The SDK's error.
        #[source]
        source: aws_smithy_types::error::operation::BuildError,
    },
}

impl BucketError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Call(error) => error.hint(),
            Self::Tag(error) => error.hint(),
            Self::Foreign { .. } => Some("choose another name for the stack".into()),
            Self::Undeletable { .. } => {
                Some("look for a lock or a policy on them, then run the same command again".into())
            }
            Self::Build { .. } => None,
        }
    }
}

fn unbuilt(spec: &BucketSpec, source: BuildError) -> BucketError {
    BucketError::Build {
        name: spec.name.clone(),
        source,
    }
}
