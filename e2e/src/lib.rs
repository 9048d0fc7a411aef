//! The local world and the end-to-end tests.
