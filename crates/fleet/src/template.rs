//! Launch templates: what an instance of the stack is made of.
//!
//! Two comparisons decide whether a template is as wanted: one of its parts, and one of a hash of
//! everything that it was made from, which is stored in the description of its version. The hash
//! reveals changes that EC2 does not show; the parts reveal edits by hand.
//!
//! Workers have two templates, which differ in one thing: only the one for spot tags spot requests.
//! EC2 accepts those tags nowhere else, and refuses an on-demand launch from a template that has
//! them.

mod apply;
mod observe;
mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use onspot_reconcile::{Change, Plan, TagDrift, Tags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use apply::apply;
pub use observe::observe;
pub use parts::Parts;

pub(crate) use parts::instance_tags;

use crate::{Error, Image};

/// The tag with the content hash that an instance was launched from. The description of a
/// template's version begins with the same text.
pub const CONTENT: &str = "onspot:content";

/// Raised when [`apply()`] makes a different template from the same [`TemplateSpec`], so that
/// existing templates get a new version.
const FORMAT: u8 = 2;
/// The longest user-data that EC2 accepts, in bytes before it is encoded.
const MAX_USER_DATA: usize = 16 * 1024;

/// The name of the spot template that belongs to the template of this name. No runner can have such
/// a name.
pub fn for_spot(name: &str) -> String {
    format!("{name}.spot")
}

/// What the instances of a template are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSpec {
    /// The stack's name.
    pub stack: String,
    /// The name of the instances, and of their template if it is not for spot.
    pub name: String,
    /// Whether it is for spot instances: their requests are tagged, and its name is
    /// [`for_spot`]'s.
    pub spot: bool,
    /// The instances' role tag: `manager` or `worker`.
    pub role: String,
    /// The runner that the instances serve, for workers.
    pub runner: Option<String>,
    /// The image that they boot from.
    pub image: Image,
    /// Their type; `None` if the launch chooses it.
    pub instance_type: Option<String>,
    /// The root volume's size in GiB, if bigger than the image's.
    pub disk_gb: Option<u32>,
    /// The name of their instance profile.
    pub instance_profile: String,
    /// Their security group's id.
    pub security_group: String,
    /// The script that they run at first boot, as plain text of at most 16 KiB.
    pub user_data: String,
    /// Further tags of the template and of all that is made from it.
    pub tags: Tags,
}

impl TemplateSpec {
    /// The same for spot instances.
    pub fn for_spot(&self) -> Self {
        Self {
            spot: true,
            ..self.clone()
        }
    }

    /// The template's name.
    pub fn template_name(&self) -> String {
        if self.spot {
            for_spot(&self.name)
        } else {
            self.name.clone()
        }
    }

    /// The tags of instances and volumes.
    pub fn instance_tags(&self) -> Tags {
        let mut tags = self.tags.clone();
        tags.extend([(onspot_reconcile::STACK, self.stack.as_str())]);
        if let Some(runner) = &self.runner {
            tags = tags.with_runner(runner);
        }
        tags.with_role(&self.role)
            .with_name(&self.name)
            .with(CONTENT, self.content().0)
    }

    /// The tags of the template itself.
    fn own_tags(&self) -> Tags {
        let mut tags = self.tags.clone();
        tags.extend([(onspot_reconcile::STACK, self.stack.as_str())]);
        tags.with_role(&self.role).with_name(self.template_name())
    }

    /// The root volume's size in GiB.
    fn root_gb(&self) -> u32 {
        self.disk_gb
            .unwrap_or_default()
            .max(self.image.root_gb)
            .max(8)
    }

    /// The hash of everything that defines an instance; it is the same for spot and on demand.
    pub fn content(&self) -> Content {
        let mut hash = Sha256::new();
        hash.update([FORMAT]);
        let disk = self.root_gb().to_string();
        let fields = [
            Some(self.role.as_str()),
            self.runner.as_deref(),
            Some(&self.image.id),
            Some(&self.image.root_device),
            self.instance_type.as_deref(),
            Some(&disk),
            Some(&self.instance_profile),
            Some(&self.security_group),
            Some(&self.user_data),
        ];
        let tags = self
            .tags
            .iter()
            .flat_map(|(key, value)| [Some(key), Some(value)]);
        for field in fields.into_iter().chain(tags) {
            // Lengths keep neighbouring fields apart.
            let text = field.unwrap_or_default();
            hash.update([u8::from(field.is_some())]);
            hash.update(text.len().to_be_bytes());
            hash.update(text.as_bytes());
        }
        Content(hex::encode(&hash.finalize()[..16]))
    }

    /// Refuses a specification that EC2 would refuse.
    fn check(&self) -> Result<(), Error> {
        self.instance_tags().check()?;
        match self.user_data.len() {
            bytes if bytes > MAX_USER_DATA => Err(Error::UserData {
                template: self.name.clone(),
                bytes,
                limit: MAX_USER_DATA,
            }),
            _ => Ok(()),
        }
    }
}

/// The hash of a template's content, as 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Content(pub String);

impl Content {
    /// The start of the hash, for people.
    fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// A version of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    pub number: i64,
    /// The hash of its content, if onspot made it.
    pub content: Option<Content>,
    /// The image that it names.
    pub image: Option<String>,
    /// The instance type that it names.
    pub instance_type: Option<String>,
    /// What it is really made of, edits by hand included.
    pub parts: Parts,
}

