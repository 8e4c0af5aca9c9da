//! Hash digests as text, and a writer that hashes what passes through it.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A 256-bit hash, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex(pub [u8; 32]);

impl Hex {
    /// The BLAKE3 hash of some bytes.
    pub fn blake3(bytes: &[u8]) -> Hex {
        Hex(blake3::hash(bytes).into())
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hex {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("wanted 64 lower-case hexadecimal digits, found `{text}`");
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(wrong());
        }
        let mut out = [0u8; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            for &digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(wrong()),
                };
                *byte = *byte << 4 | value;
            }
        }
        Ok(Hex(out))
    }
}

crate::row::dtype::serde_as_name!(Hex);

/// Some bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    struct Digits<'a>(&'a [u8]);
    impl fmt::Display for Digits<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_hex(f, self.0)
        }
    }
    Digits(bytes).to_string()
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// The SHA-256 hash of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Hex {
    Hex(Sha256::digest(bytes).into())
}

/// What identifies a file's bytes: BLAKE3 for us, SHA-256 for `sha256sum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileDigest {
    pub bytes: u64,
    pub blake3: Hex,
    pub sha256: Hex,
}

impl FileDigest {
    pub fn of(bytes: &[u8]) -> FileDigest {
        let mut hasher = Hasher::default();
        // Both hashes of a piece while it is in the cache.
        for piece in bytes.chunks(1 << 17) {
            hasher.update(piece);
        }
        hasher.finish()
    }
}

/// Hashes a file as it comes, piece by piece.
#[derive(Default)]
struct Hasher {
    bytes: u64,
    blake3: blake3::Hasher,
    sha256: Sha256,
}

impl Hasher {
    fn update(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.blake3.update(piece);
        self.sha256.update(piece);
    }

    fn finish(self) -> FileDigest {
        FileDigest {
            bytes: self.bytes,
            blake3: Hex(self.blake3.finalize().into()),
            sha256: Hex(self.sha256.finalize().into()),
        }
    }
}

/// Passes bytes on to `inner` and hashes those that it took.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    pub fn new(inner: W) -> Self {
        HashingWriter { inner, hasher: Hasher::default() }
    }

    pub fn finish(self) -> FileDigest {
        self.hasher.finish()
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_abc_are_the_published_ones() {
        let digest = FileDigest::of(b"abc");
        // FIPS 180-2, appendix B.1; `b3sum` of the same three bytes.
        assert_eq!(
            digest.sha256.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            digest.blake3.to_string(),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        assert_eq!(digest.blake3, Hex::blake3(b"abc"));
        assert_eq!(digest.sha256, sha256(b"abc"));
        assert_eq!(digest.bytes, 3);
    }

    #[test]
    fn only_sixty_four_lower_case_digits_are_a_digest() {
        let text = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        assert_eq!(text.parse::<Hex>().unwrap().to_string(), text);
        assert!(text.to_uppercase().parse::<Hex>().is_err());
        assert!(text[1..].parse::<Hex>().is_err());
        assert!(text.replace('6', "g").parse::<Hex>().is_err());
    }
}
