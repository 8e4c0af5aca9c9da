//! How TensorFlow frames records in a file: length, checksum of the length, bytes, checksum of the bytes.
//!
//! Source: `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/lib/hash/crc32c.h`, as TensorBoard reads them.

/// Bytes of a record before its payload.
const HEAD: usize = 12;
/// Bytes behind it.
const FOOT: usize = 4;

/// A record as it lies in a file.
pub(super) fn framed(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(HEAD + payload.len() + FOOT);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(payload);
    record.extend(masked(payload).to_le_bytes());
    record
}

/// The first record of some bytes, and how many of them it takes; none where it is cut off or damaged.
pub(super) fn first(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let length: [u8; 8] = bytes.get(..8)?.try_into().ok()?;
    if word(8)? != masked(&length) {
        return None;
    }
    let end = HEAD.checked_add(usize::try_from(u64::from_le_bytes(length)).ok()?)?;
    let payload = bytes.get(HEAD..end)?;
    (word(end)? == masked(payload)).then_some((payload, end + FOOT))
}

/// A checksum that may itself be checked: turned, and a constant added.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), as RFC 3720 has it.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

/// The checksum's change by a byte.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_record_that_is_cut_off_or_damaged_is_none() {
        let record = framed(b"loss");
        assert_eq!(first(&record), Some((&b"loss"[..], record.len())));
        for end in 0..record.len() {
            assert_eq!(first(&record[..end]), None, "{end} bytes");
        }
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 1;
            assert_eq!(first(&damaged), None, "byte {at}");
        }
    }
}
