//! Files as NumPy 2 writes them, and heads that it never wrote.

use super::*;

/// NumPy's `lib.format.write_array(array, version)`, the spaces that pad its head left to `format!`.
fn file(version: u8, head: &str, data: &[u8]) -> Vec<u8> {
    let (length, width): (&[u8], _) = if version == 1 { (b"v\0", 117) } else { (b"t\0\0\0", 115) };
    [b"\x93NUMPY", &[version, 0][..], length, format!("{head:<width$}\n").as_bytes(), data].concat()
}

fn parsed(file: &[u8]) -> (Header, &[u8]) {
    let mut rest = file;
    let header = Header::read(&mut rest).unwrap();
    assert_eq!(header.start, (file.len() - rest.len()) as u64);
    assert_eq!(header.data_length(), Some(rest.len() as u64));
    (header, rest)
}

#[test]
fn every_version_order_and_width_is_read_as_numpy_wrote_it() {
    let halves = b"\x00>\x00\xc0\xff{\x004f.\x00\x80";
    let halves = file(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }", halves);
    let singles = b"?\xc0\x00\x00\xc0\x00\x00\x00\x7f\x7f\xc9\x9e>\x80\x00\x00=\xcc\xcc\xcd\x80\x00\x00\x00";
    let singles = file(2, "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", singles);
    let (header, rest) = parsed(&halves);
    assert_eq!((header.shape.as_slice(), header.fortran, header.descr.as_str()), (&[2, 3][..], false, "<f2"));
    let values = header.element().unwrap().floats(rest.to_vec()).unwrap();
    // 0.1 is 0.0999755859375 in half precision.
    assert_eq!(values, [1.5, -2.0, 65504.0, 0.25, 0.099_975_586, -0.0]);
    let (header, rest) = parsed(&singles);
    assert_eq!(
        header.element().unwrap().floats(rest.to_vec()).unwrap(),
        [1.5, -2.0, 3.4e38, 0.25, 0.1, -0.0]
    );

    let doubles = b"\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x08@\x00\x00\x00\x00\x00\x00\x00@\x9a\x99\x99\x99\x99\x99\xb9?";
    let doubles = file(3, "{'descr': '<f8', 'fortran_order': True, 'shape': (2, 2), }", doubles);
    let (header, rest) = parsed(&doubles);
    assert!(header.fortran);
    assert_eq!(header.element().unwrap().floats(rest.to_vec()).unwrap(), [1.0, 3.0, 2.0, 0.1]);
    assert_eq!(header.element().unwrap().integers(rest), None);
}

#[test]
fn integers_keep_their_sign_and_those_beyond_63_bits_are_none() {
    let shorts =
        file(1, "{'descr': '>i2', 'fortran_order': False, 'shape': (3,), }", b"\x00\x01\xff\xfe\x01,");
    let (header, rest) = parsed(&shorts);
    assert_eq!(header.element().unwrap().integers(rest), Some(vec![1, -2, 300]));
    assert_eq!(header.element().unwrap().floats(rest.to_vec()), None);
    let words = b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80";
    let words = file(1, "{'descr': '<u8', 'fortran_order': False, 'shape': (2,), }", words);
    let (header, rest) = parsed(&words);
    assert_eq!(header.element().unwrap().integers(rest), None);
    assert_eq!(header.element().unwrap().integers(&rest[..8]), Some(vec![1]));
    let number = file(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (), }", b"\x07");
    let (header, rest) = parsed(&number);
    assert_eq!((header.shape.len(), header.element().unwrap().integers(rest)), (0, Some(vec![7])));
}

#[test]
fn other_writers_quotes_and_long_integers_are_understood() {
    let file = file(1, r#"{"shape": (4L, 2L), "fortran_order": False, "descr": "|u1"}"#, &[0; 8]);
    assert_eq!(parsed(&file).0.shape, [4, 2]);
}

#[test]
fn what_is_no_array_of_numbers_says_why() {
    let why = |bytes: &[u8]| Header::read(&mut &*bytes).unwrap_err().to_string();
    assert_eq!(why(b""), "no \\x93NUMPY at the start");
    assert!(
        matches!(Header::read(&mut &b"PK\x03\x04"[..]), Err(NpyError::Magic { found }) if found == b"PK\x03\x04")
    );
    assert_eq!(why(b"\x93NUMPY"), "format version is not 1, 2 or 3");
    assert_eq!(why(b"\x93NUMPY\x04\x00\x01\x00"), "format version is not 1, 2 or 3");
    assert_eq!(why(b"\x93NUMPY\x02\x00\xff\xff\xff\xffshort"), "the header is cut short");
    assert_eq!(why(b"\x93NUMPY\x01\x00\x01\x00\xff"), "the header is not text");
    let long = [b"\x93NUMPY\x02\x00\x00\x00\x20\x00", vec![b' '; 1 << 21].as_slice()].concat();
    assert_eq!(why(&long), "the header is longer than any array's");
    for (head, wanted) in [
        ("{'fortran_order': False, 'shape': (1,)}", "the header has no plain `descr`"),
        (
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
            "the header has no plain `descr`",
        ),
        ("{'descr': '<f4', 'shape': (1,)}", "the header has no `fortran_order`"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "the header has no `shape` of sizes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': 4}", "the header has no `shape` of sizes"),
    ] {
        assert_eq!(why(&file(1, head, b"")), wanted);
    }
}

#[test]
fn a_length_that_overflows_and_objects_have_none() {
    let length = |descr: &str, shape: &str| {
        let head = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        Header::read(&mut file(1, &head, b"").as_slice()).unwrap().data_length()
    };
    assert_eq!(length("<f4", "(4294967296, 4294967296)"), None);
    assert_eq!(length("<f4", "(9999999999, 99999)"), Some(4 * 9_999_999_999 * 99_999));
    assert_eq!(length("<f4", "(0, 7)"), Some(0));
    for descr in ["|O", "|S5", "<U3", "<M8[ns]", "<c8", ""] {
        assert_eq!(length(descr, "(1,)"), None, "{descr}");
    }
}

/// NumPy 2.4 reads such a file with `numpy.load`, mapped or not, and passes over the comment.
#[test]
fn a_comment_after_the_dictionary_is_kept_and_changes_nothing() {
    let dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
    let said = file(1, &format!("{dictionary}  # rslad {{\"shape\": 7}}"), &[0; 4]);
    let (header, _) = parsed(&said);
    assert_eq!((header.shape, header.comment.as_deref()), (vec![1], Some("rslad {\"shape\": 7}")));
    assert_eq!(parsed(&file(1, dictionary, &[0; 4])).0.comment, None);
}

/// From `numpy.lib.format.header_data_from_array_1_0` and its alignment: the text ends in a line's end at 64 bytes.
#[test]
fn a_head_that_is_written_is_read_and_aligned() {
    for (shape, text) in [(&[5][..], "(5,)"), (&[60_000, 28, 28, 1], "(60000, 28, 28, 1)")] {
        let head = head("|u1", shape);
        assert_eq!((head.len() % 64, head.last()), (0, Some(&b'\n')));
        let header = Header::read(&mut head.as_slice()).unwrap();
        assert_eq!((header.shape.as_slice(), header.start), (shape, head.len() as u64));
        assert_eq!((header.descr.as_str(), header.fortran), ("|u1", false));
        assert!(String::from_utf8_lossy(&head).contains(&format!("'shape': {text}, }}")));
    }
}
