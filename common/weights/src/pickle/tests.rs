//! Data in every protocol as Python wrote it, and programs that Python would never write.

use proptest::prelude::*;

use super::*;
use crate::npy::Element;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/files/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn a_dataset_batch_reads_alike_in_every_protocol() {
    for protocol in 0..6 {
        let bytes = fixture(&format!("batch_{protocol}.pickle"));
        let pickle = load(&bytes).unwrap();
        assert_eq!(pickle.length(), bytes.len());
        let root = pickle.root();
        let labels = root.get("labels").unwrap().elements().unwrap();
        let labels: Vec<i64> = labels.map(|label| label.as_int().unwrap()).collect();
        assert_eq!(labels, [6, 9, 300_000, -1], "protocol {protocol}");
        let names = root.get("names").unwrap().elements().unwrap();
        let names: Vec<Vec<u8>> = names.map(|name| name.as_bytes().unwrap().into_owned()).collect();
        assert_eq!(names, [&b"a\xff"[..], b"b"], "protocol {protocol}");
        assert_eq!(root.get("text").unwrap().as_str(), Some("caf\u{e9} \u{20ac}"), "protocol {protocol}");
        assert_eq!(root.get("labels").unwrap().integers(), Some(labels));
        assert_eq!(root.get("names").unwrap().integers(), None);
        let data = root.get("data").unwrap().as_array().unwrap();
        assert_eq!((data.kind, data.shape.as_slice()), ("u1", &[3, 4][..]));
        assert_eq!(data.row_major().unwrap(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11][..]);
        // Column-major and big-endian in the pickle.
        let columns = root.get("columns").unwrap().as_array().unwrap();
        assert_eq!((columns.shape.as_slice(), columns.fortran), (&[3, 4][..], true));
        let values = columns.row_major().unwrap();
        let values = Element::named("<i2").unwrap().integers(&values);
        assert_eq!(values, Some((0..12).collect()), "protocol {protocol}");
    }
}

