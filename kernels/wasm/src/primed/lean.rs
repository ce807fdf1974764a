//! Drops the data segments that a snapshot no longer needs.
//!
//! What was a segment of the module is an empty one in its snapshot, so that code that names segments by their
//! number finds them where they were. An instance has room and work for each, and a guest in Go has thousands. A
//! module that does not say how many segments it has cannot name any: there they go.

use std::borrow::Cow;

use wasm_encoder::{ConstExpr, DataSection, Module, RawSection};
use wasmparser::{BinaryReaderError, DataKind, DataSectionReader, Operator, Parser, Payload};

/// The snapshot without them.
///
/// # Errors
/// It is no module.
pub(super) fn lean(snapshot: &[u8]) -> Result<Cow<'_, [u8]>, BinaryReaderError> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(snapshot) {
        let payload = payload?;
        match (&payload, payload.as_section()) {
            (Payload::DataCountSection { .. }, _) => return Ok(Cow::Borrowed(snapshot)),
            (Payload::DataSection(segments), _) => {
                let Some(kept) = needed(segments.clone())? else { return Ok(Cow::Borrowed(snapshot)) };
                module.section(&kept);
            }
            (_, Some((id, range))) => {
                let data = snapshot.get(range).unwrap_or_default();
                module.section(&RawSection { id, data });
            }
            (_, None) => {}
        }
    }
    Ok(Cow::Owned(module.finish()))
}

/// The segments that are written to memory. `None` if one is not where a snapshot has it.
fn needed(segments: DataSectionReader<'_>) -> Result<Option<DataSection>, BinaryReaderError> {
    let mut kept = DataSection::new();
    for segment in segments {
        let segment = segment?;
        match segment.kind {
            DataKind::Passive => {}
            DataKind::Active { memory_index, offset_expr } => {
                let mut offset = offset_expr.get_operators_reader();
                let Operator::I32Const { value } = offset.read()? else { return Ok(None) };
                kept.active(memory_index, &ConstExpr::i32_const(value), segment.data.iter().copied());
            }
        }
    }
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(module: &[u8]) -> usize {
        let mut count = 0;
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::DataSection(segments) = payload.unwrap() {
                count += segments.into_iter().count();
            }
        }
        count
    }

    #[test]
    fn segments_go_that_nobody_can_name() {
        let text =
            r#"(module (memory 1) (data "") (data (i32.const 8) "ab") (data "") (data (i32.const 64) "c"))"#;
        let snapshot = wat::parse_str(text).unwrap();
        let lean = lean(&snapshot).unwrap();
        assert_eq!((segments(&snapshot), segments(&lean)), (4, 2));
        let kept = r#"(module (memory 1) (data (i32.const 8) "ab") (data (i32.const 64) "c"))"#;
        assert_eq!(*lean, *wat::parse_str(kept).unwrap());
    }

    #[test]
    fn segments_that_code_names_stay_where_they_are() {
        let text = r#"(module (memory 1) (data "") (data $kept "ab") (data (i32.const 64) "c")
            (func (memory.init $kept (i32.const 0) (i32.const 0) (i32.const 2))))"#;
        let snapshot = wat::parse_str(text).unwrap();
        assert_eq!(*lean(&snapshot).unwrap(), *snapshot);
    }
}
