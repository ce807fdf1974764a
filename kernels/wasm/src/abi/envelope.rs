//! The envelope: a request with its metadata, a result with its status, as protobuf messages.
//!
//! The messages are `okra.guest.v1.Request` and `Response`; `guests/okra_guest.proto` documents them.
//! Unknown fields are skipped, as protobuf wants it.

use std::sync::Arc;

use bytes::Bytes;

use crate::fault::{GuestFault, GuestStatus};

/// A name and a value of metadata; the name is lower-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: Arc<str>,
    /// The value.
    pub value: Bytes,
}

/// What the envelope of a request carries beside method and payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestEnvelope {
    /// The metadata of the request.
    pub metadata: Vec<Field>,
    /// Milliseconds until the deadline; `None` if there is none.
    pub deadline_ms: Option<u64>,
    /// The address of the client.
    pub peer: Arc<str>,
    /// The full method, `/package.Service/Method`; the method's name stands in for an empty one.
    pub path: Arc<str>,
}

/// What the envelope of a good result carries beside the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyEnvelope {
    /// What goes before the message.
    pub metadata: Vec<Field>,
    /// What goes after it.
    pub trailers: Vec<Field>,
}

/// A field of a message as it is read.
enum Part {
    Number(u64),
    Text(Bytes),
}

/// How deep nothing here goes: the messages have one level of fields below them.
const MALFORMED: GuestFault = GuestFault::Malformed("a result that is no okra.guest.v1.Response");

/// The request as the guest gets it.
pub(crate) fn encode(name: &str, payload: &[u8], envelope: &RequestEnvelope) -> Vec<u8> {
    let method = if envelope.path.is_empty() { name } else { &envelope.path };
    let mut out = Vec::with_capacity(payload.len() + method.len() + 64 * (1 + envelope.metadata.len()));
    put_bytes(&mut out, 1, method.as_bytes());
    put_bytes(&mut out, 2, payload);
    for field in &envelope.metadata {
        let mut inner = Vec::with_capacity(field.name.len() + field.value.len() + 8);
        put_bytes(&mut inner, 1, field.name.as_bytes());
        put_bytes(&mut inner, 2, &field.value);
        put_bytes(&mut out, 3, &inner);
    }
    // A negative int64 is written as the 64-bit number with the same bits.
    let deadline = envelope.deadline_ms.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
    put_number(&mut out, 4, deadline.cast_unsigned());
    put_bytes(&mut out, 5, envelope.peer.as_bytes());
    out
}

/// The result as the guest gave it.
///
/// # Errors
/// The status that the guest chose, or that its result is malformed.
pub(crate) fn decode(mut result: Bytes) -> Result<(Bytes, ReplyEnvelope), GuestFault> {
    let (mut payload, mut status) = (Bytes::new(), GuestStatus::default());
    while !result.is_empty() {
        match take_part(&mut result).ok_or(MALFORMED)? {
            (1, Part::Text(value)) => payload = value,
            // An int32 is sign-extended to 64 bits; its low half is the number.
            (2, Part::Number(code)) => {
                let low = u32::try_from(code & u64::from(u32::MAX)).map_err(|_| MALFORMED)?;
                status.code = low.cast_signed();
            }
            (3, Part::Text(text)) => {
                status.message = String::from_utf8(text.into()).map_err(|_| MALFORMED)?;
            }
            (4, Part::Text(details)) => status.details = details,
            (5, Part::Text(field)) => status.metadata.push(take_field(field)?),
            (6, Part::Text(field)) => status.trailers.push(take_field(field)?),
            _ => {}
        }
    }
    if status.code != 0 {
        return Err(GuestFault::GuestStatus(Box::new(status)));
    }
    Ok((payload, ReplyEnvelope { metadata: status.metadata, trailers: status.trailers }))
}

fn take_field(mut message: Bytes) -> Result<Field, GuestFault> {
    let (mut name, mut value) = (Bytes::new(), Bytes::new());
    while !message.is_empty() {
        match take_part(&mut message).ok_or(MALFORMED)? {
            (1, Part::Text(text)) => name = text,
            (2, Part::Text(bytes)) => value = bytes,
            _ => {}
        }
    }
    let name = std::str::from_utf8(&name).map_err(|_| MALFORMED)?;
    Ok(Field { name: name.into(), value })
}