impl Version {
    /// Whether it matches `spec`: it was made from that and has not been edited since.
    fn is_of(&self, spec: &TemplateSpec) -> bool {
        self.content.as_ref() == Some(&spec.content()) && self.parts == Parts::wanted(spec)
    }
}

/// A template that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateState {
    /// EC2's id.
    pub id: String,
    /// The tags of the template itself.
    pub tags: Tags,
    /// The version that launches use.
    pub default: Version,
    /// The newest version.
    pub latest: Version,
}

/// Steps from what is there to what is wanted, or to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplatesPlan {
    steps: Vec<(Change, Action)>,
}

/// What to do with one template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Keep,
    Create(Box<TemplateSpec>),
    AddVersion {
        id: String,
        spec: Box<TemplateSpec>,
    },
    /// The instances are as wanted, the template's own tags are not.
    Tag {
        id: String,
        drift: TagDrift,
    },
    /// The new version exists but is not the default yet, for example after a crash.
    UseVersion {
        id: String,
        number: i64,
    },
    Delete {
        id: String,
    },
}

impl TemplatesPlan {
    /// The plan as data for people and programs.
    pub fn plan(&self) -> Plan {
        self.steps
            .iter()
            .map(|(change, _)| change.clone())
            .collect()
    }

    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|(_, action)| *action == Action::Keep)
    }
}

/// What has to be done so that exactly the templates of `specs` exist. Pure. Templates of the stack
/// that no spec names are deleted: their runner is gone.
///
/// # Errors
///
/// [`Error::Tag`] for a tag that AWS would refuse, and [`Error::UserData`] for user-data that is
/// too long.
pub fn diff(
    specs: &[TemplateSpec],
    observed: &BTreeMap<String, TemplateState>,
) -> Result<TemplatesPlan, Error> {
    let mut steps = Vec::new();
    for spec in specs {
        spec.check()?;
        match observed.get(&spec.template_name()) {
            Some(state) => {
                steps.extend(diff_tags(spec, state));
                steps.push(diff_one(spec, state));
            }
            None => steps.push((creation(spec), Action::Create(Box::new(spec.clone())))),
        }
    }
    let wanted = |name: &String| specs.iter().any(|spec| spec.template_name() == *name);
    let unwanted = observed.iter().filter(|(name, _)| !wanted(name));
    steps.extend(unwanted.map(deletion));
    Ok(TemplatesPlan { steps })
}

/// What has to be done to leave no template. Pure.
pub fn teardown(observed: &BTreeMap<String, TemplateState>) -> TemplatesPlan {
    TemplatesPlan {
        steps: observed.iter().map(deletion).collect(),
    }
}

fn creation(spec: &TemplateSpec) -> Change {
    let change = Change::create("launch template", spec.template_name())
        .setting("image", &spec.image.id)
        .setting(
            "root volume",
            format!("{} GiB gp3, encrypted", spec.root_gb()),
        );
    match &spec.instance_type {
        Some(instance_type) => change.setting("instance type", instance_type),
        None => change,
    }
}

/// What has to be done about the tags of the template itself.
fn diff_tags(spec: &TemplateSpec, state: &TemplateState) -> Option<(Change, Action)> {
    let drift = spec.own_tags().drift(&state.tags);
    if drift.is_empty() {
        return None;
    }
    let change = Change::update("launch template", spec.template_name()).with_id(&state.id);
    let id = state.id.clone();
    Some((drift.shown_in(change), Action::Tag { id, drift }))
}

fn diff_one(spec: &TemplateSpec, state: &TemplateState) -> (Change, Action) {
    let TemplateState {
        id,
        default,
        latest,
        ..
    } = state;
    let content = spec.content();
    if default.is_of(spec) {
        return (
            Change::keep("launch template", spec.template_name()).with_id(id),
            Action::Keep,
        );
    }
    let old = default.content.as_ref().map_or("(unknown)", Content::short);
    let mut change = Change::update("launch template", spec.template_name()).with_id(id);
    if default.image.as_ref() != Some(&spec.image.id) {
        change = change.changing("image", or_none(default.image.as_ref()), &spec.image.id);
    }
    if default.instance_type != spec.instance_type {
        let (old, new) = (default.instance_type.as_ref(), spec.instance_type.as_ref());
        change = change.changing("instance type", or_none(old), or_none(new));
    }
    let change = if default.content.as_ref() == Some(&content) {
        // Parts that were not named above: somebody has edited them.
        let edited = Parts::wanted(spec).differing(&default.parts);
        change.changing("edited by hand", edited.join(", "), "as designed")
    } else {
        change.changing("content", old, content.short())
    };
    let action = if latest.is_of(spec) {
        Action::UseVersion {
            id: id.clone(),
            number: latest.number,
        }
    } else {
        Action::AddVersion {
            id: id.clone(),
            spec: Box::new(spec.clone()),
        }
    };
    (change, action)
}

fn or_none(text: Option<&String>) -> &str {
    text.map_or("(none)", String::as_str)
}

fn deletion((name, state): (&String, &TemplateState)) -> (Change, Action) {
    let change = Change::delete("launch template", name).with_id(&state.id);
    (
        change,
        Action::Delete {
            id: state.id.clone(),
        },
    )
}
