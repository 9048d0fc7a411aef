#![doc = include_str!("../README.md")]

mod access;
pub mod archive;
pub mod bucket;
mod error;
mod keys;
mod s3;
mod selection;
mod transfer;

pub use access::{CacheAccess, local_file};
pub use error::Error;
pub use keys::{CacheKey, CacheScope, object_key, sanitize};
pub use s3::{Connections, Encryption, LARGEST_PUT, S3Cache, SignedParts, SignedPut};
pub use selection::{Found, Selected, Selection};
pub use transfer::{Transfer, TransferOptions};