/// The next field: its number and what it holds. `None` if the bytes are no protobuf message.
fn take_part(message: &mut Bytes) -> Option<(u64, Part)> {
    let tag = take_number(message)?;
    let number = (tag >> 3 > 0).then_some(tag >> 3)?;
    let fixed = |message: &mut Bytes, len: usize| (message.len() >= len).then(|| message.split_to(len));
    let part = match tag & 7 {
        0 => Part::Number(take_number(message)?),
        1 => Part::Text(fixed(message, 8)?),
        2 => {
            let len = usize::try_from(take_number(message)?).ok()?;
            Part::Text(fixed(message, len)?)
        }
        5 => Part::Text(fixed(message, 4)?),
        _ => return None,
    };
    // A fixed field under a number of ours is of the wrong type: unknown, and so skipped.
    Some(if matches!(tag & 7, 1 | 5) { (0, part) } else { (number, part) })
}

fn take_number(message: &mut Bytes) -> Option<u64> {
    let mut number = 0_u64;
    for (i, byte) in message.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if i == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * i);
        if byte & 0x80 == 0 {
            drop(message.split_to(i + 1));
            return Some(number);
        }
    }
    None
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, field: u8, number: u64) {
    out.push(field << 3);
    put_varint(out, number);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &'static str) -> Field {
        Field { name: name.into(), value: Bytes::from(value) }
    }

    #[test]
    fn a_request_is_written_field_by_field() {
        let envelope = RequestEnvelope {
            metadata: vec![field("a", "b")],
            deadline_ms: None,
            peer: "p".into(),
            path: "".into(),
        };
        let mut expected = b"\x0a\x01m\x12\x02hi\x1a\x06\x0a\x01a\x12\x01b\x20".to_vec();
        expected.extend([0xff; 9]);
        expected.extend(b"\x01\x2a\x01p");
        assert_eq!(encode("m", b"hi", &envelope), expected);
        let soon = RequestEnvelope { deadline_ms: Some(300), ..RequestEnvelope::default() };
        assert_eq!(encode("", b"", &soon), b"\x0a\x00\x12\x00\x20\xac\x02\x2a\x00");
    }

    #[test]
    fn a_result_is_read_whatever_else_is_in_it() {
        // Field 15 as a number, field 9 as 8 fixed bytes, then payload, metadata and trailers.
        let bytes = b"\x78\x01\x49AAAAAAAA\x0a\x02ok\x2a\x06\x0a\x01a\x12\x01b\x32\x05\x0a\x01t\x12\x00";
        let (payload, envelope) = decode(Bytes::from_static(bytes)).unwrap();
        assert_eq!(payload, "ok");
        assert_eq!(envelope.metadata, [field("a", "b")]);
        assert_eq!(envelope.trailers, [field("t", "")]);
    }

    #[test]
    fn a_status_other_than_zero_is_a_fault() {
        let bytes = b"\x10\x05\x1a\x04gone\x22\x01d\x32\x06\x0a\x01a\x12\x01b";
        let Err(GuestFault::GuestStatus(status)) = decode(Bytes::from_static(bytes)) else {
            panic!("it must be a status");
        };
        assert_eq!((status.code, &*status.message, &status.details[..]), (5, "gone", &b"d"[..]));
        assert_eq!(status.trailers, [field("a", "b")]);
    }

    #[test]
    fn what_is_no_message_is_refused_at_every_length() {
        let bytes = Bytes::from_static(b"\x10\x00\x0a\x02ok\x2a\x06\x0a\x01a\x12\x01b");
        let whole_after = [0, 2, 6, 14];
        for len in 0..=bytes.len() {
            assert_eq!(decode(bytes.slice(..len)).is_ok(), whole_after.contains(&len), "{len}");
        }
        for wrong in
            [&b"\x00\x00"[..], b"\x0b", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", b"\x1a\x01\xff"]
        {
            assert_eq!(decode(Bytes::from_static(wrong)), Err(MALFORMED), "{wrong:?}");
        }
    }
}
