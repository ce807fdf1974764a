//! The decoder against the examples of RFC 7541 appendix C, and against bad blocks.

use super::*;

struct Collect(Vec<String>);

impl Sink for Collect {
    fn wants(&mut self, _size: usize) -> bool {
        true
    }

    fn field(&mut self, field: &Field) {
        self.0.push(format!("{}: {}", field.name().escape_ascii(), field.value().escape_ascii()));
    }
}

fn run(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, HpackError> {
    let mut fields = Collect(Vec::new());
    decoder.decode(block, &mut fields).map(|_| fields.0)
}

/// What a block decodes to with an empty table.
pub(crate) fn decoded(block: &[u8]) -> Vec<String> {
    run(&mut Decoder::new(4096), block).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split(' ').collect();
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// Three requests on one connection, as appendix C.3 and C.4 encode them; after each the table's size.
fn check_requests(blocks: [&str; 3]) {
    let mut decoder = Decoder::new(4096);
    let common = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
    assert_eq!(run(&mut decoder, &hex(blocks[0])).unwrap(), common);
    assert_eq!(decoder.size, 57);
    let second = [&common[..], &["cache-control: no-cache"]].concat();
    assert_eq!(run(&mut decoder, &hex(blocks[1])).unwrap(), second);
    assert_eq!(decoder.size, 110);
    assert_eq!(
        run(&mut decoder, &hex(blocks[2])).unwrap(),
        [
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value"
        ]
    );
    assert_eq!(decoder.size, 164);
}

#[test]
fn the_requests_of_appendix_c3_decode() {
    check_requests([
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]);
}

#[test]
fn the_huffman_requests_of_appendix_c4_decode() {
    check_requests([
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ]);
}

#[test]
fn the_responses_of_appendix_c6_evict() {
    let mut decoder = Decoder::new(4096);
    decoder.capacity = 256;
    let first = hex(
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d \
         29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
    );
    assert_eq!(
        run(&mut decoder, &first).unwrap(),
        [
            ":status: 302",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "location: https://www.example.com"
        ]
    );
    assert_eq!(decoder.size, 222);
    assert_eq!(run(&mut decoder, &hex("4883 640e ffc1 c0bf")).unwrap()[0], ":status: 307");
    assert_eq!(decoder.size, 222);
    let third = hex(
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d \
         d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 \
         3d50 07",
    );
    assert_eq!(
        run(&mut decoder, &third).unwrap(),
        [
            ":status: 200",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
            "location: https://www.example.com",
            "content-encoding: gzip",
            "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
        ]
    );
    assert_eq!(decoder.size, 215);
    assert_eq!(decoder.table.len(), 3);
}

#[test]
fn the_literals_of_appendix_c2_decode() {
    for (block, field, inserted) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key: custom-header",
            true,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", false),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", false),
    ] {
        let mut decoder = Decoder::new(4096);
        assert_eq!(run(&mut decoder, &hex(block)).unwrap(), [field]);
        assert_eq!(decoder.table.len(), usize::from(inserted));
    }
}

#[test]
fn bad_blocks_are_refused_by_name() {
    for (block, error) in [
        (&[0x80][..], HpackError::NoSuchEntry),
        (&[0xbe], HpackError::NoSuchEntry),
        (&[0x7f, 0x00], HpackError::NoSuchEntry),
        (&[0x82, 0x20], HpackError::LateSizeUpdate),
        (&[0x3f, 0xe2, 0x1f], HpackError::SizeUpdateTooLarge),
        (&[0x3f, 0xff, 0xff, 0xff, 0xff, 0xff], HpackError::IntegerTooLarge),
        (&[0x40, 0x01], HpackError::Truncated),
        (&[0x00, 0x01, b'a'], HpackError::Truncated),
        (&[0x00, 0x01, b'a', 0x02, b'b'], HpackError::Truncated),
        (&[0x00, 0x81, 0x00, 0x00], HpackError::BadHuffman),
    ] {
        assert_eq!(run(&mut Decoder::new(4096), block), Err(error), "{block:x?}");
    }
}

#[test]
fn size_updates_are_taken_at_the_start_only_and_empty_the_table() {
    let mut decoder = Decoder::new(4096);
    run(&mut decoder, &[0x40, 1, b'a', 1, b'b']).unwrap();
    assert_eq!(run(&mut decoder, &[0xbe]).unwrap(), ["a: b"]);
    assert_eq!(run(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f, 0x82]).unwrap(), [":method: GET"]);
    assert_eq!(decoder.table.len(), 0);
    assert_eq!(decoder.capacity, 4096);
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(4096);
    run(&mut decoder, &[0x40, 1, b'a', 1, b'b']).unwrap();
    let mut block = vec![0x40, 1, b'c', 0x7f, 0x81, 0x1f];
    block.extend([b'v'; 4096]);
    assert_eq!(run(&mut decoder, &block).unwrap().len(), 1);
    assert_eq!((decoder.table.len(), decoder.size), (0, 0));
}

#[test]
fn table_use_tells_inserts_and_references_apart() {
    let mut decoder = Decoder::new(4096);
    let mut used = |block: &[u8]| {
        let before = decoder.generation();
        let used = decoder.decode(block, &mut Discard).unwrap();
        assert_eq!(used.changed, decoder.generation() != before);
        (used.changed, used.referred)
    };
    assert_eq!(used(&[0x82, 0x00, 1, b'a', 1, b'b']), (false, false));
    assert_eq!(used(&[0x40, 1, b'a', 1, b'b']), (true, false));
    assert_eq!(used(&[0xbe]), (false, true));
    assert_eq!(used(&[0x0f, 0x2f, 1, b'c']), (false, true));
    assert_eq!(used(&[0x3f, 0xe1, 0x1f]), (true, false));
}

#[test]
fn a_lower_limit_holds_once_the_encoder_knows_it_and_must_be_followed() {
    let get = |decoder: &mut Decoder, update: &[u8]| run(decoder, &[update, &[0x82]].concat()).map(drop);
    let mut decoder = Decoder::new(100);
    assert_eq!(get(&mut decoder, &[]), Ok(()), "it does not know yet");
    decoder.hold_to(100);
    assert!(decoder.awaits_update());
    assert_eq!(get(&mut decoder, &[]), Err(HpackError::NoSizeUpdate));
    assert_eq!(get(&mut decoder, &[0x3f, 0x46]), Err(HpackError::SizeUpdateTooLarge), "101");
    assert_eq!(get(&mut decoder, &[0x3f, 0x45]), Ok(()), "100");
    assert_eq!((decoder.awaits_update(), decoder.capacity), (false, 100));
    assert_eq!(get(&mut decoder, &[]), Ok(()));
}

#[test]
fn a_higher_limit_may_be_used_and_need_not() {
    let mut decoder = Decoder::new(8192);
    decoder.hold_to(8192);
    assert_eq!(run(&mut decoder, &[0x82]).unwrap().len(), 1);
    assert_eq!(decoder.capacity, 4096);
    run(&mut decoder, &[0x3f, 0xe1, 0x3f]).unwrap();
    assert_eq!(decoder.capacity, 8192);
    assert_eq!(run(&mut decoder, &[0x3f, 0xe2, 0x3f]), Err(HpackError::SizeUpdateTooLarge));
}
