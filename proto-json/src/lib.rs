//! Protobuf schemas from descriptor sets, and the JSON mapping over them.
