//! Which bytes belong to a secret after a known prefix.

/// Whether a byte can be part of a GitLab token.
pub(super) fn after_prefix(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'=')
}

/// Whether a byte can be part of the value of a URL parameter, or of what people put around URLs.
/// Masking too much is better than too little.
pub(super) fn after_parameter(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'?' | b'&' | b'#' | b'"' | b'\'' | b'<' | b'>' | 0x7f)
}
