//! gRPC-Web's text form: base64 of the binary one, in pieces that need not end where frames do.
//!
//! A client may encode each frame by itself, so padding may stand in the middle; what follows it begins
//! a new group.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::grpc::framing::FrameError;

/// Decodes text as it arrives. Holds at most one group of it.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    group: [u8; GROUP],
    held: usize,
}

/// Bytes as text, padded.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

// === impl Decoder ===

impl Decoder {
    /// The bytes that this piece of text completes.
    ///
    /// # Errors
    /// [`FrameError::Text`] if it is not base64.
    pub(crate) fn decode(&mut self, text: &[u8]) -> Result<Bytes, FrameError> {
        let mut decoded = Vec::with_capacity(text.len() / GROUP * 3 + 3);
        for &byte in text {
            self.group[self.held] = byte;
            self.held += 1;
            if self.held == GROUP {
                self.held = 0;
                STANDARD.decode_vec(self.group, &mut decoded).map_err(|_| FrameError::Text)?;
            }
        }
        Ok(decoded.into())
    }

    /// Says whether the text ended with a whole group.
    ///
    /// # Errors
    /// [`FrameError::Text`] if it did not.
    pub(crate) fn finish(&self) -> Result<(), FrameError> {
        if self.held == 0 { Ok(()) } else { Err(FrameError::Text) }
    }
}

/// The characters that stand for three bytes.
const GROUP: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_may_stand_between_frames() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"YQ==YWI=YWJj").unwrap(), "aababc");
        decoder.finish().unwrap();
        decoder.decode(b"YW").unwrap();
        assert_eq!(decoder.finish(), Err(FrameError::Text), "half a group");
        assert_eq!(Decoder::default().decode(b"Y!=="), Err(FrameError::Text));
        assert_eq!(Decoder::default().decode(b"Y==="), Err(FrameError::Text));
    }

    proptest! {
        #[test]
        fn bytes_survive_in_any_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 1_usize..9) {
            let text = encode(&bytes);
            let mut decoder = Decoder::default();
            let mut decoded = Vec::new();
            for piece in text.as_bytes().chunks(cut) {
                decoded.extend_from_slice(&decoder.decode(piece).unwrap());
            }
            decoder.finish().unwrap();
            prop_assert_eq!(decoded, bytes);
        }

        #[test]
        fn random_text_never_panics(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut decoder = Decoder::default();
            let _ = (decoder.decode(&text), decoder.finish());
        }
    }
}
