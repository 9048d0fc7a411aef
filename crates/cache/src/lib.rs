//! The shared cache: keys, archives, parallel transfer, and its bucket.
