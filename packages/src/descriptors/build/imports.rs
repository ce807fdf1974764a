//! The two files of protobuf's own that a schema may need, as `protoc` has them.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileOptions};

pub(super) const TIMESTAMP: &str = "google/protobuf/timestamp.proto";
pub(super) const EMPTY: &str = "google/protobuf/empty.proto";

/// The file of this name.
pub(super) fn named(name: &str) -> Option<FileDescriptorProto> {
    match name {
        TIMESTAMP => Some(file(
            TIMESTAMP,
            message("Timestamp", vec![field("seconds", 1, Type::Int64), field("nanos", 2, Type::Int32)]),
            "TimestampProto",
            "timestamppb",
        )),
        EMPTY => Some(file(EMPTY, message("Empty", Vec::new()), "EmptyProto", "emptypb")),
        _ => None,
    }
}

fn file(name: &str, message: DescriptorProto, java: &str, go: &str) -> FileDescriptorProto {
    let options = FileOptions {
        java_package: Some("com.google.protobuf".to_owned()),
        java_outer_classname: Some(java.to_owned()),
        java_multiple_files: Some(true),
        go_package: Some(format!("google.golang.org/protobuf/types/known/{go}")),
        cc_enable_arenas: Some(true),
        objc_class_prefix: Some("GPB".to_owned()),
        csharp_namespace: Some("Google.Protobuf.WellKnownTypes".to_owned()),
        ..FileOptions::default()
    };
    FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some("google.protobuf".to_owned()),
        message_type: vec![message],
        options: Some(options),
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..DescriptorProto::default() }
}

fn field(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional as i32),
        r#type: Some(kind as i32),
        json_name: Some(name.to_owned()),
        ..FieldDescriptorProto::default()
    }
}