#[test]
fn a_python_2_batch_reads() {
    // As CIFAR's own batches are written: Python 2, protocol 2, strings for bytes, the pixels as the array's
    // state.
    let bytes = b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05\
        (K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\
        \x89U\x04\x01\x02\xfe\xfftbU\x06labelsq\x08]q\x09(K\x06K\x09eu.";
    let pickle = load(bytes).unwrap();
    let data = pickle.root().get("data").unwrap().as_array().unwrap();
    assert_eq!((data.kind, data.shape.as_slice()), ("u1", &[2, 2][..]));
    assert_eq!(data.row_major().unwrap(), &[1, 2, 254, 255][..]);
    assert_eq!(pickle.root().get("labels").unwrap().elements().unwrap().len(), 2);
}

/// Python 3's `pickle.dumps` of numpy 2's `array([6, 300, -1], '>i2')` and `list(array([6, 300, -1], 'i4'))`.
#[test]
fn labels_are_integers_in_every_form_that_numpy_gives_them() {
    let pickled: [&[u8]; 6] = [
        b"cnumpy._core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nc_codecs\nencode\np3\n(Vb\np4\nVlatin1\np5\ntp6\nRp7\ntp8\nRp9\n(I1\n(I3\ntp10\ncnumpy\ndtype\np11\n(Vi2\np12\nI00\nI01\ntp13\nRp14\n(I3\nV>\np15\nNNNI-1\nI-1\nI0\ntp16\nbI00\ng3\n(V\\u0000\x06\x01,\xff\xff\np17\ng5\ntp18\nRp19\ntp20\nb.",
        b"\x80\x02cnumpy._core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02c_codecs\nencode\nq\x03X\x01\x00\x00\x00bq\x04X\x06\x00\x00\x00latin1q\x05\x86q\x06Rq\x07\x87q\x08Rq\x09(K\x01K\x03\x85q\ncnumpy\ndtype\nq\x0bX\x02\x00\x00\x00i2q\x0c\x89\x88\x87q\rRq\x0e(K\x03X\x01\x00\x00\x00>q\x0fNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x10b\x89h\x03X\x08\x00\x00\x00\x00\x06\x01,\xc3\xbf\xc3\xbfq\x11h\x05\x86q\x12Rq\x13tq\x14b.",
        b"\x80\x05\x95z\x00\x00\x00\x00\x00\x00\x00\x8c\x13numpy._core.numeric\x94\x8c\x0b_frombuffer\x94\x93\x94(\x96\x06\x00\x00\x00\x00\x00\x00\x00\x00\x06\x01,\xff\xff\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02i2\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01>\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bK\x03\x85\x94\x8c\x01C\x94t\x94R\x94.",
        b"(lp0\ncnumpy._core.multiarray\nscalar\np1\n(cnumpy\ndtype\np2\n(Vi4\np3\nI00\nI01\ntp4\nRp5\n(I3\nV<\np6\nNNNI-1\nI-1\nI0\ntp7\nbc_codecs\nencode\np8\n(V\x06\\u0000\\u0000\\u0000\np9\nVlatin1\np10\ntp11\nRp12\ntp13\nRp14\nag1\n(g5\ng8\n(V,\x01\\u0000\\u0000\np15\ng10\ntp16\nRp17\ntp18\nRp19\nag1\n(g5\ng8\n(V\xff\xff\xff\xff\np20\ng10\ntp21\nRp22\ntp23\nRp24\na.",
        b"\x80\x02]q\x00(cnumpy._core.multiarray\nscalar\nq\x01cnumpy\ndtype\nq\x02X\x02\x00\x00\x00i4q\x03\x89\x88\x87q\x04Rq\x05(K\x03X\x01\x00\x00\x00<q\x06NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x07bc_codecs\nencode\nq\x08X\x04\x00\x00\x00\x06\x00\x00\x00q\x09X\x06\x00\x00\x00latin1q\n\x86q\x0bRq\x0c\x86q\rRq\x0eh\x01h\x05h\x08X\x04\x00\x00\x00,\x01\x00\x00q\x0fh\n\x86q\x10Rq\x11\x86q\x12Rq\x13h\x01h\x05h\x08X\x08\x00\x00\x00\xc3\xbf\xc3\xbf\xc3\xbf\xc3\xbfq\x14h\n\x86q\x15Rq\x16\x86q\x17Rq\x18e.",
        b"\x80\x04\x95\x88\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x94\x93\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02i4\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bC\x04\x06\x00\x00\x00\x94\x86\x94R\x94h\x03h\x09C\x04,\x01\x00\x00\x94\x86\x94R\x94h\x03h\x09C\x04\xff\xff\xff\xff\x94\x86\x94R\x94e.",
    ];
    for bytes in pickled {
        assert_eq!(load(bytes).unwrap().root().integers(), Some(vec![6, 300, -1]));
    }
    let one = |kind: &str, value: &[u8]| {
        let head = format!(
            "(cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'{kind}'\nI0\nI1\ntRU{}",
            value.len() as u8 as char
        );
        load(&[head.as_bytes(), value, b"tRl."].concat()).unwrap().root().integers()
    };
    assert_eq!(one("u2", b"\x2c\x01"), Some(vec![300]));
    assert_eq!(one("u8", &[0xff; 8]), None, "beyond 63 bits");
    assert_eq!(one("f4", &[0; 4]), None);
    assert_eq!(one("u2", &[0; 4]), None, "two numbers are not one");
}

#[test]
fn an_array_whose_bytes_are_not_its_shapes_is_no_array() {
    let bytes = fixture("batch_2.pickle");
    let shape = b"K\x03K\x04\x86";
    let at = bytes.windows(shape.len()).position(|window| window == shape).unwrap();
    for wrong in [b"K\x03K\x05\x86", b"K\xffK\xff\x86", b"K\x00K\x04\x86"] {
        let mut changed = bytes.clone();
        changed[at..at + wrong.len()].copy_from_slice(wrong);
        let changed = load(&changed).unwrap();
        let data = changed.root().get("data").unwrap();
        assert!(data.as_array().is_none_or(|array| array.row_major().is_none()));
        assert_eq!(data.integers(), None);
    }
}

#[test]
fn protocol_0_numbers_read() {
    let pickle =
        load(b"(I01\nI00\nI-7\nL18446744073709551616L\nL5L\nF2.5\nS'a\\x00'\nVb\\u20ac\nNl.").unwrap();
    let all: Vec<Item> = pickle.root().elements().unwrap().collect();
    assert_eq!((all[0].as_bool(), all[1].as_bool(), all[2].as_int()), (Some(true), Some(false), Some(-7)));
    assert_eq!((all[3].as_int(), all[3].as_big_int()), (None, Some(&b"18446744073709551616"[..])));
    assert_eq!((all[4].as_int(), all[5].as_float()), (Some(5), Some(2.5)));
    assert_eq!(all[6].as_bytes().unwrap().as_ref(), b"a\0");
    assert_eq!((all[7].as_str(), all[8].is_none()), (Some("b\u{20ac}"), true));
}

#[test]
fn counted_integers_keep_their_sign() {
    // From pickletools: LONG1 of 0, 255, 32767, -256, -32768, -128, 127.
    let bytes = b"(\x8a\x00\x8a\x02\xff\x00\x8a\x02\xff\x7f\x8a\x02\x00\xff\x8a\x02\x00\x80\x8a\x01\x80\x8a\x01\x7ft.";
    let pickle = load(bytes).unwrap();
    let all: Vec<i64> = pickle.root().elements().unwrap().map(|one| one.as_int().unwrap()).collect();
    assert_eq!(all, [0, 255, 32767, -256, -32768, -128, 127]);
}

#[test]
fn ordered_dicts_are_dicts_in_both_spellings() {
    for bytes in [
        &b"ccollections\nOrderedDict\n)R(U\x01aK\x01U\x01bK\x02u."[..],
        b"ccollections\nOrderedDict\n(](](U\x01aK\x01e](U\x01bK\x02eetR.",
        b"ccollections\nOrderedDict\n)R(U\x01aK\x00U\x01bK\x02U\x01aK\x01u}U\x09_metadataNsb.",
        b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(U\x01aK\x01U\x01bK\x02u.",
    ] {
        let pickle = load(bytes).unwrap();
        let root = pickle.root();
        assert_eq!(root.kind(), "dict");
        assert_eq!((root.get("a").unwrap().as_int(), root.get("b").unwrap().as_int()), (Some(1), Some(2)));
    }
}

#[test]
fn calls_are_recorded_with_name_arguments_and_state() {
    for bytes in [
        &b"cos\nsystem\n(U\x02lstR}b."[..],
        b"\x8c\x02os\x8c\x06system\x93U\x02ls\x85\x81}b.",
        b"\x8c\x02os\x8c\x06system\x93U\x02ls\x85}\x92}b.",
        b"(U\x02lsios\nsystem\n}b.",
        b"(cos\nsystem\nU\x02lso}b.",
    ] {
        let pickle = load(bytes).unwrap();
        let call = pickle.root().as_call().unwrap();
        assert_eq!((call.module, call.name), ("os", "system"));
        let arguments: Vec<&str> =
            call.arguments.elements().unwrap().map(|one| one.as_str().unwrap()).collect();
        assert_eq!(arguments, ["ls"]);
        assert_eq!(call.state.unwrap().kind(), "dict");
        assert_eq!(pickle.root().kind(), "os.system");
    }
}

#[test]
fn a_million_levels_load_and_drop_without_recursion() {
    let depth = 1_000_000;
    let lists = [vec![b']'; depth], vec![b'a'; depth - 1], vec![b'.']].concat();
    assert_eq!(load(&lists).unwrap().root().elements().unwrap().len(), 1);
    let tuples = [vec![b')'], vec![0x85; depth], vec![b'.']].concat();
    assert_eq!(load(&tuples).unwrap().root().elements().unwrap().len(), 1);
    let marks = [vec![b'('; depth], vec![b't'; depth], vec![b'.']].concat();
    assert_eq!(load(&marks).unwrap().root().elements().unwrap().len(), 1);
}

#[test]
fn a_memo_bomb_stays_as_small_as_its_text() {
    // Forty lists, each ten times the one before: 10^40 leaves, if anyone spelled them out.
    let mut bytes = b"]q\x00".to_vec();
    for level in 0..40_u8 {
        bytes.extend(b"](");
        for _ in 0..10 {
            bytes.extend([b'h', level]);
        }
        bytes.extend([b'e', b'q', level + 1]);
    }
    bytes.push(b'.');
    let pickle = load(&bytes).unwrap();
    assert_eq!(pickle.values().len(), 41);
    assert_eq!(pickle.root().elements().unwrap().len(), 10);
}

#[test]
fn too_many_values_are_refused_however_they_are_made() {
    let flood = [b"N0".repeat(MAX_VALUES), vec![b'.']].concat();
    assert_eq!(load(&flood).unwrap_err(), PickleError::TooLarge);
    let memo = [b"N".to_vec(), b"h\x00".repeat(MAX_VALUES)].concat();
    assert!(load(&[b"Nq\x00".to_vec(), memo].concat()).is_err());
    // One list of a thousand pairs, made into a dict again and again.
    let pairs = [b"](".to_vec(), b"NN\x86".repeat(1000), b"e\x85q\x000".to_vec()].concat();
    let copies = b"ccollections\nOrderedDict\nh\x00R0".repeat(5000);
    assert_eq!(load(&[pairs, copies, b"N.".to_vec()].concat()).unwrap_err(), PickleError::TooLarge);
}

#[test]
fn declared_lengths_beyond_the_input_are_refused() {
    for head in [
        &b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x96\x00\x00\x00\x00\x00\x01\x00\x00",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"X\xff\xff\xff\xff",
        b"T\xff\xff\xff\x7f",
        b"B\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8a\xff",
        b"U\x09",
    ] {
        let bytes = [head, b"abc."].concat();
        assert_eq!(load(&bytes).unwrap_err(), PickleError::Truncated { at: bytes.len() }, "{head:?}");
    }
}

#[test]
fn programs_that_break_the_rules_are_named() {
    for (bytes, what) in [
        (&b"."[..], "stack is empty"),
        (b"0.", "stack is empty"),
        (b"R.", "stack is empty"),
        (b"N(R.", "stack is empty"),
        (b"t.", "no"),
        (b"h\x00.", "never filled"),
        (b"q\x00.", "stack is empty"),
        (b"N\x86.", "too few"),
        (b"N(\x85.", "too few"),
        (b"(Nd.", "key without a value"),
        (b"NNa.", "not a list"),
        (b"]NNs.", "not a dict"),
        (b"(o.", "without a class"),
        (b"Ix\n.", "not a number"),
        (b"Fx\n.", "not a number"),
        (b"gx\n.", "not a number"),
        (b"Sx\n.", "quotes"),
        (b"V\\u1\n.", "escape"),
        (b"c\xff\nx\n.", "not text"),
        (b"\x80\x06N.", "newer"),
        (b"\x82\x01.", "unknown opcode 0x82"),
        (b"\x97.", "unknown opcode 0x97"),
        (b"", "stops in the middle"),
        (b"cos", "stops in the middle"),
    ] {
        let text = load(bytes).unwrap_err().to_string();
        assert!(text.contains(what), "{bytes:?}: {text}");
    }
}

/// Opcodes in the proportions that get a random program somewhere.
fn program() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::sample::select(b"N()]}tlduaes012RboQ\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94".to_vec())
            .prop_map(|opcode| vec![opcode]),
        2 => (proptest::sample::select(b"KhqU\x8c".to_vec()), 0..4_u8).prop_map(|(opcode, n)| vec![opcode, n, b'a']),
        1 => Just(b"ccollections\nOrderedDict\n".to_vec()),
        1 => Just(b"cnumpy.core.multiarray\n_reconstruct\n".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..5),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn random_programs_never_panic(mut bytes in program()) {
        bytes.extend(b"N.");
        if let Ok(pickle) = load(&bytes) {
            for value in pickle.values() {
                let _ = (value.kind(), value.as_bytes(), value.as_array(), value.as_str(), value.get("a").is_some());
            }
        }
    }
}
