//! The credentials issued in the world, and their owners.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// The caller of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// The person who runs `onspot up`.
    Operator,
    /// An instance with its role.
    Instance {
        /// The role's name.
        role: String,
        /// The instance's id.
        instance: String,
    },
    /// A caller without credentials of the world.
    Unknown,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => write!(f, "operator"),
            Self::Instance { role, instance } => write!(f, "{role}/{instance}"),
            Self::Unknown => write!(f, "unknown"),
        }
    }
}

/// An access key with its secret.
#[derive(Clone)]
pub struct Credential {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
    /// When temporary credentials expire.
    pub expires: Option<Timestamp>,
    /// Their owner.
    pub principal: Principal,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("access_key", &self.access_key)
            .field("principal", &self.principal)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// New static credentials of the operator.
    pub fn operator() -> Self {
        Self {
            access_key: format!(
                "AKIA{}",
                random_text(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
            ),
            secret_key: random_text(
                40,
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/+",
            ),
            session_token: None,
            expires: None,
            principal: Principal::Operator,
        }
    }
}

fn random_text(length: usize, alphabet: &[u8]) -> String {
    use rand::Rng;
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())]))
        .collect()
}

/// All issued credentials, by access key.
#[derive(Debug, Clone, Default)]
pub struct Credentials(Arc<Mutex<HashMap<String, Credential>>>);

impl Credentials {
    /// Makes a credential valid.
    pub fn add(&self, credential: Credential) {
        self.lock()
            .insert(credential.access_key.clone(), credential);
    }

    /// The credential of an access key.
    pub fn find(&self, access_key: &str) -> Option<Credential> {
        self.lock().get(access_key).cloned()
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<String, Credential>> {
        self.0.lock()
    }
}
